"""Self-test: from a line that carries bytes to a network that classifies."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from golden.checkpoint import Checkpoint
from golden.spec import SpecError
from hw import spaces
from hw.frames import (
    INFO_LENGTH,
    Status,
    encode,
    info_request,
    load_request,
    read_request,
)

from .driver import Device

INFOS = 50
UNKNOWN_COMMAND = 0x7F
UNKNOWN_SPACE = 0xFE


class Step(NamedTuple):
    """One step of the self-test.

    Members
    -------
    name : what was tried
    passed : whether it went as it must
    detail : what came out
    """

    name: str
    passed: bool
    detail: str


def self_test(
    device: Device, checkpoint: Checkpoint, images: np.ndarray, logits: np.ndarray
) -> Iterator[Step]:
    """Run all steps on an open device, up to the first that fails.

    Parameters
    ----------
    checkpoint : what to load
    images, logits : images and what the integer model makes of them
    """
    steps: tuple[tuple[str, Callable[[], tuple[bool, str]]], ...] = (
        ("line", lambda: _line(device)),
        ("bad requests", lambda: _refusals(device)),
        ("checkpoint", lambda: _load(device, checkpoint)),
        ("images", lambda: _images(device, images, logits)),
        ("counters", lambda: _counters(device)),
    )
    for name, action in steps:
        try:
            passed, detail = action()
        except SpecError as error:
            passed, detail = False, str(error)
        yield Step(name, passed, detail)
        if not passed:
            return


def _line(device: Device) -> tuple[bool, str]:
    before = device.faults.total()
    for _ in range(INFOS):
        device.link.exchange(info_request(), INFO_LENGTH)
    faults = device.faults.total() - before
    return not faults, f"{INFOS} requests, {faults} faults ({device.link.report()})"


def _refusals(device: Device) -> tuple[bool, str]:
    """Send what the board must refuse, and something good after each."""
    info = info_request()
    wrong_sum = info[:-1] + bytes([info[-1] ^ 0x10])
    beyond = read_request(spaces.LOGITS, 1 << 20, 1)
    cases = {
        Status.CHECKSUM: wrong_sum,
        Status.COMMAND: encode(UNKNOWN_COMMAND),
        Status.LENGTH: encode(info[1], b"\0"),
        Status.SPACE: load_request(UNKNOWN_SPACE, 0, b"\0"),
        Status.RANGE: beyond,
        Status.TIMEOUT: info[:-1],
    }
    for wanted, request in cases.items():
        reply = device.link.ask(request, 0)
        if reply is None or reply.kind != wanted:
            got = "nothing" if reply is None else f"status {reply.kind}"
            return False, f"{wanted.name.lower()}: the board answers {got}: must be {wanted.value}"
        device.link.exchange(info, INFO_LENGTH)
    return True, f"{len(cases)} kinds refused, the next request answered after each"


def _load(device: Device, checkpoint: Checkpoint) -> tuple[bool, str]:
    device.load(checkpoint)
    return True, "loaded"


def _images(device: Device, images: np.ndarray, logits: np.ndarray) -> tuple[bool, str]:
    for index, (image, wanted) in enumerate(zip(images, logits, strict=True)):
        got = device.run(image)
        if not np.array_equal(got, wanted):
            place = int(np.flatnonzero(got != wanted)[0])
            return False, (
                f"image {index}, logit {place} is {got[place]}: the integer model has"
                f" {wanted[place]}"
            )
    return True, f"{len(images)} images, all logits equal to the integer model's"


def _counters(device: Device) -> tuple[bool, str]:
    if not device.preset.engine.counters:
        return True, "this preset has none"
    total = sum(cycles for cycles, _ in device.counters().values())
    return 0 < total <= device.cycles, f"{total} cycles in layers, {device.cycles} in all"
