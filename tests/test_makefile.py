"""What make says of a checkpoint that is missing, and that it leaves one alone that is there."""

import os
import subprocess
from pathlib import Path

import pytest

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
