"""The local branch of LRF-SSA: alone, and in the attention core."""

import random

import pytest
import torch
from amaranth.back import rtlil
from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from golden.attention_kinds import join_heads
from hw.attention_timing import charge_cycles, read_cycles
from hw.local_values import LocalTerm, LocalValues
from tests.attention_cases import (
    Image,
    assert_slices,
    constant_image,
    key_rows,
    payloads,
    random_image,
    read_slice,
    step_counts,
)
from tests.local_cases import (
    expected_slices,
    loader,
    local_core,
    local_sums,
    random_weights,
    weight_rows,
)
from tests.streams import REGIMES, run_stream

# A shrunk grid says no more than the grid that failed, and takes minutes to find.
NO_SHRINK = (Phase.explicit, Phase.generate)


def check(dut, images, regime="none", seed=0, **options) -> list[int]:
    """Run images, one block after another, and compare every bundle; give the output cycles."""
    weights = random_weights(dut, seed)
    blocks = dut.local.blocks
    sent = [payload for image in images for payload in payloads(dut, image)]
    want = [
        row
        for number, image in enumerate(images)
        for row in expected_slices(dut, image, weights[number % blocks])
    ]
    background = (loader(dut, weight_rows(dut, weights)), *options.pop("background", ()))
    got, cycles = run_stream(
        dut,
        sent,
        len(want),
        regime=regime,
        seed=seed,
        read=read_slice,
        background=background,
        **options,
    )
    assert_slices(dut, got, want, cycles)
    assert any(map(any, want))
    return cycles


@pytest.mark.slow
@settings(max_examples=6, deadline=None, phases=NO_SHRINK)
@given(
    grid=st.tuples(st.integers(4, 6), st.integers(4, 7)),
    steps=st.sampled_from([1, 2, 4]),
    lanes=st.sampled_from([2, 4]),
    order=st.sampled_from(["kv", "qk"]),
    regime=st.sampled_from(REGIMES),
    causal=st.booleans(),
    dilations=st.sampled_from([(3, 5), (3,), (1, 2), (2,)]),
)
def test_matches_golden(grid, steps, lanes, order, regime, causal, dilations):
    dut = local_core(
        grid,
        time_steps=steps,
        lanes=lanes,
        head_channels=lanes,
        order=order,
        causal=causal,
        dilations=dilations,
    )
    check(dut, [random_image(dut, seed=steps)], regime)


@pytest.mark.parametrize("grid", [(4, 4), (9, 6)])
@pytest.mark.parametrize("sign", [1, -1])
def test_borders(grid, sign):
    """Only the local branch speaks, with V the same everywhere: the sum tells taps apart."""
    dut = local_core(grid, heads=1, head_channels=2, lanes=2, time_steps=1, threshold=3)
    check(dut, [constant_image(dut, 0, 0, sign)], seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("side", range(4, 15))
def test_every_grid(side):
    dut = local_core((side, side), heads=1, head_channels=2, lanes=1, time_steps=2)
    # On the smallest grid so few K and V would make no neuron fire.
    density = 0.2 if side > 4 else 0.8
    check(dut, [random_image(dut, side, density=density)], seed=side)


def test_blocks_have_their_own_weights():
    """Two blocks and five images: weights alternate."""
    dut = local_core((4, 5), blocks=2, head_channels=4)
    check(dut, [random_image(dut, seed) for seed in range(5)], "both", seed=2)


def test_extreme_sums_fit():
    dut = local_core((11, 11), heads=1, head_channels=1, lanes=1, time_steps=1, threshold=1)
    weights = [torch.full((1, 2, 3, 3), -(2 ** (dut.local.weight_bits - 1)))]
    weights[0][:, 1:, 1, 1] = 0
    image = constant_image(dut, 0, 0, -1)
    most = int(local_sums(dut, image, weights[0]).max())
    assert most == dut.local.most == 17 * 16
    want = expected_slices(dut, image, weights[0])
    got, cycles = run_stream(
        dut,
        payloads(dut, image),
        len(want),
        read=read_slice,
        background=(loader(dut, weight_rows(dut, weights)),),
    )
    assert_slices(dut, got, want, cycles)


def test_hidden_behind_the_reading():
    """With as many ones of Q as taps, the branch adds one cycle, that of the join."""
    dut = local_core((4, 4), heads=1, lanes=4, time_steps=4)
    image = random_image(dut, 3, density=0.6)
    reads = [sum(max(1, ones) for ones in steps) for steps in step_counts(dut, image.query)]
    assert min(reads) >= 5
    marks: dict[str, int] = {}

    async def watch(ctx):
        cycle = 0
        while True:
            _, _, taken, reading = await ctx.tick().sample(dut.i.valid & dut.i.ready, dut.reading)
            if taken:
                marks.setdefault("begin", cycle)
            if reading:
                marks.setdefault("reading", cycle)
            cycle += 1

    cycles = check(dut, [image], background=(watch,))
    charge = charge_cycles(
        dut.shape, key_rows(dut, image), order=dut.order, clear_left=dut.shape.rows
    )
    assert marks["reading"] - marks["begin"] == charge
    read = read_cycles(dut.shape, step_counts(dut, image.query))
    assert cycles[-1] + 1 - marks["reading"] == read + 1


def values(**changes) -> LocalValues:
    """The branch alone."""
    sizes = {"heads": 2, "head_channels": 4, "lanes": 2, "time_steps": 2} | changes
    term = LocalTerm(grid=(5, 6), dilations=(3, 5), weight_bits=6, frac_bits=0)
    return LocalValues(term=sizes.pop("term", term), **sizes)


def value_image(dut: LocalValues, seed: int) -> Image:
    generator = torch.Generator().manual_seed(seed)
    tokens = dut.term.grid[0] * dut.term.grid[1]
    shape = (dut.time_steps, 1, dut.heads, tokens, dut.head_channels)
    none = torch.zeros(shape, dtype=torch.long)
    return Image(none, none, torch.randint(-1, 2, shape, generator=generator))


def run_values(dut: LocalValues, images, weights, regime="none", reset=None) -> tuple[list, list]:
    """Store an image, start, take its sums, for image after image; sums by token and head."""
    got, cycles = [], []
    rng = random.Random(5)

    async def bench(ctx):
        await loader(dut, weight_rows(dut, weights))(ctx)
        for number, image in enumerate(images):
            codes = join_heads(image.value)[:, 0] % 4
            slices = codes.permute(1, 2, 0).reshape(-1, dut.lanes, dut.time_steps).tolist()
            for piece in slices:
                while regime in ("source", "both") and rng.random() < 0.4:
                    await ctx.tick()
                ctx.set(dut.i.payload, {"values": piece})
                ctx.set(dut.i.valid, 1)
                await ctx.tick()
                ctx.set(dut.i.valid, 0)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            cycle, count = 1, dut.heads * image.value.shape[3]
            if number == 0 and reset is not None:
                await ctx.tick().repeat(11)
                ctx.set(reset, 1)
                await ctx.tick()
                ctx.set(reset, 0)
                continue
            sums = []
            while len(sums) < count:
                ready = not (regime in ("sink", "both") and rng.random() < 0.4)
                ctx.set(dut.o.ready, ready)
                _, _, valid, payload = await ctx.tick().sample(dut.o.valid, dut.o.payload)
                if ready and valid:
                    sums.append(
                        [
                            [payload[c][t] for t in range(dut.time_steps)]
                            for c in range(dut.head_channels)
                        ]
                    )
                    cycles.append(cycle)
                cycle += 1
            ctx.set(dut.o.ready, 0)
            got.append(sums)

    sim = Simulator(ResetInserter(reset)(dut) if reset is not None else dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return got, cycles


def wanted(dut: LocalValues, image: Image, weights) -> list:
    sums = local_sums(dut, image, weights)[:, 0].unflatten(2, (dut.heads, dut.head_channels))
    return sums.permute(1, 2, 3, 0).flatten(0, 1).tolist()


class Alone:
    """What :func:`random_weights` needs of a core, around the branch alone."""

    def __init__(self, dut: LocalValues) -> None:
        self.local, self.heads, self.head_channels = dut.term, dut.heads, dut.head_channels


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("steps, lanes", [(1, 4), (2, 1), (4, 2)])
def test_alone(regime, steps, lanes):
    dut = values(time_steps=steps, lanes=lanes)
    dut.local = dut.term
    images, weights = [value_image(dut, seed) for seed in (1, 2)], random_weights(dut, 4)
    got, cycles = run_values(dut, images, weights, regime)
    for number, image in enumerate(images):
        want = wanted(dut, image, weights[0])
        for place, (have, wish) in enumerate(zip(got[number], want, strict=True)):
            assert have == wish, f"local branch: image {number}, token {place // 2}, {place % 2}"
    if regime == "none":
        assert cycles == expected_cycles(dut) * 2


def expected_cycles(dut: LocalValues) -> list[int]:
    """Cycles after ``start`` in which the sums leave."""
    (height, width), cycle, made = dut.term.grid, 8, []
    for token in range(height * width):
        y, x = divmod(token, width)
        taps = max(
            sum(0 <= y + tap.down < height and 0 <= x + tap.right < width for tap in side)
            for side in dut.term.sides.values()
        )
        for _ in range(dut.heads):
            cycle += taps
            made.append(cycle)
    return made


def test_alone_after_a_reset():
    dut, reset = values(), Signal()
    dut.local = dut.term
    images, weights = [value_image(dut, seed) for seed in (1, 2)], random_weights(dut, 4)
    (got,), _ = run_values(dut, images, weights, "both", reset)
    assert got == wanted(dut, images[1], weights[0])


def test_without_multipliers():
    cells = rtlil.convert(local_core((5, 7), heads=3, head_channels=6, lanes=3), name="attention")
    for cell in ("$mul", "$div", "$mod", "$divfloor", "$modfloor", "$pow"):
        assert f"cell {cell} " not in cells
