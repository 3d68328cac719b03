"""What make says of a checkpoint that is missing, and what it builds and leaves alone."""

import os
import subprocess
from pathlib import Path

import pytest

from synth.fpga.boards import BOARDS
from synth.fpga.flow import BITSTREAMS
from synth.tiers.assign import FOLDED, STYLES

ROOT = Path(__file__).resolve().parent.parent
UNTRAINED = "cifar-2-256"
CHECKPOINT = f"checkpoints/{UNTRAINED}.safetensors"


def make(*words: str) -> subprocess.CompletedProcess:
    """Run make as from a shell, also where the tests run under make."""
    own = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    environment = {key: value for key, value in os.environ.items() if key not in own}
    return subprocess.run(
        ["make", *words], cwd=ROOT, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("section", "advice"),
    [
        ("[train]\n", "train it with `make train PRESET=cifar-2-256`"),
        ("", "cifar-2-256 has shapes only, no [train]; try `make verilog PRESET=cifar-2-256`"),
    ],
)
def test_missing_checkpoint(section, advice, tmp_path):
    preset = tmp_path / "preset.toml"
    preset.write_text(section)
    done = make(CHECKPOINT, f"PRESET={UNTRAINED}", f"PRESET_FILE={preset}")
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == f"no {CHECKPOINT}: {advice}"
    assert done.stdout == ""


def test_missing_checkpoint_shows_before_anything_is_built():
    done = make("-n", "sim", f"PRESET={UNTRAINED}")
    commands = done.stdout.splitlines()
    (missing,) = (index for index, line in enumerate(commands) if "train it with" in line)
    (verilog,) = (index for index, line in enumerate(commands) if "-m hw verilog" in line)
    assert missing < verilog


def test_checkpoints_that_are_there_and_training():
    assert make("checkpoints/tiny.safetensors", "PRESET=tiny").returncode == 0
    for words in (("-B", "sim", "PRESET=tiny"), ("train", f"PRESET={UNTRAINED}")):
        done = make("-n", *words)
        assert done.returncode == 0
        assert "train it with" not in done.stdout + done.stderr


def fpga(target: str, folder: Path, board: str) -> str:
    """What make would run for a board in a folder where all tools are installed."""
    for name in ("ready", "fpga-ready"):
        if not (folder / name).exists():
            (folder / name).touch()
    ready = (f"READY={folder}/ready", f"FPGA_READY={folder}/fpga-ready")
    done = make("-n", target, f"BOARD={board}", f"B={folder}", *ready)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
def test_programming_takes_what_was_built_last(board, tmp_path):
    """No default build comes before it, which would take the place of one with another clock."""
    built = tmp_path / "fpga" / board.name / f"bitstream.{BITSTREAMS[board.family]}"
    command = f"-m synth.fpga program --preset tiny --board {board.name}"
    for there in (False, True):
        if there:
            built.parent.mkdir(parents=True)
            built.touch()
            os.utime(built, (0, 0))
        commands = fpga("program", tmp_path, board.name).splitlines()
        assert len(commands) == 1 and commands[0].endswith(command)


@pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
def test_a_bitstream_is_built_unless_there_is_one(board, tmp_path):
    """An earlier build's mark does not count once a later one has taken the bitstream away."""
    folder = tmp_path / "fpga" / board.name
    folder.mkdir(parents=True)
    (folder / ".done").touch()
    command = f"-m synth.fpga build --preset tiny --board {board.name}"
    assert command in fpga("fpga", tmp_path, board.name)
    built = folder / f"bitstream.{BITSTREAMS[board.family]}"
    built.touch()
    assert command not in fpga("fpga", tmp_path, board.name)
    os.utime(built, (0, 0))
    assert command in fpga("fpga", tmp_path, board.name)


def test_styles_are_those_of_python():
    assert f"styles: {' '.join((*STYLES, FOLDED))}" in make("help").stdout.splitlines()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("STYLE=cake", f"no style cake: known are {' '.join((*STYLES, FOLDED))}"),
        ("STYLE=mincut folded", "no style mincut folded: known are "),
        *(
            (f"TIERS={value}", f"TIERS is {value}: must be a whole number, at least 2")
            for value in ("x", "1", "0", "-2", "2.5", "02", "2 3", "")
        ),
        ("LIBERTY=none.lib", "LIBERTY is none.lib: there is no such file"),
        ("LEF=Makefile none.lef", "LEF is none.lef: there is no such file"),
    ],
)
def test_options_are_checked_before_anything_is_built(word, message):
    done = make("-n", "tiers", word)
    assert done.returncode != 0 and done.stdout == ""
    assert f"*** {message}" in done.stderr


@pytest.mark.parametrize("tiers", ["2", "9", "10"])
def test_numbers_of_tiers(tiers):
    done = make("-n", "tiers", f"TIERS={tiers}")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].endswith(f"--style memory-on-logic --tiers {tiers}")


def synthesis(folder: Path, *words: str) -> str:
    """Options with which make runs synthesis in a folder, where it takes no time."""
    netlist = folder / "asic" / "netlist.json"
    done = make(str(netlist), f"B={folder}", f"READY={folder}/ready", "PY=echo", *words)
    assert done.returncode == 0, done.stderr
    commands = [line for line in done.stdout.splitlines() if line.startswith("-m synth.asic synth")]
    if not commands:
        return ""
    netlist.touch()
    (command,) = commands
    return command.removeprefix("-m synth.asic synth ").rstrip()


def test_another_library_is_another_netlist(tmp_path):
    (tmp_path / "asic").mkdir()
    files = [tmp_path / name for name in ("ready", "my.lib", "tech.lef", "my.lef")]
    for file in files:
        file.touch()
    liberty, *lefs = files[1:]
    words = f"LIBERTY={liberty}", f"LEF={lefs[0]} {lefs[1]}"
    options = f"--preset tiny --liberty {liberty} --lef {lefs[0]} --lef {lefs[1]}"
    assert synthesis(tmp_path) == "--preset tiny"
    assert synthesis(tmp_path) == ""
    assert synthesis(tmp_path, *words) == options
    assert synthesis(tmp_path, *words) == ""
    liberty.touch()
    assert synthesis(tmp_path, *words) == options
    assert synthesis(tmp_path, words[0], f"LEF={lefs[1]} {lefs[0]}") != ""
    assert synthesis(tmp_path) == "--preset tiny"
    assert synthesis(tmp_path) == ""
