"""The driver: a whole network on a board, simulated or real."""

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from golden.checkpoint import Checkpoint
from golden.ranges import Widths
from golden.schedule import network_layers
from golden.spec import Preset, SpecError
from hw import spaces
from hw.build import fingerprint
from hw.frames import (
    CYCLES_LENGTH,
    DEFAULT_MAX_PAYLOAD,
    VERSION,
    parse_cycles,
    parse_info,
    parse_words,
    read_request,
    run_request,
)
from hw.memory_image import checkpoint_requests, image_requests
from hw.work_counters import work_names

from .link import DEFAULT_ATTEMPTS, DEFAULT_TIMEOUT, Link
from .transport import Port

# A board that is there answers the first; each waits twice as long as the one before.
OPEN_ATTEMPTS = 3


class DeviceError(SpecError):
    """A board that is not the one expected."""


class Device:
    """An accelerator behind a port; a context manager that opens it and closes the port.

    Parameters
    ----------
    port : carries the bytes
    preset, widths : what the board was built from
    timeout, attempts : as for :class:`synth.fpga.host.link.Link`
    max_payload : longest payload of a request, unless a row needs more; a smaller one suits a bad
        line

    Members
    -------
    link : the requests and replies
    cycles : of the last run
    """

    def __init__(
        self,
        port: Port,
        preset: Preset,
        widths: Widths,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        attempts: int = DEFAULT_ATTEMPTS,
        max_payload: int = DEFAULT_MAX_PAYLOAD,
    ) -> None:
        self.preset, self.widths, self.max_payload = preset, widths, max_payload
        self.port = port
        self.link = Link(port, timeout=timeout, attempts=attempts)
        self.cycles = 0

    def __enter__(self) -> "Device":
        try:
            self.open()
        except BaseException:
            self.port.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.port.close()

    @property
    def faults(self) -> Counter[str]:
        """Faults of the line so far, by kind."""
        return self.link.faults

    def open(self) -> tuple[int, int]:
        """Ask the board what it is and check it.

        Returns
        -------
        tuple
            Fingerprint and version of the protocol.

        Raises
        ------
        DeviceError
            If the board was built from something else.
        LinkError
            If nothing answers.
        """
        found, version = parse_info(self.link.synchronise(OPEN_ATTEMPTS))
        if version != VERSION:
            raise DeviceError(
                f"port {self.port.name}: the board speaks version {version} of the protocol:"
                f" this program speaks {VERSION}"
            )
        wanted = fingerprint(self.preset, self.widths)
        if found != wanted:
            raise DeviceError(
                f"port {self.port.name}: the board has fingerprint 0x{found:08x}: preset"
                f" {self.preset.name} with these widths has 0x{wanted:08x}; program the board with"
                " this preset and checkpoint, or name the preset that it has"
            )
        return found, version

    def load_checkpoint(self, checkpoint: Checkpoint) -> Iterator[int]:
        """Load a checkpoint, frame by frame.

        Yields
        ------
        int
            After each frame, how many there are in all.

        Raises
        ------
        SpecError
            If the checkpoint does not fit what was built.
        """
        requests = checkpoint_requests(checkpoint, self.widths, self.max_payload)
        for request in requests:
            self.link.exchange(request, 0)
            yield len(requests)

    def load(self, checkpoint: Checkpoint) -> None:
        """Load a checkpoint to its end."""
        for _ in self.load_checkpoint(checkpoint):
            pass

    def run(self, image: np.ndarray) -> np.ndarray:
        """Classify one image, uint8 of shape (channels, height, width), and return its logits."""
        classes = self.preset.data.classes
        for request in image_requests(image, self.preset, self.widths, self.max_payload):
            self.link.exchange(request, 0)
        self.cycles = parse_cycles(self.link.exchange(run_request(), CYCLES_LENGTH))
        request = read_request(spaces.LOGITS, 0, classes)
        words = parse_words(self.link.exchange(request, 4 * classes), classes)
        return np.array(words, np.uint32).view(np.int32)

    def classify(self, images: Iterable[np.ndarray]) -> np.ndarray:
        """Classify images and return their logits, int32 of shape (count, classes)."""
        logits = [self.run(image) for image in images]
        return np.array(logits, np.int32).reshape(-1, self.preset.data.classes)

    def counters(self) -> dict[str, tuple[int, int]]:
        """Cycles and stalls of each layer in the last run.

        Raises
        ------
        SpecError
            If the preset was built without counters.
        """
        if not self.preset.engine.counters:
            raise SpecError(
                f"preset {self.preset.name} has no counters: build it with engine.counters = true"
            )
        layers = network_layers(self.preset)
        words = self._words(spaces.COUNTERS, 2 * len(layers))
        pairs = zip(words[::2], words[1::2], strict=True)
        return {layer.name: pair for layer, pair in zip(layers, pairs, strict=True)}

    def work(self) -> dict[str, int]:
        """Cycles that each tile was busy, starved and stalled in the last run, and experts' tokens.

        Empty for a single tile without experts, or without counters.
        """
        names = work_names(self.preset)
        return dict(zip(names, self._words(spaces.WORK, len(names)), strict=True)) if names else {}

    def _words(self, space: int, count: int) -> list[int]:
        payload = self.link.exchange(read_request(space, 0, count), 4 * count)
        return parse_words(payload, count)
