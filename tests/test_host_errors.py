"""What the host driver says of ports, boards and files that it cannot use."""

import re

import numpy as np
import pytest
from typer.testing import CliRunner

from golden.checkpoint import Checkpoint, checkpoint_path
from golden.ranges import built_widths
from golden.spec import load_preset
from hw.frames import encode
from synth.fpga.host.__main__ import app
from synth.fpga.host.driver import Device, DeviceError
from synth.fpga.host.faults import FaultyPort
from synth.fpga.host.link import Link, LinkError
from synth.fpga.host.transport import PortError, SerialPort
from tests.port_model import PortModel

PRESET = load_preset("tiny")
CHECKPOINT = Checkpoint.load(checkpoint_path(PRESET), PRESET)
WIDTHS = built_widths(PRESET, CHECKPOINT)
IMAGE = np.full((1, 8, 8), 77, np.uint8)


class Dead:
    """A port on which nothing, or always the same, comes back."""

    name = "dead"

    def __init__(self, answer=b""):
        self.answer, self.writes, self.closed, self.reads = answer, [], False, 0

    def read(self, timeout):
        self.reads += 1
        return self.answer

    def write(self, data):
        self.writes.append(data)

    def close(self):
        self.closed = True


def test_dead_port():
    """Nothing comes back: an end after so many attempts, and the message says what was tried."""
    port = Dead()
    text = (
        "port dead does not answer: INFO was sent 3 times in 7 s and no byte came; check that the"
        " board is programmed, that its baud rate is this one, that rx and tx are not swapped, and"
        " that no other program has the port (docs/bring-up.md, step 4)"
    )
    with (
        pytest.raises(LinkError, match=f"^{re.escape(text)}$"),
        Device(port, PRESET, WIDTHS, timeout=1.0),
    ):
        pass
    assert len(port.writes) == 3 and port.closed


@pytest.mark.parametrize(
    "answer",
    [b"\0", b"\xa5", b"\xa5\xa5\xa5", encode(0), encode(1), encode(4), encode(0xEE, b"12345")],
)
def test_port_that_never_stops(answer):
    """Bytes or frames without end do not keep the driver for ever."""
    port = Dead(answer)
    with pytest.raises(LinkError, match=r"^port dead does not answer: .* bytes came, "):
        Device(port, PRESET, WIDTHS, attempts=2).open()
    assert port.reads < 20_000


def test_line_that_dies():
    """A line that stops in mid-work gives an error that names the request and the faults."""
    line = FaultyPort(PortModel(PRESET, WIDTHS), 0.0)
    device = Device(line, PRESET, WIDTHS, attempts=3)
    device.open()
    line.rate = 1.0
    with pytest.raises(
        LinkError, match=r"^port model \(with faults\) does not answer: .* seconds?|s"
    ):
        device.run(IMAGE)
    line.rate = 0.0
    device.open()
    device.load(CHECKPOINT)
    assert device.run(IMAGE).any()


def test_request_that_never_arrives():
    """All attempts fail although INFO works."""
    model = PortModel(PRESET, WIDTHS)
    device = Device(model, PRESET, WIDTHS, attempts=2)
    with pytest.raises(
        LinkError,
        match=r"^port model: LOAD of 9 bytes failed 2 times; seen on the line: checksum 2$",
    ):
        device.link.exchange(encode(1, b"\0")[:-1] + b"\0", 0)


def test_refused_request():
    """What the board refuses for good is not repeated."""
    model = PortModel(PRESET, WIDTHS)
    device = Device(model, PRESET, WIDTHS)
    with pytest.raises(
        LinkError,
        match=r"^port model: the board refuses command 127 of 8 bytes: the command is unknown$",
    ):
        device.link.exchange(encode(127), 0)
    assert len(model.requests) == 1 and not device.faults


def test_other_board():
    """A board built from another preset is refused, with both fingerprints."""
    other = PRESET.replace(engine__counters=False)
    port = PortModel(other, WIDTHS)
    with (
        pytest.raises(
            DeviceError,
            match=r"^port model: the board has fingerprint 0x[0-9a-f]{8}: preset tiny with these"
            r" widths has 0x[0-9a-f]{8}; program the board with this preset and checkpoint, or name"
            r" the preset that it has$",
        ),
        Device(port, PRESET, WIDTHS),
    ):
        pass
    assert port.closed


def test_other_version():
    port = PortModel(PRESET, WIDTHS)
    port.identity = port.identity[:-1] + b"\2"
    text = "port model: the board speaks version 2 of the protocol: this program speaks 1"
    with pytest.raises(DeviceError, match=f"^{re.escape(text)}$"):
        Device(port, PRESET, WIDTHS).open()


def test_board_changes():
    """Another board on the same port in mid-session is noticed at the next fault."""
    port = PortModel(PRESET, WIDTHS)
    device = Device(port, PRESET, WIDTHS)
    device.open()
    port.identity = b"abcde"
    with pytest.raises(LinkError, match=r"^port model: another board answers: INFO gives 61 62 "):
        device.open()


def test_bad_numbers():
    with pytest.raises(ValueError, match=r"^timeout is 0: must be more than 0 seconds$"):
        Link(Dead(), timeout=0)
    with pytest.raises(ValueError, match=r"^attempts is 0: must be at least 1$"):
        Link(Dead(), attempts=0)
    with pytest.raises(ValueError, match=r"^rate is 2: must be 0 to 1$"):
        FaultyPort(Dead(), 2)


def test_missing_port():
    with pytest.raises(PortError, match=r"^cannot open port /dev/nowhere: .*; serial ports: "):
        SerialPort("/dev/nowhere")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (np.zeros((2, 8, 8), np.float32), "has float32 of shape (2, 1, 8, 8): must be uint8 of"),
        (np.zeros((2, 3, 8, 8), np.uint8), "has uint8 of shape (2, 3, 8, 8): must be uint8 of"),
        (np.zeros((0, 8, 8), np.uint8), "has uint8 of shape (0, 1, 8, 8): must be uint8 of"),
        (b"no array", "is not a .npy file: "),
        (b"PK\x03\x04", "is not a .npy file: "),
    ],
)
def test_bad_images(tmp_path, content, text):
    """Bad images are refused before the port is opened."""
    path = tmp_path / "images.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    done = CliRunner().invoke(app, ["--port", "/dev/nowhere", "classify", str(path)])
    assert done.exit_code == 2
    assert f"error: {path} {text}" in done.output


def test_archive_of_images(tmp_path):
    path = tmp_path / "images.npz"
    np.savez(path, first=IMAGE, second=IMAGE)
    done = CliRunner().invoke(app, ["--port", "/dev/nowhere", "classify", str(path)])
    assert done.exit_code == 2
    assert done.stderr == (
        f"error: {path} is a .npz file, of arrays first, second: must be a .npy file, of one\n"
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--baud", "0"], "--baud is 0: must be at least 1, the rate that the build named"),
        (["--baud", "-9600"], "--baud is -9600: must be at least 1, the rate that the build named"),
        (["--timeout", "0"], "--timeout is 0.0: must be finite and more than 0 seconds"),
        (["--timeout", "nan"], "--timeout is nan: must be finite and more than 0 seconds"),
        (["--timeout", "inf"], "--timeout is inf: must be finite and more than 0 seconds"),
    ],
)
def test_bad_options(words, text):
    done = CliRunner().invoke(app, [*words, "--port", "/dev/nowhere", "info"])
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {text}")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["images.npy", "images.partial", "images"])
def test_images_are_written_under_any_name(name, tmp_path):
    """Files beside them stay, whatever they are called."""
    others = {"images.npz", "images.partial", "images"} - {name}
    for other in others:
        (tmp_path / other).write_text("mine")
    done = CliRunner().invoke(app, ["images", str(tmp_path / name), "--count", "3"])
    assert done.exit_code == 0 and done.stdout.startswith("labels: ")
    assert np.load(tmp_path / name).shape == (3, 1, 8, 8)
    assert {path.name for path in tmp_path.iterdir()} == others | {name}
