"""The host driver against a model of the port: every fault seen, every answer right."""

from collections import Counter

import numpy as np
import pytest

from golden.checkpoint import Checkpoint, checkpoint_path
from golden.ranges import built_widths
from golden.spec import load_preset
from hw.frames import SYNC
from synth.fpga.host.driver import Device
from synth.fpga.host.faults import FaultyPort, run_damaged
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
