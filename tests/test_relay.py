"""Relay: payloads pass in order, whoever stalls, a payload a cycle."""

import random

import pytest
from amaranth.lib import data
from amaranth.sim import Simulator

from hw.relay import Relay
from sim.streams import REGIMES
from tests.play import Run, play

SHAPE = data.StructLayout({"number": 8, "flag": 1})


def payloads(count: int) -> list[dict]:
    rng = random.Random(count)
    return [{"number": index % 256, "flag": rng.getrandbits(1)} for index in range(count)]


@pytest.mark.parametrize("regime", REGIMES)
def test_stalls(regime):
    sent = payloads(200)
    play(Relay(SHAPE), [Run(sent, sent)], regime=regime)


def test_a_cycle_and_a_payload_a_cycle():
    sent = payloads(20)
    (played,) = play(Relay(SHAPE), [Run(sent, sent)])
    assert played.taken == list(range(20))
    assert played.given == list(range(1, 21))


@pytest.mark.parametrize("at", range(1, 5))
def test_reset_in_mid_run(at):
    sent = payloads(20)
    runs = [Run(sent, sent, reset_at=at), Run(sent, sent)]
    play(Relay(SHAPE), runs, regime="sink", seed=at)


def test_ready_is_a_register():
    """Neither side's answer depends on the other's in the same cycle."""
    dut = Relay(SHAPE)

    async def bench(ctx):
        for valid, ready in ((1, 0), (1, 0), (0, 1), (1, 1), (1, 0), (0, 0)):
            seen = []
            for trial in (ready, 1 - ready, ready):
                ctx.set(dut.i.valid, valid)
                ctx.set(dut.o.ready, trial)
                seen.append((ctx.get(dut.i.ready), ctx.get(dut.o.valid)))
            assert len(set(seen)) == 1
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
