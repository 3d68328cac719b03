"""Plays runs of a block in Amaranth's simulator: stalls, resets in mid-run, cycles of transfers."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from amaranth.hdl import Cat, Module, ResetInserter, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.sim import Simulator

from sim.streams import check, difference, pack

STALL = 0.4
SILENCE = 1000
SHY = 4
# The sequencer leaves as many cycles between a layer's last slice and the start of the next layer.
AFTERWARDS = 2


@dataclass(frozen=True)
class Run:
    """One layer, or one run from reset.

    Members
    -------
    send : payloads into ``i``
    expect : payloads out of ``o``, or rows written as ``{"addr": .., "data": ..}``
    hold : inputs that are constant during the run
    reset_at : cycle after which the run is broken off by a reset
    """

    send: Sequence = ()
    expect: Sequence = ()
    hold: Mapping[str, object] = field(default_factory=dict)
    reset_at: int | None = None


@dataclass
class Played:
    """Cycles of the transfers in and out of a run; cycle 0 is that of ``start``."""

    taken: list[int] = field(default_factory=list)
    given: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Output:
    """Where results leave: a stream, or a write port, which never waits."""

    shape: object
    valid: Value
    payload: Value
    ready: Value | None

    @classmethod
    def of(cls, dut: wiring.Component, row: data.Layout | None = None) -> "Output":
        """Output of a component: its stream ``o``, or its write port with rows as given."""
        if row is None:
            port = dut.o
            return cls(port.payload.shape(), port.valid, port.payload.as_value(), port.ready)
        shape = data.StructLayout({"addr": unsigned(len(dut.write_addr)), "data": row})
        return cls(shape, dut.write_en, Cat(dut.write_addr, dut.write_data), None)


def play(
    dut: wiring.Component,
    runs: Sequence[Run],
    *,
    regime: str = "none",
    seed: int = 0,
    row: data.Layout | None = None,
) -> list[Played]:
    """Play runs one after another and compare all that comes out.

    A run begins with a cycle of ``start`` where the block has that port. Streams are held to their
    rules: what is valid stays, and nothing comes that is not expected.

    Parameters
    ----------
    regime : who stalls at random: nobody, the source, the sink, or both
    row : shape of a row written, for blocks that write instead of having a stream ``o``
    """
    reset, output = Signal(), Output.of(dut, row)
    top = Module()
    top.submodules.dut = ResetInserter(reset)(dut)
    played = [Played() for _ in runs]

    async def bench(ctx):
        rng = random.Random(seed)
        for index, run in enumerate(runs):
            where = f"{type(getattr(dut, 'block', dut)).__name__}, regime {regime}, run {index}"
            await _play(ctx, dut, output, run, regime, rng, played[index], where)
            if run.reset_at is not None:
                ctx.set(reset, 1)
                await ctx.tick()
                ctx.set(reset, 0)
                assert not ctx.get(output.valid), f"{where}: valid after reset"

    sim = Simulator(top)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return played


async def _play(ctx, dut, output: Output, run: Run, regime, rng, played: Played, where: str):
    for port, value in run.hold.items():
        ctx.set(getattr(dut, port), value)
    expected = [pack(output.shape, value) for value in run.expect]
    source = dut.i if hasattr(dut, "i") else None
    idle = hasattr(dut, "start")
    cycle = moved = left = 0
    offered, held = False, None
    while left < AFTERWARDS:
        done = len(played.taken) == len(run.send) and len(played.given) == len(expected)
        left = left + 1 if done and run.reset_at is None else 0
        if idle:
            ctx.set(dut.start, cycle == 0)
        waits = regime in ("source", "both") and rng.random() < STALL
        if not (offered or waits or (idle and cycle == 0)) and len(played.taken) < len(run.send):
            ctx.set(source.payload, run.send[len(played.taken)])
            ctx.set(source.valid, 1)
            offered = True
        ready = 1
        if output.ready is not None:
            # A sink may wait for valid; a block that waits for ready in turn would never give.
            shy = regime == "sink" and len(played.given) < SHY and held is None
            ready = int(not (shy or (regime in ("sink", "both") and rng.random() < STALL)))
            ctx.set(output.ready, ready)
        taken = source.ready if source else Signal()
        *_, taken, valid, got = await ctx.tick().sample(taken, output.valid, output.payload)

        token = len(played.given)
        if held is not None:
            assert valid, f"{where}: cycle {cycle}, token {token}: valid fell before the transfer"
            assert got == held, (
                f"{where}: cycle {cycle}, token {token}: payload changed before its transfer:"
                f" {difference(output.shape, got, held)}"
            )
        held = got if valid and not ready else None
        if valid and ready:
            assert token < len(expected), f"{where}: cycle {cycle}: more than {token} payloads"
            check(where, cycle, token, output.shape, got, expected[token])
            played.given.append(cycle)
            moved = cycle
        if offered and taken:
            played.taken.append(cycle)
            ctx.set(source.valid, 0)
            offered, moved = False, cycle
        if run.reset_at is not None and cycle >= run.reset_at:
            break
        assert cycle - moved < SILENCE, (
            f"{where}: nothing moved for {SILENCE} cycles, {len(played.taken)} of {len(run.send)}"
            f" taken, {token} of {len(expected)} given"
        )
        cycle += 1
    if source:
        ctx.set(source.valid, 0)
    if output.ready is not None:
        ctx.set(output.ready, 0)
