"""What make says of a checkpoint that is missing, and what it builds and leaves alone."""

import os
import subprocess
from pathlib import Path

import pytest

from synth.fpga.boards import BOARDS
from synth.fpga.flow import BITSTREAMS

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
