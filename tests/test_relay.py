"""Relay: payloads pass in order, whoever stalls, a payload a cycle."""

import random

import pytest
from amaranth.hdl import Elaboratable
from amaranth.lib import data
from amaranth.sim import Simulator

from hw.relay import Relay
from sim.streams import REGIMES
from synth.asic.memories import MacroPlatform
from synth.ecp5 import PlainFpga
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


class Built(Elaboratable):
    """A component elaborated for a platform, whatever the simulator's is."""

    def __init__(self, component, platform) -> None:
        self.component, self.platform = component, platform

    def elaborate(self, _):
        return self.component.elaborate(self.platform)


@pytest.mark.parametrize(
    ("platform", "rest"),
    [
        (None, True),
        (PlainFpga(), False),
        (MacroPlatform(), True),
        (MacroPlatform(clock_gates=False), False),
    ],
)
def test_registers_rest_where_clocks_can(platform, rest):
    """What is not offered is loaded on an FPGA only, where the clock runs on in any case."""
    dut = Relay(SHAPE)
    shown = []

    async def bench(ctx):
        ctx.set(dut.o.ready, 1)
        for number in range(1, 6):
            ctx.set(dut.i.payload.number, number)
            ctx.set(dut.i.valid, number == 2)
            await ctx.tick()
            shown.append(ctx.get(dut.o.payload.number))

    sim = Simulator(Built(dut, platform))
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert shown == ([0, 2, 2, 2, 2] if rest else [1, 2, 3, 4, 5])


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
