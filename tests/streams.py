"""Driving stream components in Amaranth's simulator under four stall regimes."""

import random
from collections.abc import Callable

from amaranth.hdl import Elaboratable
from amaranth.sim import Simulator

REGIMES = ("none", "source", "sink", "both")
STALL = 0.4


def run_stream(
    dut: Elaboratable,
    payloads: list,
    count: int,
    *,
    regime: str = "none",
    stall: float = STALL,
    seed: int = 0,
    limit: int = 100_000,
    background: tuple[Callable, ...] = (),
    read: Callable | None = None,
    source: str = "i",
    sink: str = "o",
    vcd: str | None = None,
) -> tuple[list, list[int]]:
    """Send ``payloads`` into ``dut.i`` and collect ``count`` payloads of ``dut.o``.

    Parameters
    ----------
    payloads : constants or initialisers of the input's payload shape
    regime : who stalls at random: nobody, the source, the sink, or both
    stall : how often they do
    limit : cycles after which the run fails
    background : further test bench processes
    read : turns a payload read from the port into what is compared; as read by default

    Returns
    -------
    tuple of list
        The payloads received, and the cycle in which each was.
    """
    got, cycles = [], []
    inputs, outputs = getattr(dut, source), getattr(dut, sink)

    async def feed(ctx):
        rng = random.Random(seed)
        for payload in payloads:
            while regime in ("source", "both") and rng.random() < stall:
                await ctx.tick()
            ctx.set(inputs.payload, payload)
            ctx.set(inputs.valid, 1)
            await ctx.tick().until(inputs.ready)
            ctx.set(inputs.valid, 0)

    async def drain(ctx):
        rng = random.Random(seed + 1)
        cycle = 0
        while len(got) < count:
            assert cycle < limit, f"{len(got)} of {count} payloads after {cycle} cycles"
            ready = not (regime in ("sink", "both") and rng.random() < stall)
            ctx.set(outputs.ready, ready)
            _, _, valid, payload = await ctx.tick().sample(outputs.valid, outputs.payload)
            if ready and valid:
                got.append(read(payload) if read else payload)
                cycles.append(cycle)
            cycle += 1
        ctx.set(outputs.ready, 0)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(drain)
    if payloads:
        sim.add_testbench(feed, background=True)
    for process in background:
        sim.add_testbench(process, background=True)
    if vcd:
        with sim.write_vcd(vcd):
            sim.run()
    else:
        sim.run()
    return got, cycles
