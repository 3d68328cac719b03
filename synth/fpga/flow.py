"""From a preset to a bitstream, with what it takes and how fast it is."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from golden.checkpoint import Checkpoint
from golden.files import whole_file
from golden.metrics import build_dir, read_metrics, write_metrics
from golden.ranges import built_widths
from golden.spec import Preset, SpecError
from hw.build import fingerprint
from hw.verilog import plain_names, without_collisions, without_zero_contents

from . import reports
from .boards import Board
from .clocking import Pll
from .memories import bits_in_block_rams, memory_bits
from .tools import find_tool, run_tool
from .top import Top, baud_rates, check_baud, make_pll

NAME = "top"
REPORT = "report.json"
PLACED = "placed.json"
PACKERS = {"ecp5": "ecppack", "ice40": "icepack"}
BITSTREAMS = {"ecp5": "bit", "ice40": "bin"}
# Electrostatic placement needs a third less wire for a full network than nextpnr's default.
PLACERS = {"ecp5": "static", "ice40": "heap"}


@dataclass(frozen=True)
class Options:
    """How to build.

    Members
    -------
    mhz : wanted clock; None for the board's
    baud : of the UART; None for the fastest that is possible
    seed : of the placement
    """

    mhz: float | None = None
    baud: int | None = None
    seed: int = 1


def fpga_dir(preset: Preset, board: Board) -> Path:
    """Folder of a build."""
    return build_dir(preset.name) / "fpga" / board.name


def bitstream_path(preset: Preset, board: Board) -> Path:
    """Where the bitstream goes."""
    return fpga_dir(preset, board) / f"bitstream.{BITSTREAMS[board.family]}"


def build_bitstream(
    preset: Preset,
    checkpoint: Checkpoint | None,
    board: Board,
    options: Options,
    say: Callable[[str], None] = print,
) -> dict:
    """Synthesise, place, route and pack; write reports and metrics.

    Returns
    -------
    dict
        What ``report.json`` holds.

    Raises
    ------
    SpecError
        If the clock or the baud rate is impossible, the preset is too large for the board, misses
        its clock, or a tool is missing or fails. A report and a critical path are written before a
        missed clock is reported.
    """
    # What cannot be built at all does not cost the last bitstream.
    choose_clock(board, options)
    packer = PACKERS[board.family]
    for tool in ("yosys", f"nextpnr-{board.family}", packer):
        find_tool(tool)
    folder, bitstream = fpga_dir(preset, board), bitstream_path(preset, board)
    bitstream.unlink(missing_ok=True)
    report, packing = route(preset, checkpoint, board, options, folder, say)
    write_metrics(preset.name, figures(report, read_metrics(preset.name)))
    reports.check_clocks(
        [reports.Clock(**clock) for clock in report["clocks"]], f"{preset.name} on {board.name}"
    )
    report["seconds"][packer] = run_tool(packer, packing, folder, "pack.log")
    (folder / f"{NAME}.{BITSTREAMS[board.family]}").replace(bitstream)
    return report


def choose_clock(board: Board, options: Options) -> tuple[Pll | None, float, int]:
    """Choose PLL, clock and baud rate of a build.

    Returns
    -------
    tuple
        PLL, or None if the crystal has the clock already; MHz of the clock; baud rate.

    Raises
    ------
    SpecError
        If the board cannot make the clock or the baud rate.
    """
    wanted = board.mhz if options.mhz is None else options.mhz
    pll = make_pll(board, wanted)
    mhz = pll.frequency if pll else wanted
    baud = baud_rates(board, mhz)[0] if options.baud is None else options.baud
    check_baud(board, mhz, baud)
    return pll, mhz, baud


def route(
    preset: Preset,
    checkpoint: Checkpoint | None,
    board: Board,
    options: Options,
    folder: Path,
    say: Callable[[str], None],
) -> tuple[dict, list[str]]:
    """Synthesise, place and route in a folder, whether the clock is met or not.

    Returns
    -------
    tuple of dict and list
        What ``report.json`` holds, and the arguments of the packer.

    Raises
    ------
    SpecError
        If the clock or the baud rate is impossible, the preset is too large for the board, or a
        tool is missing or fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    widths = built_widths(preset, checkpoint)
    pll, mhz, baud = choose_clock(board, options)
    commands = _write_plan(
        board, Top(board, preset, widths, pll=pll, baud=baud), options.seed, folder
    )

    say(f"{preset.name} for {board.name} at {mhz:g} MHz, {baud} baud")
    seconds = {"yosys": run_tool("yosys", commands["yosys"], folder, f"{NAME}.rpt")}
    cells = json.loads((folder / "cells.json").read_text())["design"]["num_cells_by_type"]
    used = reports.count_cells(cells)
    reports.check_fits(preset.name, board, used)

    say(f"{used.lut4} LUT4s, {used.ff} flip-flops, {used.bram} block RAMs")
    seconds |= _place_and_route(board, commands[f"nextpnr-{board.family}"], folder)
    routed = json.loads((folder / "nextpnr.json").read_text())
    (folder / "critical_path.txt").write_text(reports.critical_path_text(routed))
    report = {
        "preset": preset.name,
        "board": board.name,
        "fingerprint": fingerprint(preset, widths),
        "clock_mhz": mhz,
        "baud": baud,
        "seed": options.seed,
        "utilisation": asdict(used),
        "available": asdict(board.device),
        "block_ram_bits": bits_in_block_rams(
            memory_bits((folder / f"{NAME}.il").read_text()),
            (folder / f"{NAME}.rpt").read_text(),
        ),
        "clocks": [asdict(clock) for clock in reports.read_clocks(routed, mhz)],
        "routed": routed["utilization"],
        "seconds": seconds,
    }
    with whole_file(folder / REPORT) as partial:
        partial.write_text(json.dumps(report, indent=2) + "\n")
    return report, commands[PACKERS[board.family]]


def built_bitstream(preset: Preset, board: Board) -> tuple[Path, dict]:
    """Bitstream that was built last, and what its ``report.json`` holds.

    Raises
    ------
    SpecError
        If there is none, or no report of it, with what builds one.
    """
    path, report_path = bitstream_path(preset, board), fpga_dir(preset, board) / REPORT
    report = json.loads(report_path.read_text()) if report_path.is_file() else None
    command = f"python -m synth.fpga build --preset {preset.name} --board {board.name}"
    if not path.is_file():
        clocks = [reports.Clock(**clock) for clock in report["clocks"]] if report else []
        missed = reports.missed_clock(clocks)
        if missed:
            raise SpecError(
                f"no {path}: its clock was missed, with {missed.achieved:.2f} MHz of"
                f" {missed.constraint:.2f} MHz; build it with"
                f" `{command} --mhz {int(missed.achieved)}`"
            )
        raise SpecError(
            f"no {path}: build it with `make fpga PRESET={preset.name} BOARD={board.name}`"
        )
    if not report:
        raise SpecError(f"no {report_path} to {path}: build both again with `{command}`")
    return path, report


def summary(report: dict) -> str:
    """What a build takes and how fast it is, in two lines and one a clock."""
    used, has = report["utilisation"], report["available"]
    taken = [
        f"{used[name]} {text} ({used[name] / has[name]:.0%})" if has[name] else f"0 {text}"
        for name, text in reports.RESOURCES.items()
        if has[name] or used[name]
    ]
    clocks = [
        f"{clock['achieved']:.2f} MHz reached, {clock['constraint']:.2f} needed: {clock['name']}"
        for clock in report["clocks"]
    ]
    return "\n".join([f"{', '.join(taken)}; {used['carry']} with carry", *clocks])


def figures(report: dict, measured: dict[str, float]) -> dict[str, float]:
    """Figures of a build for ``metrics.json``; images a second at the clock, or at fmax if lower.

    Parameters
    ----------
    report : of the build
    measured : the preset's figures so far; images a second need the simulated cycles of an image
    """
    used = report["utilisation"]
    fmax = min(clock["achieved"] for clock in report["clocks"])
    found = {
        "lut4": used["lut4"],
        "ff": used["ff"],
        "carry": used["carry"],
        "bram": used["bram"],
        "multipliers": used["multipliers"],
        "fmax_mhz": fmax,
        "clock_mhz": report["clock_mhz"],
        "build_seconds": sum(report["seconds"].values()),
    }
    if used["bram"]:
        held = used["bram"] * report["available"]["bram_bits"]
        found["bram_over_bits"] = held / report["block_ram_bits"]
    cycles = measured.get("rtl.cycles_per_image")
    if cycles:
        found["images_per_second"] = min(report["clock_mhz"], fmax) * 1e6 / cycles
    return {f"fpga.{report['board']}.{name}": value for name, value in found.items()}


def _place_and_route(board: Board, arguments: list[str], folder: Path) -> dict[str, float]:
    """Run nextpnr, and return its seconds by what it did.

    ECP5s are placed in one run and routed in another. Router1 tells connections apart by how
    critical they are for the clock; on a full network it then had not ended after ten minutes. In a
    run of its own it knows no clock, so all connections are as direct as they can be.
    """
    tool, log = f"nextpnr-{board.family}", f"{NAME}.tim"
    if board.family == "ice40":
        return {tool: run_tool(tool, arguments, folder, log)}
    placing, routing = ({"log": f"{NAME}.place.tim", "write": PLACED}, {"json": PLACED})
    first = [*with_options(arguments, placing, without="textcfg"), "--no-route"]
    second = [*with_options(arguments, routing), "--no-pack", "--no-place"]
    return {
        f"{tool} --no-route": run_tool(tool, first, folder, placing["log"]),
        f"{tool} --no-place": run_tool(tool, second, folder, log),
    }


def with_options(
    arguments: Sequence[str], options: Mapping[str, str], *, without: str = ""
) -> list[str]:
    """Arguments with values of options set anew, and one option left out with its value."""
    pairs = {**options, without: ""}
    kept, skip = [], False
    for argument in arguments:
        if not skip and argument.removeprefix("--") not in pairs:
            kept.append(argument)
        skip = not skip and argument.removeprefix("--") in pairs
    return [*kept, *(word for name, value in options.items() for word in (f"--{name}", value))]


def _write_plan(board: Board, top: Top, seed: int, folder: Path) -> dict[str, list[str]]:
    """Write what the tools read, and return the arguments of each."""
    plan = board.platform().prepare(
        top,
        NAME,
        # Registers that are to stay copies: Yosys heeds the attribute on cells, not on wires.
        script_after_read="setattr -set keep 1 a:keep=1 %ci:+[Q] t:$*dff* %i",
        script_after_synth="tee -q -o cells.json stat -json",
        # A missed clock is judged here, with its report at hand.
        nextpnr_opts=f"--report nextpnr.json --timing-allow-fail --seed {seed}"
        f" --placer {PLACERS[board.family]} --router router1",
    )
    commands = {}
    for name, content in plan.files.items():
        text = content if isinstance(content, str) else content.decode()
        if name.endswith(".il"):
            # Memories without contents may become RAMs that cannot be initialised.
            text = plain_names(without_collisions(without_zero_contents(text)))
        if name.endswith(".sh"):
            commands = _commands(text)
        (folder / name).write_text(text)
    return commands


def _commands(script: str) -> dict[str, list[str]]:
    """Take the tools' arguments from Amaranth's shell script, where tools are ``"$YOSYS"``."""
    calls = [shlex.split(line) for line in script.splitlines() if line.startswith('"$')]
    return {call[0].strip("$").lower().replace("_", "-"): call[1:] for call in calls}
