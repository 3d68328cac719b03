"""What the build makes of the tools' reports, and of tools that fail or are missing."""

import json
import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from golden.spec import SpecError, load_preset
from synth.fpga import reports
from synth.fpga.__main__ import app
from synth.fpga.boards import find_board
from synth.fpga.flow import REPORT, bitstream_path, figures, fpga_dir, summary, with_options
from synth.fpga.memories import bits_in_block_rams, memory_bits
from synth.fpga.tools import find_tool, program, run_tool

# Made by Yosys and nextpnr from the preset base for the ULX3S, whose clock was missed.
REPORTS = Path(__file__).parent / "fpga_reports"
BOARD = find_board("ulx3s-85f")


def cells() -> dict[str, int]:
    return json.loads((REPORTS / "cells.json").read_text())


def routed() -> dict:
    return json.loads((REPORTS / "nextpnr.json").read_text())


def used() -> reports.Utilisation:
    return reports.count_cells(cells())


def test_cells_of_a_real_build():
    """14,815 LUT4s, 3,098 carry cells of two, 36 distributed RAMs of six."""
    found = used()
    assert found == reports.Utilisation(14815 + 2 * 3098 + 6 * 36, 15492, 2 * 3098, 90, 0, 0)
    reports.check_fits("base", BOARD, found)


def test_ice40_cells():
    found = reports.count_cells(
        {"SB_LUT4": 10, "SB_CARRY": 3, "SB_DFF": 2, "SB_DFFESR": 7, "SB_RAM40_4K": 4}
        | {"SB_SPRAM256KA": 1, "SB_MAC16": 2, "SB_IO": 9}
    )
    assert found == reports.Utilisation(10, 9, 3, 4, 1, 2)


def test_too_large_names_every_resource_that_is_short():
    small = find_board("icebreaker")
    text = (
        "preset base is too large for icebreaker: it needs 21227 LUT4s of 5280 (15947 short, 302%"
        " too many) and 15492 flip-flops of 5280 (10212 short, 193% too many) and 90 block RAMs of"
        " 30 (60 short, 200% too many); use fewer lanes, a smaller network or a larger board"
    )
    with pytest.raises(SpecError, match=rf"^{re.escape(text)}$"):
        reports.check_fits("base", small, used())


def test_clocks_and_a_clock_that_is_missed():
    (clock,) = reports.read_clocks(routed(), 80)
    reports.check_clocks([replace(clock, constraint=60)], "base on ulx3s-85f")
    text = (
        "base on ulx3s-85f misses its clock: $glbnet$clk reaches 61.55 MHz of 80.00 MHz, 23.1% or"
        " 3.75 ns a cycle too slow; build with --mhz 61"
    )
    with pytest.raises(SpecError, match=rf"^{re.escape(text)}$"):
        reports.check_clocks([reports.Clock("other", 90.0, 80.0), clock], "base on ulx3s-85f")


def test_critical_path_adds_up():
    text = reports.critical_path_text(routed())
    first = routed()["critical_paths"][0]
    total = sum(hop["delay"] for hop in first["path"])
    assert f"{total:.2f} ns" in text.splitlines()[0]
    lines = text.split("\n\n")[0].splitlines()
    assert len(lines) == 2 + len(first["path"])
    assert float(lines[-1].split()[0]) == pytest.approx(total, abs=0.006)


RTLIL = """
module \\top.weights
  memory width 32 size 100 \\memory
end
module \\top.formats
  memory width 10 size 8 \\memory
end
"""


def test_only_bits_in_block_rams_count():
    memories = memory_bits(RTLIL)
    assert memories == {"top.weights.memory": 3200, "top.formats.memory": 80}
    log = (
        "mapping memory top.weights.memory via $__DP16KD_\n"
        "mapping memory top.formats.memory via $__TRELLIS_DPR16X4_\n"
    )
    assert bits_in_block_rams(memories, log) == 3200


def test_options_set_anew():
    arguments = ["--quiet", "--log", "a.tim", "--textcfg", "a.config", "--85k", "--json", "a.json"]
    assert with_options(arguments, {"log": "b.tim", "write": "b.json"}, without="textcfg") == [
        *("--quiet", "--85k", "--json", "a.json", "--log", "b.tim", "--write", "b.json")
    ]


def test_figures():
    report = {
        "board": "ulx3s-85f",
        "utilisation": vars(used()),
        "available": vars(BOARD.device),
        "clocks": [vars(clock) for clock in reports.read_clocks(routed(), 80)],
        "clock_mhz": 80.0,
        "block_ram_bits": 18432 * 75,
        "seconds": {"yosys": 10.0, "nextpnr-ecp5": 20.0},
    }
    found = figures(report, {"rtl.cycles_per_image": 40000})
    assert found["fpga.ulx3s-85f.images_per_second"] == pytest.approx(1538.7, abs=0.1)
    assert found["fpga.ulx3s-85f.bram_over_bits"] == 90 / 75
    assert found["fpga.ulx3s-85f.fmax_mhz"] == pytest.approx(61.55, abs=0.01)
    assert found["fpga.ulx3s-85f.build_seconds"] == 30
    assert found["fpga.ulx3s-85f.multipliers"] == 0
    assert "fpga.ulx3s-85f.images_per_second" not in figures(report, {})
    met = {**report, "clock_mhz": 40.0}
    assert figures(met, {"rtl.cycles_per_image": 40000})["fpga.ulx3s-85f.images_per_second"] == 1000
    assert summary(report).splitlines() == [
        "21227 LUT4s (25%), 15492 flip-flops (19%), 90 block RAMs (43%), 0 multiplier blocks (0%);"
        " 6196 with carry",
        "61.55 MHz reached, 80.00 needed: $glbnet$clk",
    ]


def script(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_missing_tool_says_how_to_get_it(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    text = (
        "no nextpnr-ecp5: install it with `pip install -e '.[fpga]'`, or let `make fpga` do so, or"
        " set NEXTPNR_ECP5 to your own"
    )
    with pytest.raises(SpecError, match=rf"^{re.escape(text)}$"):
        find_tool("nextpnr-ecp5")
    monkeypatch.setenv("NEXTPNR_ECP5", "/no/such/tool")
    text = "no nextpnr-ecp5: NEXTPNR_ECP5 is /no/such/tool, which cannot be run"
    with pytest.raises(SpecError, match=rf"^{re.escape(text)}$"):
        find_tool("nextpnr-ecp5")


def test_a_tool_that_fails_is_quoted(monkeypatch, tmp_path):
    path = script(tmp_path, "packer", "echo chatter; echo 'ERROR: no such chip'; exit 3")
    monkeypatch.setenv("PACKER", str(path))
    text = (
        f"packer failed with status 3: ERROR: no such chip (all of it: {tmp_path / 'packer.out'})"
    )
    with pytest.raises(SpecError, match=rf"^{re.escape(text)}$"):
        run_tool("packer", [], tmp_path, "packer.log")


def test_a_tool_runs_in_the_folder_of_the_build(monkeypatch, tmp_path):
    monkeypatch.setenv("PACKER", str(script(tmp_path, "packer", 'echo "$1" > made')))
    assert run_tool("packer", ["a word"], tmp_path, "packer.log") > 0
    assert (tmp_path / "made").read_text() == "a word\n"


def test_programmers(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    text = (
        "no openFPGALoader to program with: install it (`apt install openfpgaloader`), then run"
        " `openFPGALoader -b ulx3s top.bit`"
    )
    with pytest.raises(SpecError, match=rf"^{re.escape(text)}$"):
        program("openFPGALoader -b ulx3s", Path("top.bit"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    script(tmp_path, "openFPGALoader", f'echo "$@" > {tmp_path}/called')
    program("openFPGALoader -b ulx3s", Path("top.bit"))
    assert (tmp_path / "called").read_text() == "-b ulx3s top.bit\n"
    script(tmp_path, "openFPGALoader", "exit 1")
    text = (
        "openFPGALoader failed with status 1: is the board connected, and may you use its port?"
        " See docs/bring-up.md, step 3"
    )
    with pytest.raises(SpecError, match=rf"^{re.escape(text)}$"):
        program("openFPGALoader -b ulx3s", Path("top.bit"))


def test_no_bitstream_to_program(monkeypatch, tmp_path):
    """What is missing, and what builds it: for a clock that was missed, with one that is met."""
    monkeypatch.chdir(tmp_path)
    path = "build/tiny/fpga/ulx3s-85f/bitstream.bit"
    ended = CliRunner().invoke(app, ["program"])
    assert ended.exit_code == 2
    assert ended.stderr == (
        f"error: no {path}: build it with `make fpga PRESET=tiny BOARD=ulx3s-85f`\n"
    )
    write_report(77.2)
    ended = CliRunner().invoke(app, ["program"])
    assert ended.stderr == (
        f"error: no {path}: its clock was missed, with 77.20 MHz of 80.00 MHz; build it with"
        " `python -m synth.fpga build --preset tiny --board ulx3s-85f --mhz 77`\n"
    )
    write_report(81)
    ended = CliRunner().invoke(app, ["program"])
    assert "make fpga PRESET=tiny BOARD=ulx3s-85f" in ended.stderr


def write_report(achieved: float, **other: object) -> None:
    """A report of tiny on the ULX3S in the current folder."""
    folder = fpga_dir(load_preset("tiny"), BOARD)
    folder.mkdir(parents=True, exist_ok=True)
    clock = {"name": "clk", "achieved": achieved, "constraint": 80.0}
    report = {"preset": "tiny", "board": BOARD.name, "clock_mhz": 80.0, "baud": 3_000_000}
    (folder / REPORT).write_text(json.dumps({**report, "clocks": [clock], **other}))


def test_a_bitstream_without_its_report(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = bitstream_path(load_preset("tiny"), BOARD)
    path.parent.mkdir(parents=True)
    path.touch()
    ended = CliRunner().invoke(app, ["program"])
    assert ended.stderr == (
        f"error: no build/tiny/fpga/ulx3s-85f/report.json to {path}: build both again with"
        " `python -m synth.fpga build --preset tiny --board ulx3s-85f`\n"
    )


@pytest.mark.parametrize(
    ("name", "options", "called", "where"),
    [
        ("ulx3s-85f", [], "-b ulx3s", "SRAM, until power-off; --flash keeps it"),
        ("ulx3s-85f", ["--flash"], "-b ulx3s -f", "flash"),
        ("ecpix5-85", ["--flash"], "-b ecpix5 -f", "flash"),
        ("orangecrab-r0.2-85f", [], "-b orangeCrab", "flash"),
        ("orangecrab-r0.2-85f", ["--flash"], "-b orangeCrab", "flash"),
        ("icebreaker", [], "-b ice40_generic", "flash"),
        ("ice40-hx8k-evn", ["--flash"], "-b ice40_generic", "flash"),
    ],
)
def test_programming_says_what_goes_where(name, options, called, where, monkeypatch, tmp_path):
    """Preset, clock and baud rate are those of the build, not the board's usual ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    script(tmp_path, "openFPGALoader", f'echo "$@" > {tmp_path}/called')
    board = find_board(name)
    path = bitstream_path(load_preset("micro"), board)
    path.parent.mkdir(parents=True)
    path.touch()
    report = {"preset": "micro", "board": name, "clock_mhz": 18.75, "baud": 2_000_000}
    (path.parent / REPORT).write_text(json.dumps(report))
    ended = CliRunner().invoke(app, ["program", "--preset", "micro", "--board", name, *options])
    assert ended.exit_code == 0
    assert ended.output == f"micro for {name} at 18.75 MHz, 2000000 baud: {path} to {where}\n"
    assert (tmp_path / "called").read_text() == f"{called} {path}\n"


@pytest.mark.parametrize("command", ["build", "program", "compare-cpu", "growth"])
def test_a_wrong_board_ends_a_command(command):
    ended = CliRunner().invoke(app, [command, "--board", "ulx3s"])
    assert ended.exit_code == 2
    assert ended.stderr.startswith("error: no board ulx3s: known are ulx3s-85f, ")
    assert len(ended.stderr.splitlines()) == 1


def test_speeds_that_were_not_measured(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(app, ["compare-cpu", "--preset", "tiny"])
    assert ended.stderr == (
        "error: no fpga.ulx3s-85f.images_per_second of tiny: run `make sim PRESET=tiny`, which"
        " counts cycles, then `make fpga PRESET=tiny BOARD=ulx3s-85f`\n"
    )
    ended = CliRunner().invoke(app, ["growth", "--preset", "tiny", "--lanes", "4", "--lanes", "8"])
    assert ended.stderr == (
        "error: no cycles of tiny with 4, 8 lanes: run `python -m sim lanes --preset tiny` first\n"
    )


def test_the_command_line():
    listed = CliRunner().invoke(app, ["list"])
    assert listed.exit_code == 0
    assert "icebreaker" in listed.output and "LFE5-85" in listed.output
