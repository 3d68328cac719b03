"""Experts' blocks: latencies to the cycle, bad parameters, the soak's own checks, counters."""

import random
import re

import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator

from golden.spec import SpecError
from hw.aligned_merge import AlignedMerge
from hw.dispatcher import Dispatcher
from hw.expert_feed import ExpertFeed
from hw.expert_walk import ExpertWalk
from hw.layouts import token_layout
from hw.router import Router
from hw.storage import Storage, connect_write
from hw.token_queue import TokenQueue, head_layout
from hw.work_counters import WorkCounters, work_names
from sim.dispatch_soak import SIZES, Shape
from tests.small_networks import small_preset

TOKEN = token_layout(8, 2, experts=2, route_bits=1, row_bits=4)


def simulate(dut, bench) -> None:
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize(("top_k", "latency"), [(0, 2), (1, 4)])
def test_routes_are_written_after_so_many_cycles(top_k, latency):
    dut = Router(experts=2, top_k=top_k, lanes=4, time_steps=1, width=8, slices=1, tokens=4)
    value = [[0], [1], [0], [0]]
    payload = {"sums": value} if top_k else {"bundles": [part[0] for part in value]}

    async def bench(ctx):
        ctx.set(dut.i.payload, payload)
        ctx.set(dut.i.valid, 1)
        await ctx.tick()
        ctx.set(dut.i.valid, 0)
        for cycle in range(1, latency + 2):
            seen = ctx.get(dut.write_en), ctx.get(dut.busy)
            assert seen == (cycle == latency, cycle <= latency), f"cycle {cycle}"
            if seen[0]:
                assert (ctx.get(dut.write_data), ctx.get(dut.served)) == (2, 2)
            await ctx.tick()

    simulate(dut, bench)


@pytest.mark.parametrize("own", [False, True])
def test_dispatcher_takes_so_many_cycles(own):
    """3 cycles to the first chunk, then 2 more than chunks a token; all tiles always ready."""
    tokens, chunks = 4, 3
    dut = Dispatcher(
        tiles=2,
        experts=2,
        tokens=tokens,
        entries=8,
        time_steps=2,
        row_bits=4,
        route_bits=1,
        token_rows=2,
    )
    times = []

    async def bench(ctx):
        ctx.set(dut.start, 1)
        ctx.set(dut.own, own)
        ctx.set(dut.read_data, 3)
        ctx.set(dut.i.valid, not own)
        for out in dut.o:
            ctx.set(out.ready, 1)
        taken = 0
        for cycle in range(30):
            ctx.set(dut.i.payload.last, taken % chunks == chunks - 1)
            if ctx.get(dut.o[0].valid):
                times.append(cycle)
                assert ctx.get(dut.o[1].valid)
            taken += ctx.get(dut.i.ready) and not own
            await ctx.tick()
            ctx.set(dut.start, 0)
        assert not ctx.get(dut.busy)

    simulate(dut, bench)
    beats = 1 if own else chunks
    assert times == [3 + n * (beats + 2) + k for n in range(tokens) for k in range(beats)]


def test_a_full_queue_takes_nothing():
    """Tokens stay until they are taken, in order, and their chunks with them."""
    dut, rng = TokenQueue(TOKEN, tokens=3, chunks=2), random.Random(1)
    sent = [[rng.getrandbits(16) for _ in range(2)] for _ in range(8)]

    async def send(ctx):
        for number, chunks in enumerate(sent):
            for index, bits in enumerate(chunks):
                bundles = [bits >> (2 * k) & 3 for k in range(8)]
                beat = {"bundles": bundles, "routes": [1, 0], "row": number, "last": index}
                ctx.set(dut.i.payload, beat)
                ctx.set(dut.i.valid, 1)
                await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)

    async def take(ctx):
        for _ in range(20):
            await ctx.tick()
        assert not ctx.get(dut.i.ready), "a fourth token went in"
        for number, chunks in enumerate(sent):
            while not ctx.get(dut.head.valid):
                await ctx.tick()
            assert ctx.get(dut.head.payload.row) == number
            for index, bits in enumerate(chunks):
                ctx.set(dut.read_addr, (ctx.get(dut.base) + index) % dut.rows)
                ctx.set(dut.read_en, 1)
                await ctx.tick()
                assert ctx.get(dut.read_data) == bits, f"token {number}, chunk {index}"
            ctx.set(dut.head.ready, 1)
            await ctx.tick()
            ctx.set(dut.head.ready, 0)
        assert not ctx.get(dut.waits)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(send)
    sim.add_testbench(take)
    sim.run()


def test_walk_to_the_cycle():
    """Of three experts the middle one does not serve; two groups of two chunks each."""
    head = head_layout(token_layout(8, 2, experts=3, route_bits=1, row_bits=4))
    dut = ExpertWalk(sizes=SIZES, head=head, time_steps=2)
    fetch = {"last_chunk": 1, "last_group": 1, "group_rows": 8, "chunk_rows": 2, "weight_base": 5}
    experts = {"dispatch": 1, "expert_rows": 16, "expert_biases": 3}
    taps, jobs = {}, {}

    async def bench(ctx):
        ctx.set(dut.config, {"fetch": fetch, "experts": experts, "bias_base": 7})
        ctx.set(dut.base, 20)
        ctx.set(dut.head.payload, {"routes": [1, 0, 1], "row": 9})
        for port in (dut.o, dut.biases, dut.jobs):
            ctx.set(port.ready, 1)
        ctx.set(dut.head.valid, 1)
        for cycle in range(13):
            if ctx.get(dut.o.valid):
                tap = ctx.get(dut.o.payload)
                taps[cycle] = tap.addr, tap.row, tap.last
            if ctx.get(dut.jobs.valid):
                assert ctx.get(dut.biases.valid)
                job = ctx.get(dut.jobs.payload)
                jobs[cycle] = ctx.get(dut.biases.payload), job.steps, job.row
            assert ctx.get(dut.head.ready) == (cycle == 11), f"cycle {cycle}"
            await ctx.tick()
            ctx.set(dut.head.valid, cycle < 11)

    simulate(dut, bench)
    assert jobs == {1: (7, 3, 9), 7: (13, 3, 9)}
    rows = [5, 7, 13, 15, 37, 39, 45, 47]
    cycles = [2, 3, 4, 5, 8, 9, 10, 11]
    wanted = [(20 + k % 2, row, k % 2) for k, row in enumerate(rows)]
    assert taps == dict(zip(cycles, wanted, strict=True))


def test_feed_to_the_cycle():
    """A token for the second expert comes in cycle 0; its job is under way until it is taken."""
    dut = ExpertFeed(
        sizes=SIZES, shape=TOKEN, tokens=2, chunks=1, lanes=8, all_lanes=8, time_steps=2
    )
    seen = []

    async def bench(ctx):
        ctx.set(dut.config, {"experts": {"dispatch": 1}})
        ctx.set(dut.tokens.payload, {"bundles": [3] * 8, "routes": [0, 1], "row": 5, "last": 1})
        ctx.set(dut.tokens.valid, 1)
        ctx.set(dut.o.ready, 1)
        for cycle in range(12):
            if ctx.get(dut.o.valid):
                assert ctx.get(dut.o.payload.bundles.as_value()) == 0xFFFF
                seen.append(cycle)
            if ctx.get(dut.jobs.valid):
                assert ctx.get(dut.jobs.payload.row) == 5
            assert ctx.get(dut.busy) == (0 < cycle < 11), f"cycle {cycle}"
            ctx.set(dut.jobs.ready, cycle == 10)
            await ctx.tick()
            ctx.set(dut.tokens.valid, 0)

    simulate(dut, bench)
    assert seen == [6]


def test_merge_to_the_cycle():
    """2 cycles a slice, a cycle a row of clearing, 3 to the first row, then one a cycle."""
    rows = 5
    merge = AlignedMerge(sources=2, lanes=2, time_steps=1, bits=2, rows=rows)
    dut, store = Module(), Storage(rows, len(merge.read_data))
    dut.submodules.merge, dut.submodules.store = merge, store
    connect_write(dut, store, merge)
    dut.d.comb += [
        store.read_addr.eq(merge.read_addr),
        store.read_en.eq(merge.read_en),
        merge.read_data.eq(store.read_data),
    ]
    left, taken, given = [2, 1], [], []

    async def bench(ctx):
        ctx.set(merge.clear, 1)
        await ctx.tick()
        ctx.set(merge.clear, 0)
        ctx.set(merge.o.ready, 1)
        for cycle in range(1, 30):
            for count, source in zip(left, merge.i, strict=True):
                ctx.set(source.payload, {"bundles": [1, 0], "row": 3})
                ctx.set(source.valid, count > 0)
            for index, source in enumerate(merge.i):
                if ctx.get(source.ready) and left[index]:
                    taken.append((cycle, index))
                    left[index] -= 1
            ctx.set(merge.start, cycle == 15)
            if ctx.get(merge.o.valid):
                counts = ctx.get(merge.o.payload.counts)
                given.append((cycle, counts[0][0], counts[1][0]))
            await ctx.tick()
        assert not ctx.get(merge.busy)

    simulate(dut, bench)
    first = rows + 1
    assert taken == [(first, 0), (first + 2, 0), (first + 4, 1)]
    assert given == [(18 + row, 3 if row == 3 else 0, 0) for row in range(rows)]


def test_work_is_counted():
    """What a tile does in each cycle of a run, and whom each router's tokens go to."""
    preset = small_preset(
        network__moe={"experts": 2, "hidden": 8}, network__blocks=2, engine__tiles=2
    )
    names = work_names(preset)
    dut, rng = WorkCounters(tiles=2, experts=2, routers=2, tokens=16), random.Random(2)
    assert dut.words == len(names) == 10
    wanted = dict.fromkeys(names, 0)

    async def bench(ctx):
        for _ in range(2):
            wanted.update(dict.fromkeys(names, 0))
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            for block in range(2):
                for cycle in range(12):
                    ctx.set(dut.route, cycle == 0)
                    served = 0 if cycle == 0 else rng.getrandbits(2)
                    busy = rng.getrandbits(2)
                    stalled = rng.getrandbits(2) & ~busy
                    for port, value in ((dut.served, served), (dut.busy, busy)):
                        ctx.set(port, value)
                    ctx.set(dut.stalled, stalled)
                    for tile in range(2):
                        word = "busy" if busy >> tile & 1 else "starved"
                        word = "stalled" if stalled >> tile & 1 else word
                        wanted[f"tile{tile}.{word}"] += 1
                        wanted[f"block{block}.router.expert{tile}"] += served >> tile & 1
                    await ctx.tick()
            ctx.set(dut.served, 0)
            ctx.set(dut.busy, 0)
            ctx.set(dut.stalled, 0)
            ctx.set(dut.done, 1)
            await ctx.tick()
            ctx.set(dut.done, 0)
            for tile in range(2):
                wanted[f"tile{tile}.starved"] += 1
            for _ in range(3):
                await ctx.tick()
            for index, name in enumerate(names):
                ctx.set(dut.read_addr, index)
                ctx.set(dut.read_en, 1)
                await ctx.tick()
                assert ctx.get(dut.read_data) == wanted[name], name

    simulate(dut, bench)


def test_nothing_to_count():
    assert work_names(small_preset()) == []
    assert work_names(small_preset(engine__tiles=2, engine__counters=False)) == []
    assert len(work_names(small_preset(engine__tiles=2))) == 6


DISPATCHER = {
    **{"tiles": 2, "tokens": 4, "entries": 8, "time_steps": 2, "row_bits": 4},
    **{"route_bits": 1, "token_rows": 2},
}


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: Dispatcher(experts=3, **DISPATCHER),
            "experts is 3: must be a multiple of tiles, 2",
        ),
        (
            lambda: Router(experts=9, top_k=1, lanes=4, time_steps=1, width=8, slices=2, tokens=4),
            "slices is 2: must hold 9 experts, 4 channels a slice",
        ),
        (lambda: TokenQueue(TOKEN, tokens=1, chunks=2), "tokens is 1: must be at least 2"),
        (lambda: TokenQueue(TOKEN, tokens=2, chunks=0), "chunks is 0: must be at least 1"),
        (lambda: Shape(tiles=3), "tiles is 3: must be one of 1, 2, 4, 8"),
        (lambda: Shape(tiles=8, experts=4), "experts is 4: must be a multiple of tiles, 8"),
        (
            lambda: small_preset(network__moe={"experts": 2, "hidden": 12}),
            "preset small: network.moe.hidden is 12: must be a multiple of engine.lanes, 8",
        ),
    ],
)
def test_bad_parameters(make, text):
    with pytest.raises((ValueError, SpecError), match=f"^{re.escape(text)}$"):
        make()
