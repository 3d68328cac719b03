"""The command line of golden: one line on standard error, and nothing half written."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from golden.__main__ import app
from golden.metrics import read_metrics, write_metrics
from golden.spec import PRESET_DIR, SpecError, preset_names
from tests.small_networks import random_checkpoint, small_preset

ROOT = Path(__file__).resolve().parent.parent


def golden(*words: str):
    return CliRunner().invoke(app, words)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def preset_file(path: Path, **sections: str) -> Path:
    """Preset tiny with lines replaced, as a file."""
    text = (PRESET_DIR / "tiny.toml").read_text()
    for old, new in sections.items():
        text = re.sub(rf"^{old} = .*$", new, text, flags=re.MULTILINE)
    path.write_text(text)
    return path


REFUSED = {
    "unknown preset": (
        ("train", "--preset", "tinny"),
        f"no preset tinny: known are {', '.join(preset_names())}",
    ),
    "no training": (
        ("train", "--preset", "cifar-2-256"),
        "preset cifar-2-256 has no [train] section: cannot be trained",
    ),
    "wrong output": (
        ("train", "--preset", "tiny", "--out", "net.pt"),
        "out is net.pt: must end in .safetensors",
    ),
    "no data": (
        ("evaluate", "--preset", "imagenet-8-512"),
        "preset imagenet-8-512 has no data set (data.dataset is none): shapes only",
    ),
    "no checkpoint": (
        ("evaluate", "--preset", "tiny-lrf", "--checkpoint", "none.safetensors"),
        "no checkpoint none.safetensors: train one with `python -m golden train --preset tiny-lrf`",
    ),
    "folder for a checkpoint": (
        ("evaluate", "--checkpoint", str(ROOT)),
        f"checkpoint {ROOT} is a folder: must be a .safetensors file",
    ),
    "too many images": (
        ("evaluate", "--limit", "451"),
        "images is 451: must be at most 450, the test images of digits",
    ),
    "no images": (("evaluate", "--limit", "0"), "limit is 0: must be at least 1"),
}


@pytest.mark.parametrize(("words", "text"), REFUSED.values(), ids=REFUSED)
def test_refused(elsewhere, words, text):
    result = golden(*words)
    assert result.exit_code == 2
    assert result.stderr == f"error: {text}\n"
    assert result.stdout == ""
    assert list(elsewhere.iterdir()) == []


def test_wrong_preset_file(elsewhere):
    path = preset_file(elsewhere / "mine.toml", lanes="lanes = 0")
    result = golden("train", "--preset", str(path))
    assert result.exit_code == 2
    assert result.stderr == "error: preset mine.toml: engine.lanes is 0: must be at least 1\n"
    assert list(elsewhere.iterdir()) == [path]


def test_no_checkpoint_of_a_preset_file(elsewhere):
    """The advice names the file: its name alone finds no preset."""
    path = preset_file(elsewhere / "mine.toml", name='name = "mine"')
    result = golden("evaluate", "--preset", str(path))
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: no checkpoint {ROOT / 'checkpoints' / 'mine.safetensors'}:"
        f" train one with `python -m golden train --preset {path}`\n"
    )


def test_checkpoint_of_another_preset(elsewhere):
    path = elsewhere / "net.safetensors"
    random_checkpoint(small_preset(network__time_steps=2)).save(path)
    result = golden("evaluate", "--checkpoint", str(path))
    assert result.exit_code == 2
    assert result.stderr == (
        "error: checkpoint net.safetensors: network.time_steps is 2: preset tiny has 4\n"
    )
    assert list(elsewhere.iterdir()) == [path]


def test_no_fashion_mnist(elsewhere, monkeypatch):
    monkeypatch.setenv("SPIKESTACK_FASHION_MNIST", str(elsewhere))
    for command in ("train", "compare"):
        words = (command, "--preset", "base") if command == "train" else (command,)
        result = golden(*words)
        assert result.exit_code == 2
        lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert lines == [
            f"error: no Fashion-MNIST in {elsewhere}: install the Debian package"
            " dataset-fashion-mnist, or set SPIKESTACK_FASHION_MNIST to the folder of its four"
            " .gz files"
        ]
        assert not list(elsewhere.rglob("*.*"))


def test_unwritable(elsewhere):
    (elsewhere / "build").write_text("a file where a folder should be")
    path = elsewhere / "net.safetensors"
    preset = small_preset(data__dataset="digits", name="mine")
    random_checkpoint(preset).save(path)
    lines = [
        'name = "mine"',
        'data = { dataset = "digits", channels = 1, height = 8, width = 8, classes = 10 }',
        "engine = { lanes = 8, neuron_lanes = 4 }",
        "[network]",
        "blocks = 1\nheads = 2\nmlp_ratio = 2",
        "stages = [{ channels = 8, pool = true }, { channels = 16 }]",
    ]
    (elsewhere / "mine.toml").write_text("\n".join(lines))
    result = golden("evaluate", "--preset", "mine.toml", "--checkpoint", str(path), "--limit", "9")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == "error: build/mine: Not a directory"


def test_as_a_program(elsewhere):
    """The real thing, once: exit status, one line, no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "golden", "evaluate", "--preset", "tinny"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert re.fullmatch(r"error: no preset tinny: known are [^\n]+\n", done.stderr)
    assert done.stdout == ""


def test_figures_of_the_attention(elsewhere):
    """Kind and state of the attention, beside numbers; and the comparison with SDT."""
    result = golden("evaluate", "--preset", "tiny-dyn", "--limit", "5")
    assert result.exit_code == 0, result.stderr
    result = golden("sdt", "--inputs", "20")
    assert result.exit_code == 0, result.stderr
    figures = read_metrics("tiny-dyn")
    assert figures["attention.kind"] == "lrf-dyn"
    assert figures["golden.attention_dendrites_bits"] == 4 * 32 * 8 * 16
    assert figures["attention.sdt_inputs"] == 20
    assert figures["attention.sdt_mismatches"] == 0
    shown = golden("metrics", "--preset", "tiny-dyn").stdout.splitlines()
    assert f"{'attention.kind':32}{'lrf-dyn':>16}" in shown
    assert f"{'attention.sdt_mismatches':32}{'0':>16}" in shown


def test_mismatch_with_sdt_fails(elsewhere, monkeypatch):
    figures = {"attention.sdt_mismatches": 3, "attention.sdt_inputs": 20}
    monkeypatch.setattr("golden.sdt.compare_with_sdt", lambda inputs: figures)
    assert golden("sdt").exit_code == 1
    assert read_metrics("tiny-dyn") == figures


def test_metrics_merge(elsewhere):
    write_metrics("x", {"b": 1.0})
    write_metrics("x", {"a": 2.0, "b": 3.0})
    path = elsewhere / "build" / "x" / "metrics.json"
    assert path.read_text() == '{\n  "a": 2.0,\n  "b": 3.0\n}\n'
    assert json.loads(path.read_text()) == read_metrics("x")
    assert read_metrics("y") == {}
    path.write_text("{")
    with pytest.raises(
        SpecError, match=r"^build/x/metrics\.json is not valid JSON: .+; remove it$"
    ):
        write_metrics("x", {"c": 1.0})
    assert [p.name for p in path.parent.iterdir()] == ["metrics.json"]
