"""The host driver against a model of the port: every fault seen, every answer right."""

import re
from collections import Counter

import numpy as np
import pytest
from typer.testing import CliRunner

from golden.checkpoint import Checkpoint, checkpoint_path
from golden.ranges import built_widths
from golden.spec import load_preset
from hw.frames import SYNC, encode
from synth.fpga.host.__main__ import app
from synth.fpga.host.driver import Device, DeviceError
from synth.fpga.host.faults import FaultyPort, run_damaged
from synth.fpga.host.link import Link, LinkError
from synth.fpga.host.transport import PortError, SerialPort
from tests.port_model import PortModel, checksum_logits

PRESET = load_preset("tiny")
CHECKPOINT = Checkpoint.load(checkpoint_path(PRESET), PRESET)
WIDTHS = built_widths(PRESET, CHECKPOINT)
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 1, 8, 8), np.uint8)
KINDS = ("drop", "double", "flip", "flip high")


def damaged(byte: int, kind: str) -> bytes:
    return {
        "drop": b"",
        "double": bytes([byte, byte]),
        "flip": bytes([byte ^ 1]),
        "flip high": bytes([byte ^ 0x80]),
    }[kind]


class OneFault:
    """A port that damages one byte: number ``place`` of those that go ``direction``."""

    def __init__(self, port, direction, place, kind):
        self.port, self.name = port, port.name
        self.direction, self.place, self.kind = direction, place, kind
        self.armed = False
        self._passed = 0

    def read(self, timeout):
        while data := self.port.read(timeout):
            if data := self._pass("in", data):
                return data
        return b""

    def write(self, data):
        self.port.write(self._pass("out", data))

    def close(self):
        self.port.close()

    def _pass(self, direction, data):
        if not self.armed or direction != self.direction:
            return data
        place = self.place - self._passed
        self._passed += len(data)
        if not 0 <= place < len(data):
            return data
        return data[:place] + damaged(data[place], self.kind) + data[place + 1 :]


class Mute(Counter):
    """Faults that are never counted."""

    def __setitem__(self, kind, count):
        pass


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


def right_answers(images):
    """Logits that the model must give, from a line without faults."""
    with Device(PortModel(PRESET, WIDTHS), PRESET, WIDTHS) as device:
        device.load(CHECKPOINT)
        logits = device.classify(images)
        assert not device.faults
    return logits


ANSWERS = right_answers(IMAGES)


def test_model_sees_every_byte():
    """What the model answers depends on checkpoint and image, so a wrong load cannot hide."""
    assert len({tuple(row) for row in ANSWERS}) == len(IMAGES)
    memories = [bytearray(10)]
    before = checksum_logits(memories, 4)
    memories[0][9] = 1
    assert before != checksum_logits(memories, 4)


def exchange_lengths():
    """Bytes that one image sends and receives."""
    port = PortModel(PRESET, WIDTHS)
    device = Device(port, PRESET, WIDTHS)
    device.open()
    sent, got = len(port.requests), len(port.replies)
    device.run(IMAGES[0])
    return port.requests[sent:], port.replies[got:]


REQUESTS, REPLIES = exchange_lengths()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("direction", ["out", "in"])
def test_every_single_fault(direction, kind):
    """Each byte of an image's exchange damaged in turn: reported, repaired, and then forgotten."""
    frames = REQUESTS if direction == "out" else REPLIES
    ends = set(np.cumsum([len(frame) for frame in frames]) - 1)
    stream = b"".join(frames)
    for place, byte in enumerate(stream):
        line = OneFault(PortModel(PRESET, WIDTHS), direction, place, kind)
        device = Device(line, PRESET, WIDTHS)
        where = f"byte {place} of {len(stream)}, 0x{byte:02x}"
        device.open()
        device.load(CHECKPOINT)
        line.armed = True
        assert np.array_equal(device.run(IMAGES[0]), ANSWERS[0]), where
        # A byte too many behind a reply is seen when the next one comes. One behind a request is
        # between frames, where the board ignores it: nobody can see it.
        assert np.array_equal(device.run(IMAGES[1]), ANSWERS[1]), where
        hidden = direction == "out" and kind == "double" and place in ends and byte != SYNC
        assert bool(device.faults) != hidden, f"{where}: {device.link.report()}"
        before = device.faults.total()
        assert np.array_equal(device.run(IMAGES[2]), ANSWERS[2]), where
        assert device.faults.total() == before, where


@pytest.mark.parametrize("seed", range(4))
def test_bad_line(seed):
    """One byte in 300 damaged: all answers right, no damage unreported, and an end to it."""
    line = FaultyPort(PortModel(PRESET, WIDTHS), 1 / 300, seed)
    device = Device(line, PRESET, WIDTHS, max_payload=133, attempts=20)
    line.rate, rate = 0.0, line.rate
    device.open()
    line.rate = rate
    images, answers = np.tile(IMAGES, (10, 1, 1, 1)), np.tile(ANSWERS, (10, 1))
    result = run_damaged(device, CHECKPOINT, images, answers)
    assert (result.wrong, result.unreported, result.later) == (0, 0, 0)
    assert result.injected > 40
    assert result.seen >= result.injected / 3


def test_damage_without_report_is_found():
    """A driver that reports nothing does not pass for one that sees everything."""
    line = FaultyPort(PortModel(PRESET, WIDTHS), 1 / 100)
    device = Device(line, PRESET, WIDTHS, max_payload=133, attempts=50)
    device.link.faults = Mute()
    result = run_damaged(device, CHECKPOINT, IMAGES, ANSWERS + 1)
    assert result.unreported > 0
    assert result.wrong == len(IMAGES) + 1


@pytest.mark.parametrize("apart", [1, 3])
@pytest.mark.parametrize("number", [1, 2, 24, 25, 26, 27])
def test_late_reply(number, apart):
    """A reply that comes after the driver has given it up is never taken for another's."""
    line = PortModel(PRESET, WIDTHS, late=(number, number + apart))
    device = Device(line, PRESET, WIDTHS)
    device.open()
    device.load(CHECKPOINT)
    assert np.array_equal(device.classify(IMAGES), ANSWERS)
    # Of two replies to INFO the second is passed over, without another attempt.
    assert set(device.faults) == {"no reply", "late reply"}


def test_late_reply_and_lost_load():
    """The reply to an earlier load does not stand for a load that the line has damaged."""
    port = PortModel(PRESET, WIDTHS, late=(1,))
    # The second LOAD of the checkpoint is damaged, after the reply to the first came late.
    line = OneFault(port, "out", 2100, "flip")
    device = Device(line, PRESET, WIDTHS)
    device.open()
    line.armed = True
    device.load(CHECKPOINT)
    assert np.array_equal(device.run(IMAGES[0]), ANSWERS[0])
    assert device.faults["late reply"] == 1


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
        Device(port, PRESET, WIDTHS, timeout=1.0, attempts=3),
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
        device.run(IMAGES[0])
    line.rate = 0.0
    device.open()
    device.load(CHECKPOINT)
    assert np.array_equal(device.run(IMAGES[0]), ANSWERS[0])


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
    ],
)
def test_bad_images(tmp_path, content, text):
    """Bad images are refused before the port is opened."""
    path = tmp_path / "images.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    done = CliRunner().invoke(app, ["classify", str(path), "--port", "/dev/nowhere"])
    assert done.exit_code == 2
    assert f"error: {path} {text}" in done.output
