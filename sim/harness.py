"""Whole accelerators under cocotb, with Python touched once an exchange.

``harness.sv`` makes clock, reset, stalls and byte transport in compiled code; :class:`Harness`
hands it the bytes of any number of frames and gets the bytes of their replies.
"""

import os
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path

from cocotb.triggers import Timer, ValueChange

from hw.frames import Frame, FrameError, FrameReader

from .streams import REGIMES
from .verilator import ACCELERATOR, Design, Flags

TOP = "harness"
SOURCE = Path(__file__).with_name("harness.sv")
CYCLE_NS = 10
# Cycles of reset after start and after an exchange that failed.
RESET_CYCLES = 4


class HarnessError(AssertionError):
    """An exchange that went wrong, with where it did."""


class Result(IntEnum):
    """How an exchange ended; ``outcome_t`` of ``harness.sv``."""

    OK = 0
    TIMEOUT = 1
    NO_SYNC = 2
    UNSTABLE = 3
    RESET = 4
    STRAY = 5
    NO_FILE = 6


_TEXTS = {
    Result.TIMEOUT: "no end within the limit",
    Result.NO_SYNC: "a reply does not start with the sync byte",
    Result.UNSTABLE: "o changed before its transfer",
    Result.RESET: "reset",
    Result.STRAY: "a byte after the last reply",
    Result.NO_FILE: "request.bin or reply.bin cannot be opened",
}


def accelerator_design(verilog: str, flags: Flags = ACCELERATOR) -> Design:
    """Make the design of an accelerator, with byte streams ``i`` and ``o``, in the harness.

    Parameters
    ----------
    verilog : text whose top module is ``accelerator``
    flags : how the model is built
    """
    return Design(TOP, (verilog, SOURCE.read_text()), flags)


class Harness:
    """Talks to an accelerator within a cocotb test.

    Parameters
    ----------
    dut : what cocotb gives to the test
    regime : who stalls: ``"none"``, ``"source"``, ``"sink"`` or ``"both"``
    seed : seed of the stalls; by default the variable ``SEED``
    limit : cycles after which an exchange fails
    linger : cycles after the last reply that must stay silent

    Members
    -------
    cycles : cycles of the last exchange, from its start to the last byte of its replies
    exchanges : number of exchanges so far
    """

    def __init__(
        self,
        dut: object,
        *,
        regime: str = "none",
        seed: int | None = None,
        limit: int = 100_000_000,
        linger: int = 16,
    ) -> None:
        if regime not in REGIMES:
            raise ValueError(f"regime is {regime!r}: must be one of {', '.join(REGIMES)}")
        self.dut, self.regime, self.limit, self.linger = dut, regime, limit, linger
        self.seed = int(os.environ["SEED"]) if seed is None else seed
        self.cycles = self.exchanges = 0

    async def exchange(self, frames: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """Send frames, each of which has one reply, and return status and payload of each reply.

        Raises
        ------
        HarnessError
            If replies are missing, too many or damaged.
        """
        outcome = await self._transport(frames, reset_after=0)
        if outcome is not Result.OK:
            raise self._error(frames, _TEXTS[outcome])
        reader = FrameReader()
        reader.feed(Path("reply.bin").read_bytes())
        replies: list[Frame] = []
        try:
            while (frame := reader.read(final=True)) is not None:
                replies.append(frame)
        except FrameError as error:
            raise self._error(frames, f"reply {len(replies)}: {error}") from None
        return [(frame.kind, frame.payload) for frame in replies]

    async def interrupt(self, frames: Sequence[bytes], after: int) -> bool:
        """Send frames and reset the accelerator ``after`` cycles later.

        Returns
        -------
        bool
            Whether the reset came before the last reply.
        """
        outcome = await self._transport(frames, reset_after=max(1, after))
        if outcome not in (Result.RESET, Result.OK):
            raise self._error(frames, _TEXTS[outcome])
        await self.wait(RESET_CYCLES + 1)
        return outcome is Result.RESET

    async def reset(self) -> None:
        """Reset the accelerator, as a test does that finds it in use."""
        await self.interrupt([], after=1)

    async def wait(self, cycles: int) -> None:
        """Let cycles pass."""
        await Timer(cycles * CYCLE_NS, "ns")

    async def _transport(self, frames: Sequence[bytes], reset_after: int) -> Result:
        request = b"".join(frames)
        Path("request.bin").write_bytes(request)
        inputs = {
            "regime": REGIMES.index(self.regime),
            "seed": (self.seed * 0x9E3779B1 + self.exchanges) & 0xFFFFFFFF,
            "request_bytes": len(request),
            "replies": len(frames),
            "limit": self.limit,
            "reset_after": reset_after,
            "linger": self.linger,
            "go": 1 - int(self.dut.go.value),
        }
        for name, value in inputs.items():
            getattr(self.dut, name).value = value
        await ValueChange(self.dut.done)
        self.exchanges += 1
        self.cycles = int(self.dut.cycles.value)
        return Result(int(self.dut.outcome.value))

    def _error(self, frames: Sequence[bytes], text: str) -> HarnessError:
        count = {
            name: int(getattr(self.dut, name).value)
            for name in ("sent", "received", "complete", "elapsed")
        }
        return HarnessError(
            f"exchange {self.exchanges - 1}, regime {self.regime}, cycle {count['elapsed']}:"
            f" {text}; sent {count['sent']} of {sum(map(len, frames))} bytes,"
            f" received {count['received']} bytes, {count['complete']} of {len(frames)} replies"
        )
