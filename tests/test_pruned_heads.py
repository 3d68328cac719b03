"""Pruning of heads in hardware: ranking, addresses, and whole networks."""

import random
import re

import pytest
import torch
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from golden.counts import count_layers
from golden.experts import kept_heads
from golden.integer import IntegerModel
from golden.ranges import format_widths
from golden.spec import SpecError
from hw.build import make_accelerator
from hw.head_map import HeadMap, Heads
from hw.head_rank import HeadRank
from hw.layouts import bundles_layout, values_layout
from hw.pruned_attention import PrunedAttention
from sim.cycles import prune
from sim.streams import REGIMES
from tests.small_networks import random_checkpoint, random_images, small_preset
from tests.whole_networks import check_network


def simulate(dut, bench) -> None:
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize(("heads", "count", "lanes"), [(4, 1, 2), (4, 3, 4), (3, 2, 1), (8, 2, 4)])
def test_ranking(heads, count, lanes):
    """Two images, the first broken off, with slices at random; ``kept`` 5 cycles after the last."""
    tokens, width, steps = 3, 4, 2
    dut = HeadRank(
        heads=heads,
        count=count,
        tokens=tokens,
        head_channels=width,
        time_steps=steps,
        lanes=lanes,
    )
    rng = random.Random(heads)
    shape = (steps, 1, heads, tokens, width)
    query = torch.tensor([rng.random() < 0.5 for _ in range(heads * 24)]).view(shape).int()
    kept = kept_heads(query, count)[0].nonzero().flatten().tolist()
    slices = [
        [
            sum(int(query[t, 0, head, token, first + lane]) << t for t in range(steps))
            for lane in range(lanes)
        ]
        for token in range(tokens)
        for head in range(heads)
        for first in range(0, width, lanes)
    ]

    async def image(ctx, parts):
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        for part in parts:
            while rng.random() < 0.3:
                await ctx.tick()
            ctx.set(dut.i.payload, {"bundles": part})
            ctx.set(dut.i.valid, 1)
            await ctx.tick()
            ctx.set(dut.i.valid, 0)

    async def bench(ctx):
        await image(ctx, slices[: len(slices) // 2])
        await image(ctx, slices)
        for _ in range(3):
            await ctx.tick()
        assert [k for k in range(heads) if ctx.get(dut.mask) >> k & 1] == kept
        await ctx.tick()
        assert [ctx.get(dut.kept[k]) for k in range(count)] == kept

    simulate(dut, bench)


HEADS, BASE = 4, 5
KEPT = [[0], [3], [1, 2], [0, 1, 3]]


def head_map(kept, *, rows: int, units: int, ahead: bool) -> tuple[HeadMap, list, list]:
    """A map of heads of 3 parts from ``BASE`` on; rows of each head's Q; all rows of kept heads."""
    dut = HeadMap(
        address_bits=8,
        heads=HEADS,
        count=len(kept),
        part_rows=rows,
        part_units=units,
        ahead=ahead,
    )
    queries = [[BASE + (3 * h + 2) * rows + r for r in range(rows)] for h in range(HEADS)]
    return dut, queries, [[BASE + 3 * h * rows + r for r in range(3 * rows)] for h in kept]


@pytest.mark.parametrize("units", [1, 2])
@pytest.mark.parametrize("kept", KEPT)
def test_addresses_of_heads(kept, units):
    """Two tokens; steps in every cycle or not."""
    rows = 4 * units
    dut, queries, whole = head_map(kept, rows=rows, units=units, ahead=False)
    rng = random.Random(units)
    plain = [[BASE + r for r in range(3 * rows)]]

    async def layer(ctx, mode, found):
        ctx.set(dut.mode, mode)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        for _ in range(2):
            for count, wanted in enumerate(row for head in found for row in head):
                ctx.set(dut.addr, BASE + count)
                ends = count % 4 == 3
                ctx.set(dut.step, ends)
                assert ctx.get(dut.mapped) == wanted, f"{mode}, count {count}"
                await ctx.tick()
                ctx.set(dut.step, 0)
                while rng.random() < 0.3:
                    await ctx.tick()

    async def bench(ctx):
        for number, head in enumerate(kept):
            ctx.set(dut.kept[number], head)
        for _ in range(2):
            await layer(ctx, Heads.QUERIES, queries)
            await layer(ctx, Heads.KEPT, whole)
            await layer(ctx, Heads.ALL, plain)

    simulate(dut, bench)


@pytest.mark.parametrize("kept", KEPT)
def test_addresses_ahead(kept):
    """A row a unit; the address is the one after a step of the same cycle, as of the drain."""
    dut, queries, whole = head_map(kept, rows=2, units=2, ahead=True)
    rng = random.Random(len(kept))

    async def layer(ctx, mode, found):
        wanted = [row for head in found for row in head]
        ctx.set(dut.mode, mode)
        ctx.set(dut.start, 1)
        ctx.set(dut.addr, BASE)
        assert ctx.get(dut.mapped) == wanted[0], f"{mode}, start"
        await ctx.tick()
        ctx.set(dut.start, 0)
        place = 0
        # Broken off in a head; the next layer starts anew.
        for cycle in range(5 * len(wanted) + 1):
            steps = rng.random() < 0.6
            place += steps
            ctx.set(dut.step, steps)
            ctx.set(dut.addr, BASE + place % len(wanted))
            mapped = ctx.get(dut.mapped)
            assert mapped == wanted[place % len(wanted)], f"{mode}, cycle {cycle}, place {place}"
            await ctx.tick()
        ctx.set(dut.step, 0)

    async def bench(ctx):
        for number, head in enumerate(kept):
            ctx.set(dut.kept[number], head)
        for _ in range(2):
            await layer(ctx, Heads.QUERIES, queries)
            await layer(ctx, Heads.KEPT, whole)

    simulate(dut, bench)


class Loud(wiring.Component):
    """In place of a core: takes everything and spikes all the time."""

    def __init__(self, lanes: int, time_steps: int) -> None:
        self.bits = lanes * time_steps
        super().__init__(
            {
                "i": In(stream.Signature(values_layout(lanes, time_steps, 2))),
                "o": Out(stream.Signature(bundles_layout(lanes, time_steps))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.d.comb += [self.i.ready.eq(1), self.o.valid.eq(1)]
        m.d.comb += self.o.payload.as_value().eq((1 << self.bits) - 1)
        return m


@pytest.mark.parametrize("keeps", range(3))
def test_silence_ends_with_the_image(keeps):
    """As many slices as an image has, silent but for the kept head, and none after the last."""
    heads, tokens, width, steps, lanes = 3, 4, 4, 2, 2
    rank = HeadRank(
        heads=heads,
        count=1,
        tokens=tokens,
        head_channels=width,
        time_steps=steps,
        lanes=lanes,
    )
    dut, rng = PrunedAttention(Loud(lanes, steps), rank), random.Random(keeps)
    slices = width // lanes

    async def begin(ctx, *, ranking, reading):
        ctx.set(dut.ranking, ranking)
        ctx.set(dut.reading, reading)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)

    async def bench(ctx):
        for _ in range(2):
            await begin(ctx, ranking=1, reading=0)
            ctx.set(dut.i.valid, 1)
            for place in range(tokens * heads * slices):
                one = place // slices % heads == keeps
                ctx.set(dut.i.payload, {"values": [[int(one)] * steps] * lanes})
                await ctx.tick()
            ctx.set(dut.i.valid, 0)
            for _ in range(6):
                await ctx.tick()
            await begin(ctx, ranking=0, reading=1)
            found = []
            for _ in range(6 * tokens * heads * slices):
                ready = rng.random() < 0.5
                ctx.set(dut.o.ready, ready)
                if ready and ctx.get(dut.o.valid):
                    found.append(ctx.get(dut.o.payload.as_value()) != 0)
                await ctx.tick()
            ctx.set(dut.o.ready, 0)
            wanted = [head == keeps for head in range(heads) for _ in range(slices)] * tokens
            assert found == wanted

    simulate(dut, bench)


PRUNED = {
    "network__stages": [{"channels": 8, "pool": True}, {"channels": 16}],
    "network__heads": 4,
    "engine__lanes": 4,
    "engine__neuron_lanes": 2,
    "network__blocks": 2,
}
# Cycles after which a run is broken off, by regime.
RESETS = (0, 3000, 6000, 9000)
CASES = {
    "kv, half": {"network__head_keep": 0.5, "engine__attention_order": "kv"},
    "qk, a quarter, projection": {
        "network__head_keep": 0.25,
        "network__projection": True,
        "engine__attention_order": "qk",
        "engine__counters": False,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize(("regime", "reset_after"), [*zip(REGIMES, RESETS, strict=True)])
@pytest.mark.parametrize("case", CASES)
def test_networks_with_pruned_heads(case, regime, reset_after, tmp_path):
    preset = small_preset(**PRUNED, **CASES[case])
    images = random_images(preset, 4)
    checkpoint = random_checkpoint(preset, seed=3)
    trace = IntegerModel(checkpoint).run(images).layers
    kept = {
        tuple(kept_heads(trace[f"block{block}.rank"].query, preset.kept_heads)[image].tolist())
        for block in range(2)
        for image in range(4)
    }
    assert len(kept) > 1, "no test: every image keeps the same heads"
    name = f"pruned-{list(CASES).index(case)}"
    how = {"regime": regime, "reset_after": reset_after}
    check_network(preset, checkpoint, images, name, tmp_path, **how)


def test_work_of_pruned_heads():
    """Q of all heads, K and V of those kept; attention of those kept."""
    whole = small_preset(**PRUNED)
    preset = whole.replace(network__head_keep=0.5)
    images = random_images(preset, 3)
    counts = count_layers(IntegerModel(random_checkpoint(preset, seed=3)).run(images), preset)
    qkv, rank = counts["block0.qkv"], counts["block0.rank"]
    assert qkv.visits == rank.visits
    assert rank.bound_cycles == rank.visits * 16 / 4 / 3
    assert qkv.bound_cycles == qkv.visits * 2 * 8 / 4 / 3


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "network.head_keep is 1: preset small must leave heads out, to compare"),
        (
            {**PRUNED, "network__head_keep": 0.5},
            "preset small has no train.start: the network to compare it with",
        ),
    ],
)
def test_nothing_to_compare(changes, text):
    with pytest.raises(SpecError, match=f"^{re.escape(text)}$"):
        prune(small_preset(**changes), count=1)


@pytest.mark.parametrize("kind", ["lrf-ssa", "lrf-dyn", "causal"])
def test_kinds_without_pruning(kind):
    preset = small_preset(**PRUNED, network__head_keep=0.5, network__attention=kind)
    text = (
        f"preset small: no hardware for network.head_keep below 1 with network.attention {kind},"
        " only the integer model"
    )
    with pytest.raises(SpecError, match=f"^{re.escape(text)}$"):
        make_accelerator(preset, format_widths(preset))
