"""What make says of a checkpoint that is missing, and that it leaves one alone that is there."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXT = "no checkpoints/cifar-2-256.safetensors: train it with `make train PRESET=cifar-2-256`"


def make(*words: str) -> subprocess.CompletedProcess:
    """Run make as from a shell, also where the tests run under make."""
    own = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    environment = {key: value for key, value in os.environ.items() if key not in own}
    return subprocess.run(
        ["make", *words], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_missing_checkpoint():
    done = make("checkpoints/cifar-2-256.safetensors", "PRESET=cifar-2-256")
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == TEXT
    assert done.stdout == ""


def test_missing_checkpoint_shows_before_anything_is_built():
    done = make("-n", "sim", "PRESET=cifar-2-256")
    commands = done.stdout.splitlines()
    (missing,) = (index for index, line in enumerate(commands) if "train it with" in line)
    (verilog,) = (index for index, line in enumerate(commands) if "-m hw verilog" in line)
    assert missing < verilog


def test_checkpoints_that_are_there_and_training():
    assert make("checkpoints/tiny.safetensors", "PRESET=tiny").returncode == 0
    for words in (("-B", "sim", "PRESET=tiny"), ("train", "PRESET=cifar-2-256")):
        done = make("-n", *words)
        assert done.returncode == 0
        assert "train it with" not in done.stdout + done.stderr
