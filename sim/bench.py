"""The cocotb test of every block: its configurations in parallel, in each stall regime.

:func:`sim.matrix.run_bench` starts it.
"""

import os
import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from sim.matrix import Lane, Plan
from sim.streams import REGIMES, SILENCE, Sink, Source, StreamError, stalls

IDLE = 24


class Player:
    """Plays the vectors of one configuration from the first on.

    Parameters
    ----------
    dut : the matrix
    plan : whose configuration it is
    lane : the configuration
    regime : who stalls
    seed : seed of the stalls
    """

    def __init__(self, dut: object, plan: Plan, lane: Lane, regime: str, seed: int) -> None:
        self.where = f"{plan.block} {lane.label}, regime {regime}"
        self.sources = [
            Source(dut, f"{lane.name}__{p}", v, stalls(regime, "source", seed, lane.name, p))
            for p, v in lane.send.items()
        ]
        self.sinks = []
        for port, (shape, values) in lane.expect.items():
            draw = stalls(regime, "sink", seed, lane.name, port)
            where = f"{self.where}, port {port}"
            self.sinks.append(Sink(dut, f"{lane.name}__{port}", shape, values, where, draw))
        for port, value in lane.hold.items():
            getattr(dut, f"{lane.name}__{port}").value = value
        self.respond = plan.respond and plan.respond(lambda p: getattr(dut, f"{lane.name}__{p}"))
        self.moved = 0

    @property
    def done(self) -> bool:
        """Whether all went in and all came out."""
        return all(each.done for each in (*self.sources, *self.sinks))

    def step(self, cycle: int) -> None:
        """Go on by a cycle."""
        if any([each.step(cycle) for each in (*self.sinks, *self.sources)]):
            self.moved = cycle
        if self.respond:
            self.respond()
        if not self.done and cycle - self.moved > SILENCE:
            sent = [f"{each.sent} of {len(each.payloads)}" for each in self.sources]
            got = [f"{len(each.cycles)} of {len(each.expected)}" for each in self.sinks]
            raise StreamError(
                f"{self.where}: cycle {cycle}: no transfer for {SILENCE} cycles;"
                f" sent {', '.join(sent) or 'nothing'}, received {', '.join(got) or 'nothing'}"
            )


async def _reset(dut: object, cycles: int) -> None:
    dut.rst.value = 1
    for _ in range(cycles):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    # What a rising edge shows is the cycle before it: leave that of the reset out.
    await RisingEdge(dut.clk)


async def _play(dut: object, players: list[Player], limit: int | None) -> int:
    """Step all players until ``limit`` cycles have passed, or all are done and stay silent."""
    cycle = idle = 0
    while limit is None or cycle < limit:
        for player in players:
            player.step(cycle)
        idle = idle + 1 if all(player.done for player in players) else 0
        if idle > IDLE:
            break
        cycle += 1
        await RisingEdge(dut.clk)
    return cycle


@cocotb.test()
@cocotb.parametrize(regime=REGIMES)
async def streams(dut: object, regime: str) -> None:
    """Start, reset at a random moment, then play everything to the end."""
    plan, seed = Plan.read(os.environ["SIM_PLAN"]), int(os.environ["SEED"])
    Clock(dut.clk, 10, "ns").start()

    def players() -> list[Player]:
        return [Player(dut, plan, lane, regime, seed) for lane in plan.lanes]

    broken_off = random.Random(f"{seed}:{regime}").randrange(8, 64)
    started = players()
    await _reset(dut, 2)
    await _play(dut, started, broken_off)
    again = players()
    await _reset(dut, 1)
    cycles = await _play(dut, again, None)
    dut._log.info("regime %s: reset after %d cycles, then %d", regime, broken_off, cycles)
