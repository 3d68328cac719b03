"""Selection of the highest scores: the choice, its two cycles, and bad parameters."""

import random
import re

import pytest
import torch
from amaranth.hdl import signed, unsigned
from amaranth.sim import Simulator

from golden.experts import highest
from hw.highest import Highest


@pytest.mark.parametrize("shape", [unsigned(3), signed(3)])
@pytest.mark.parametrize(("scores", "count"), [(1, 1), (2, 1), (4, 1), (4, 3), (8, 2), (8, 8)])
def test_highest_of_many(scores, count, shape):
    """Two cycles later, every cycle, with many equal scores."""
    dut, rng = Highest(scores, shape, count), random.Random(scores)
    low = -4 if shape.signed else 0
    sent = [[low + rng.randrange(rng.choice((2, 8))) for _ in range(scores)] for _ in range(60)]

    async def bench(ctx):
        for cycle in range(len(sent) + 2):
            if cycle < len(sent):
                ctx.set(dut.i, sent[cycle])
            if cycle >= 2:
                wanted = highest(torch.tensor(sent[cycle - 2]), count).tolist()
                got = ctx.get(dut.o)
                assert [got >> k & 1 for k in range(scores)] == wanted, f"cycle {cycle}"
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize(
    ("scores", "count", "text"),
    [
        (0, 1, "scores is 0: must be at least 1"),
        (4, 0, "count is 0: must be 1 to 4"),
        (4, 5, "count is 5: must be 1 to 4"),
    ],
)
def test_bad_selection(scores, count, text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Highest(scores, 4, count)
