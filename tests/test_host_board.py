"""The host driver on the RTL, through the pins of its UART and a pseudo-terminal."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from golden.checkpoint import Checkpoint, checkpoint_path
from golden.data import load_test_images
from golden.ranges import built_widths
from golden.spec import load_preset
from sim.uart_pty import simulated_board
from synth.fpga.host.__main__ import expected
from synth.fpga.host.driver import Device, DeviceError
from synth.fpga.host.faults import FaultyPort, run_damaged
from synth.fpga.host.selftest import self_test
from synth.fpga.host.transport import SerialPort

ROOT = Path(__file__).resolve().parent.parent
PRESET = load_preset("tiny")
CHECKPOINT = Checkpoint.load(checkpoint_path(PRESET), PRESET)
WIDTHS = built_widths(PRESET, CHECKPOINT)


def command(*words):
    """Run the host program against a freshly simulated board of tiny."""
    host = [sys.executable, "-m", "synth.fpga.host", "--port", "{port}", *words]
    return subprocess.run(
        [sys.executable, "-m", "sim", "uart", "--", *host],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1200,
    )


@pytest.mark.slow
def test_simulated_board():
    """The driver over a pseudo-terminal and the UART's pins: logits of 20 images, on the RTL."""
    with simulated_board("tiny") as board:
        with pytest.raises(DeviceError, match=r"^port /dev/\S+ at 3000000 baud: the board has "):
            Device(SerialPort(board.port), PRESET.replace(engine__counters=False), WIDTHS).open()
        with Device(SerialPort(board.port), PRESET, WIDTHS) as device:
            images, _ = load_test_images(PRESET, 20)
            device.load(CHECKPOINT)
            assert np.array_equal(device.classify(images), expected(CHECKPOINT, images))
            total = sum(cycles for cycles, _ in device.counters().values())
            assert 0 < total <= device.cycles
            assert not device.faults
    assert "0 without stop bit, 0 that nobody read" in board.summary


@pytest.mark.slow
def test_simulated_board_on_a_bad_line():
    """The same 20 images with bytes dropped, doubled and flipped; then a good line again."""
    images, _ = load_test_images(PRESET, 20)
    wanted = expected(CHECKPOINT, images)
    with simulated_board("tiny") as board:
        line = FaultyPort(SerialPort(board.port), 0.002)
        with Device(line, PRESET, WIDTHS, max_payload=133) as device:
            result = run_damaged(device, CHECKPOINT, images, wanted)
    assert set(line.injected) == {"drop", "double", "flip"}
    assert (result.wrong, result.unreported, result.later) == (0, 0, 0)
    assert result.seen >= result.injected / 3


@pytest.mark.slow
def test_commands():
    """The self-test passes; a board of another preset is refused in one line."""
    done = command("self-test", "--count", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines() if " ok: " in line] == [
        "line",
        "bad",
        "checkpoint",
        "images",
        "counters",
    ]
    done = command("--preset", "base", "info")
    assert done.returncode == 2
    assert re.search(r"^error: port /dev/\S+ at 3000000 baud: the board has fi", done.stderr, re.M)


@pytest.mark.slow
def test_self_test_finds_a_wrong_network():
    """With logits that the board cannot give, the self-test stops at the images and says where."""
    images, _ = load_test_images(PRESET, 2)
    wanted = expected(CHECKPOINT, images)
    wanted[1, 3] += 1
    with (
        simulated_board("tiny") as board,
        Device(SerialPort(board.port), PRESET, WIDTHS) as device,
    ):
        steps = list(self_test(device, CHECKPOINT, images, wanted))
    assert [step.passed for step in steps] == [True, True, True, False]
    assert re.match(r"image 1, logit 3 is -?\d+: the integer model has -?\d+$", steps[-1].detail)
