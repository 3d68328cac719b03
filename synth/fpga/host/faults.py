"""A bad line, to try the driver on: bytes dropped, doubled and flipped."""

import random
from collections import Counter
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from golden.checkpoint import Checkpoint
from hw.frames import SYNC

from .driver import Device
from .transport import Port

KINDS = ("drop", "double", "flip")


class FaultyPort:
    """A port that damages some of the bytes it carries, either way.

    Parameters
    ----------
    port : what carries the bytes
    rate : probability that a byte is damaged; of the three ways each is as likely
    seed : of the random numbers

    Members
    -------
    injected : how often each of ``drop``, ``double`` and ``flip`` was done
    harmless : how often the last byte of a request was doubled: what lies between two requests, and
        starts none, the board ignores, and nobody can report it
    """

    def __init__(self, port: Port, rate: float, seed: int = 0) -> None:
        if not 0 <= rate <= 1:
            raise ValueError(f"rate is {rate}: must be 0 to 1")
        self.port, self.rate = port, rate
        self.name = f"{port.name} (with faults)"
        self.injected: Counter[str] = Counter()
        self.harmless = 0
        self._random = random.Random(seed)

    def read(self, timeout: float) -> bytes:
        """Read from the port, then damage."""
        while data := self.port.read(timeout):
            # All bytes may be gone, and that is no sign of silence.
            if damaged := self._damage(data):
                return damaged
        return b""

    def write(self, data: bytes) -> None:
        """Damage a whole request, then write to the port."""
        sent = self._damage(data[:-1])
        before = self.injected["double"]
        sent += self._damage(data[-1:])
        if self.injected["double"] > before and data[-1] != SYNC:
            self.injected["double"] -= 1
            self.harmless += 1
        self.port.write(sent)

    def close(self) -> None:
        """Close the port."""
        self.port.close()

    def _damage(self, data: bytes) -> bytes:
        result = bytearray()
        for byte in data:
            if self._random.random() >= self.rate:
                result.append(byte)
                continue
            kind = self._random.choice(KINDS)
            self.injected[kind] += 1
            if kind == "double":
                result += bytes([byte, byte])
            elif kind == "flip":
                result.append(byte ^ 1 << self._random.randrange(8))
        return bytes(result)


class Damaged(NamedTuple):
    """What came of a run on a bad line.

    Members
    -------
    wrong : images with wrong logits
    injected, harmless : bytes damaged, see :class:`FaultyPort`
    seen : faults that the driver reported
    unreported : images, and loads of the checkpoint, that were damaged without any report
    later : faults that the driver reported after the line had become good
    """

    wrong: int
    injected: int
    harmless: int
    seen: int
    unreported: int
    later: int


def run_damaged(
    device: Device, checkpoint: Checkpoint, images: np.ndarray, logits: np.ndarray
) -> Damaged:
    """Load a checkpoint and classify images on a device behind a :class:`FaultyPort`.

    Parameters
    ----------
    images, logits : images and what the integer model makes of them
    """
    line = device.port
    rate, wrong, unreported = line.rate, 0, 0
    for index in tqdm(range(-1, len(images)), desc="bad line", unit="image"):
        injected, seen = line.injected.total(), device.faults.total()
        line.rate = rate
        if index < 0:
            device.load(checkpoint)
        elif not np.array_equal(device.run(images[index]), logits[index]):
            wrong += 1
        # What lies behind the last reply shows when another one is read.
        line.rate = 0.0
        device.open()
        if line.injected.total() > injected and device.faults.total() == seen:
            unreported += 1
    seen = device.faults.total()
    if not np.array_equal(device.run(images[0]), logits[0]):
        wrong += 1
    later = device.faults.total() - seen
    return Damaged(wrong, line.injected.total(), line.harmless, seen, unreported, later)
