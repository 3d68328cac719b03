"""cocotb test of :mod:`sim.dispatch_soak`: pass after pass, each with routes of another kind."""

import json
import os
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, First, RisingEdge, Timer

# A pass takes some thousand cycles; one that does not end has lost something.
LIMIT_NS = 10 * 200_000


def routings(experts: int) -> list[tuple[int, int]]:
    """Experts allowed and forced: at random, all to one, one starved, and all to all."""
    every = (1 << experts) - 1
    one = [(0, 1 << e) for e in range(experts)]
    starved = [(every & ~(1 << e), 0) for e in range(experts)]
    return [(every, 0), *one, (every, 0), *starved, (every, 0), (0, every), (0, 0)]


@cocotb.test()
async def soak(dut: object) -> None:
    """Every pass ends; what was lost, doubled or wrong in it goes to the result file."""
    job = json.loads(os.environ["SOAK"])
    rng = random.Random(int(os.environ["SEED"]))
    Clock(dut.clk, 10, "ns").start()
    dut.go.value, dut.rst.value = 0, 1
    for _ in range(2):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    cases = routings(job["experts"])
    with Path(job["result"]).open("w") as out:
        for index in range(job["passes"]):
            # Half of the passes are at random; the rest takes the cases in turn.
            allowed, forced = cases[0 if index % 2 else index // 2 % len(cases)]
            pace = rng.randrange(7)
            settings = {"allowed": allowed, "forced": forced, "pace": pace}
            settings["seed"] = rng.getrandbits(32)
            for name, value in settings.items():
                getattr(dut, name).value = value
            await FallingEdge(dut.clk)
            dut.go.value = 1
            await First(RisingEdge(dut.done), Timer(LIMIT_NS, "ns"))
            assert dut.done.value == 1, f"pass {index}, {settings}: it does not end"
            names = ("served", "lost", "doubled", "wrong")
            found = {name: int(getattr(dut, name).value) for name in names}
            out.write(json.dumps({**settings, **found}) + "\n")
            out.flush()
            await FallingEdge(dut.clk)
            dut.go.value = 0
            await FallingEdge(dut.done)
