"""Stream ports under cocotb: drive them, stall them, compare them with what must come out.

Sources and sinks are stepped by one loop, once a rising edge, rather than being a task each: with
many configurations side by side that halves the time Python takes for a cycle.
"""

import random
from collections.abc import Iterator, Sequence

from amaranth.hdl import Const, Shape
from amaranth.lib import data

REGIMES = ("none", "source", "sink", "both")
STALL = 0.4
SILENCE = 2000


class StreamError(AssertionError):
    """A stream that carried what it must not, or nothing at all."""


def pack(shape: object, value: object) -> int:
    """Turn an initialiser of ``shape`` into its bits, as an unsigned number.

    Structures are mappings, arrays are sequences, and everything else is a number or enum member.
    """
    if isinstance(shape, data.Layout) and not isinstance(value, int):
        names = value if hasattr(value, "keys") else range(len(value))
        bits = 0
        for name in names:
            part = shape[name]
            bits |= pack(part.shape, value[name]) << part.offset
        return bits
    plain = Shape.cast(shape)
    return Const.cast(value).value & ((1 << plain.width) - 1)


def fields(shape: object, bits: int, path: str = "") -> Iterator[tuple[str, int]]:
    """Walk through the numbers in the bits of a payload, each with its path."""
    if isinstance(shape, data.Layout):
        for name, part in shape:
            here = f"[{name}]" if isinstance(name, int) else f"{'.' if path else ''}{name}"
            yield from fields(part.shape, bits >> part.offset, path + here)
        return
    plain = Shape.cast(shape)
    number = bits & ((1 << plain.width) - 1)
    if plain.signed and plain.width and number >> (plain.width - 1):
        number -= 1 << plain.width
    yield path, number


def difference(shape: object, got: int, wanted: int) -> str:
    """Say which field of a payload differs first, and how."""
    pairs = zip(fields(shape, got), fields(shape, wanted), strict=True)
    wrong = [(path, a, b) for (path, a), (_, b) in pairs if a != b]
    if not wrong:
        return "bits outside all fields differ"
    path, a, b = wrong[0]
    more = f" ({len(wrong)} fields differ)" if len(wrong) > 1 else ""
    return f"{path or 'payload'} is {a}, must be {b}{more}"


def check(where: str, cycle: int, token: int, shape: object, got: int, wanted: int) -> None:
    """Compare one payload with what it must be.

    Raises
    ------
    StreamError
        Naming block and port (``where``), cycle, token and the first field that differs.
    """
    if got != wanted:
        text = difference(shape, got, wanted)
        raise StreamError(f"{where}: cycle {cycle}, token {token}: {text}")


class _Port:
    """The three signals of a stream port, by the names that Amaranth gives them."""

    def __init__(self, dut: object, name: str) -> None:
        self.payload = getattr(dut, f"{name}__payload")
        self.valid = getattr(dut, f"{name}__valid")
        self.ready = getattr(dut, f"{name}__ready")


class Source:
    """Sends payloads into a stream port; :meth:`step` once a rising edge.

    Parameters
    ----------
    dut : where the port's signals are
    name : prefix of their names
    payloads : packed payloads
    rng : draws the stalls; None for none

    Members
    -------
    sent : payloads taken so far
    """

    def __init__(
        self, dut: object, name: str, payloads: Sequence[int], rng: random.Random | None
    ) -> None:
        self.port, self.payloads, self.rng = _Port(dut, name), payloads, rng
        self.sent, self._offered = 0, False
        self.port.valid.value = 0

    @property
    def done(self) -> bool:
        """Whether every payload has been taken."""
        return self.sent == len(self.payloads)

    def step(self, cycle: int) -> bool:
        """Go on by a cycle; return whether a payload was taken in it."""
        taken = self._offered and self.port.ready.value == 1
        if taken:
            self.sent += 1
            self._offered = False
        if self._offered or self.done:
            if taken:
                self.port.valid.value = 0
            return taken
        if self.rng is not None and self.rng.random() < STALL:
            if taken:
                self.port.valid.value = 0
            return taken
        self.port.payload.value = self.payloads[self.sent]
        self.port.valid.value = 1
        self._offered = True
        return taken


class Sink:
    """Takes payloads out of a stream port and compares them; :meth:`step` once a rising edge.

    It also holds the port to the rules: once valid is up, valid and payload stay until the
    transfer.

    Parameters
    ----------
    dut : where the port's signals are
    name : prefix of their names
    shape : payload shape, for the message
    expected : packed payloads
    where : block and port, for the message
    rng : draws the stalls; None for none

    Members
    -------
    cycles : cycle of each transfer
    """

    def __init__(
        self,
        dut: object,
        name: str,
        shape: object,
        expected: Sequence[int],
        where: str,
        rng: random.Random | None,
    ) -> None:
        self.port, self.shape, self.expected = _Port(dut, name), shape, expected
        self.where, self.rng = where, rng
        self.cycles: list[int] = []
        self._ready, self._held = False, None
        self.port.ready.value = 0

    @property
    def done(self) -> bool:
        """Whether every expected payload has come."""
        return len(self.cycles) == len(self.expected)

    def step(self, cycle: int) -> bool:
        """Go on by a cycle; return whether a payload came in it."""
        valid, token = self.port.valid.value == 1, len(self.cycles)
        taken = valid and self._ready
        if valid and (self._ready or self._held is not None or self.rng is not None):
            got = int(self.port.payload.value)
            if self._held not in (None, got):
                text = difference(self.shape, got, self._held)
                raise StreamError(
                    f"{self.where}: cycle {cycle}, token {token}: payload changed before its"
                    f" transfer: {text}"
                )
            self._held = None if taken else got
            if taken and self.done:
                raise StreamError(
                    f"{self.where}: cycle {cycle}, token {token}: one payload more than the"
                    f" {len(self.expected)} expected"
                )
            if taken:
                check(self.where, cycle, token, self.shape, got, self.expected[token])
                self.cycles.append(cycle)
        elif self._held is not None:
            raise StreamError(
                f"{self.where}: cycle {cycle}, token {token}: valid fell before the transfer"
            )
        ready = self.rng is None or self.rng.random() >= STALL
        if ready != self._ready:
            self.port.ready.value = int(ready)
            self._ready = ready
        return taken


def stalls(regime: str, side: str, seed: int, *names: str) -> random.Random | None:
    """Make what draws the stalls of a port, or None where the regime has none for that side."""
    if regime not in REGIMES:
        raise ValueError(f"regime is {regime!r}: must be one of {', '.join(REGIMES)}")
    if regime not in (side, "both"):
        return None
    # Seeding with a string does not depend on Python's hash randomisation.
    return random.Random(":".join([str(seed), regime, *names]))
