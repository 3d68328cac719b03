"""cocotb tests of the harness on an accelerator that echoes its bytes."""

import cocotb

from hw.frames import encode
from sim.harness import Harness, HarnessError
from sim.streams import REGIMES

FRAMES = [encode(0, bytes(range(n))) for n in (0, 1, 7, 200)]
REPLIES = [(0, bytes(range(n))) for n in (0, 1, 7, 200)]
SENT = sum(map(len, FRAMES))


async def _fails(harness: Harness, frames: list[bytes], message: str) -> None:
    try:
        await harness.exchange(frames)
    except HarnessError as error:
        assert message in str(error), error
    else:
        raise AssertionError(f"no error: {message}")


@cocotb.test()
@cocotb.parametrize(regime=REGIMES)
async def echoes(dut: object, regime: str) -> None:
    """Replies come back whole; stalls cost cycles."""
    harness = Harness(dut, regime=regime, limit=5000)
    await harness.reset()
    assert await harness.exchange(FRAMES) == REPLIES
    first = harness.cycles
    assert (first == SENT + 2) if regime == "none" else (first > 1.3 * SENT), first
    assert await harness.exchange(FRAMES[::-1]) == REPLIES[::-1]


@cocotb.test()
async def resets(dut: object) -> None:
    """A reset in mid-run leaves nothing behind."""
    harness = Harness(dut, regime="both", limit=5000)
    for after in (1, 20, 100):
        assert await harness.interrupt(FRAMES, after)
        assert await harness.exchange(FRAMES) == REPLIES
    assert not await harness.interrupt(FRAMES, 4000)


@cocotb.test()
async def refuses(dut: object) -> None:
    """Missing, damaged and surplus replies are errors that say where."""
    harness = Harness(dut, limit=500)
    await harness.reset()
    await _fails(harness, [FRAMES[2][:-1]], "no end within the limit; sent 14 of 14 bytes,")
    await _fails(harness, [b"x" + FRAMES[2]], "a reply does not start with the sync byte")
    await _fails(harness, [FRAMES[1] + FRAMES[1]], "a byte after the last reply")
    damaged = FRAMES[2][:-1] + bytes([FRAMES[2][-1] ^ 1])
    await _fails(harness, [FRAMES[0], damaged], "reply 1: frame of 7 payload bytes has checksum")
    assert await harness.exchange(FRAMES) == REPLIES


@cocotb.test()
async def hurries(dut: object) -> None:
    """Large exchanges run at the speed of compiled code."""
    frames = [encode(0, bytes(60000))] * 4
    assert len(await Harness(dut).exchange(frames)) == 4
