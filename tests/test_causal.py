"""Causal attention and LRF-Dyn against the golden model: bits, cycles, and what they store."""

import itertools

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Elaboratable, Module, ResetInserter, Signal
from amaranth.lib import stream
from amaranth.sim import Simulator
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.attention_cases import constant_image, payloads, random_image, read_slice
from tests.causal_cases import (
    causal_core,
    causal_slices,
    dyn_core,
    dyn_rows,
    dyn_slices,
    random_coefficients,
)
from tests.local_cases import loader
from tests.streams import REGIMES, run_stream

NO_SHRINK = (Phase.explicit, Phase.generate)


def compare(dut, got, want, cycles, name) -> None:
    """Fail with the token, channel and cycle of the first difference."""
    per_token = dut.heads * dut.head_channels // dut.lanes
    for number, (have, wish) in enumerate(zip(got, want, strict=True)):
        image, place = divmod(number, dut.tokens * per_token)
        token, part = divmod(place, per_token)
        assert have == wish, (
            f"{name}: image {image}, token {token}, slice {part}, cycle {cycles[number]}"
        )


def check_causal(dut, images, regime="none", seed=0, **options) -> list[int]:
    sent = [payload for image in images for payload in payloads(dut, image)]
    want = [row for image in images for row in causal_slices(dut, image)]
    got, cycles = run_stream(
        dut, sent, len(want), regime=regime, seed=seed, read=read_slice, **options
    )
    compare(dut, got, want, cycles, "causal")
    assert any(map(any, want))
    return cycles


def check_dyn(dut, images, regime="none", seed=0, wild=False, background=()) -> list[int]:
    blocks = [random_coefficients(dut, seed + k, wild=wild) for k in range(dut.term.blocks)]
    want = [
        row
        for number, image in enumerate(images)
        for row in dyn_slices(dut, image, blocks[number % len(blocks)])
    ]
    assert any(map(any, want))
    sent = [payload for image in images for payload in payloads(dut, image)]
    got, cycles = run_dyn(dut, dyn_rows(dut, blocks), sent, len(want), regime, seed, background)
    compare(dut, got, want, cycles, "LRF-Dyn")
    return cycles


def run_dyn(dut, rows, sent, count, regime, seed, background=()) -> tuple[list, list[int]]:
    """Write the coefficients, then run; cycles count from the first slice offered."""
    top = Late(dut, loader(dut, rows))
    return run_stream(
        top,
        sent,
        count,
        regime=regime,
        seed=seed,
        read=read_slice,
        background=(top.load, *background),
        limit=200_000,
    )


class Late(Elaboratable):
    """A core whose input waits until its coefficients are written."""

    def __init__(self, dut, load) -> None:
        self.dut, self.o, self._load = dut, dut.o, load
        self.i = stream.Signature(dut.i.payload.shape()).create()
        self.loaded = Signal()

    def elaborate(self, platform):

        m = Module()
        m.submodules.dut = self.dut
        m.d.comb += [
            self.dut.i.payload.eq(self.i.payload),
            self.dut.i.valid.eq(self.i.valid & self.loaded),
            self.i.ready.eq(self.dut.i.ready & self.loaded),
        ]
        return m

    async def load(self, ctx) -> None:
        """Write rows, then open the input."""
        await self._load(ctx)
        ctx.set(self.loaded, 1)


@pytest.mark.slow
@settings(max_examples=5, deadline=None, phases=NO_SHRINK)
@given(
    steps=st.sampled_from([1, 2, 4]),
    lanes=st.sampled_from([2, 4, 8]),
    heads=st.integers(1, 5),
    decay=st.integers(0, 3),
    regime=st.sampled_from(REGIMES),
    reset=st.sampled_from(["hard", "soft"]),
)
def test_causal_matches_golden(steps, lanes, heads, decay, regime, reset):
    dut = causal_core(
        time_steps=steps, lanes=lanes, heads=heads, state_decay_shift=decay, reset=reset
    )
    check_causal(dut, [random_image(dut, seed, density=0.4) for seed in (1, 2)], regime)


@pytest.mark.parametrize("decay", [0, 2])
def test_causal_extremes(decay):
    dut = causal_core(time_steps=2, threshold=100, state_decay_shift=decay, heads=1)
    images = [constant_image(dut, 1, 15, sign) for sign in (-1, 1)]
    check_causal(dut, [*images, constant_image(dut, 1, 0, 1), images[1]])


@pytest.mark.slow
@settings(max_examples=5, deadline=None, phases=NO_SHRINK)
@given(
    grid=st.sampled_from([(4, 4), (4, 6), (7, 4), (6, 5)]),
    steps=st.sampled_from([1, 2, 4]),
    lanes=st.sampled_from([2, 4]),
    dendrites=st.sampled_from([1, 2, 3, 8]),
    dilations=st.sampled_from([(3, 5), (1, 2), ()]),
    causal=st.booleans(),
    regime=st.sampled_from(REGIMES),
)
def test_dyn_matches_golden(grid, steps, lanes, dendrites, dilations, causal, regime):
    dut = dyn_core(
        grid,
        time_steps=steps,
        lanes=lanes,
        head_channels=4,
        dendrites=dendrites,
        dilations=dilations,
        causal=causal,
    )
    check_dyn(dut, [random_image(dut, steps, density=0.5)], regime, seed=dendrites)


def test_dyn_saturates():
    """States and read-outs at both ends of their ranges."""
    dut = dyn_core(heads=1, state_bits=9, dendrites=4, threshold=40)
    image = constant_image(dut, 1, 15, 1)
    image.value[:, :, :, ::3] = -1
    check_dyn(dut, [image, random_image(dut, 1, density=0.9)], seed=3, wild=True)


@pytest.mark.slow
def test_dyn_blocks_and_images():
    """Two blocks of coefficients, five images, everybody stalls."""
    dut = dyn_core((5, 4), head_channels=4, heads=1, dilations=(1, 3), blocks=2)
    check_dyn(dut, [random_image(dut, seed, density=0.6) for seed in range(5)], "both", seed=7)


@pytest.mark.slow
@pytest.mark.parametrize("side", range(4, 15))
@pytest.mark.parametrize("causal", [False, True])
def test_dyn_every_grid(side, causal):
    dut = dyn_core(
        (side, side), heads=1, head_channels=2, lanes=2, time_steps=1, dendrites=2, causal=causal
    )
    check_dyn(dut, [random_image(dut, side, density=0.6)], seed=side)


def arrivals(dut, marks: list[int]):
    """A test bench that notes the cycle in which each slice is taken."""

    async def watch(ctx) -> None:
        for cycle in itertools.count():
            _, _, taken = await ctx.tick().sample(dut.i.valid & dut.i.ready)
            if taken:
                marks.append(cycle)

    return watch


def causal_latency(tokens: int, decay: int) -> int:
    """Cycles from the last slice of the last token taken to its last slice of spikes."""
    dut = causal_core(tokens=tokens, heads=4, state_decay_shift=decay, time_steps=4)
    taken: list[int] = []
    cycles = check_causal(
        dut, [random_image(dut, 1, density=1.0)], background=(arrivals(dut, taken),)
    )
    return cycles[-1] - taken[-1]


@pytest.mark.parametrize("decay", [0, 1])
def test_causal_latency_is_that_of_the_formula(decay):
    """r + T + 10 to the first slice, with r = d here, and s - 1 more to the last, whatever N."""
    assert {causal_latency(tokens, decay) for tokens in (2, 7)} == {8 + 4 + 10 + 1}


@pytest.mark.slow
def test_dyn_latency_is_independent_of_the_tokens():
    """With a causal branch, k + taps + T + 22 from a token's last slice to its first."""
    seen = set()
    for rows in (5, 6):
        dut = dyn_core((rows, 4), time_steps=2, heads=1, head_channels=4, dilations=(3,))
        taken: list[int] = []
        slices = len(payloads(dut, random_image(dut, 1))) // dut.tokens
        cycles = check_dyn(
            dut, [random_image(dut, 1, density=1.0)], background=(arrivals(dut, taken),)
        )
        seen.add(cycles[-1] - taken[dut.tokens * slices - 1])
    assert seen == {3 + 4 + 2 + 22}


# Heads, slices a head, dendrites: K and Q take longer than the dendrites or not, few rows of state.
DYN_SHAPES = [
    *[(4, 2, 8), (2, 4, 8), (2, 2, 3), (1, 4, 3), (4, 1, 8), (1, 3, 3)],
    *[(1, 1, 3), (2, 4, 1), (3, 2, 1), (1, 2, 2)],
]


@pytest.mark.parametrize("heads, slices, dendrites", DYN_SHAPES)
def test_dyn_token_takes_the_cycles_of_the_formula(heads, slices, dendrites):
    dut = dyn_core(
        heads=heads, head_channels=slices, lanes=1, dendrites=dendrites, time_steps=1, threshold=1
    )
    assert dut.term.window == dut.tokens
    gaps, _ = dyn_gaps(dut)
    # The first token meets idle dendrites.
    assert gaps[0] <= dut.token_cycles() and set(gaps[1:]) == {dut.token_cycles()}
    if heads * slices * dendrites >= 9:
        longer = max(slices * dendrites, (slices - 1) * dendrites + 2 * slices + 1)
        assert dut.token_cycles() == heads * longer


@pytest.mark.parametrize("dendrites, time_steps", [(3, 1), (3, 8), (8, 1)])
@pytest.mark.parametrize("grid, dilations", [((4, 4), ()), ((7, 4), (1,))])
def test_dyn_window_holds_two_tokens_on_their_way(dendrites, time_steps, grid, dilations):
    """Token n + 2 comes in when token n has left, and every second token waits for that."""
    dut = dyn_core(
        grid,
        **{"heads": 2, "head_channels": 2, "lanes": 1, "threshold": 1},
        **{"dendrites": dendrites, "time_steps": time_steps, "dilations": dilations},
    )
    assert dut.term.window < dut.tokens
    gaps, delays = dyn_gaps(dut)
    most = dut.token_cycles()
    for first, second, delay in zip(gaps, gaps[1:], delays, strict=False):
        assert first + second <= most + max(most, delay)
    if not dilations and dendrites == 3:
        assert set(delays) == {delays[0]} and delays[0] > most
        assert set(gaps[::2]) == {most} and set(gaps[1::2]) == {delays[0]}


def dyn_gaps(dut) -> tuple[list[int], list[int]]:
    """Cycles from token to token on ``i``, and from a token's last slice to its last spikes."""
    taken: list[int] = []
    out = check_dyn(dut, [random_image(dut, 1, density=0.6)], background=(arrivals(dut, taken),))
    first, last = taken[:: 3 * dut.slices], taken[3 * dut.slices - 1 :: 3 * dut.slices]
    spikes = out[dut.slices - 1 :: dut.slices]
    gaps = [after - before for before, after in itertools.pairwise(first)]
    return gaps, [after - before for before, after in zip(last, spikes, strict=True)]


@pytest.mark.parametrize("kind", ["causal", "dyn"])
@pytest.mark.parametrize("after", [3, 60, 130])
def test_reset_in_mid_run(kind, after):
    dut = causal_core() if kind == "causal" else dyn_core()
    reset = Signal()
    first, second = (random_image(dut, seed, density=0.7) for seed in (1, 2))
    if kind == "causal":
        want, rows = causal_slices(dut, second), {}
    else:
        block = random_coefficients(dut, 1)
        want, rows = dyn_slices(dut, second, block), dyn_rows(dut, [block])
    got, cycles = [], []

    async def bench(ctx) -> None:
        await loader(dut, rows)(ctx)
        ctx.set(dut.o.ready, 1)
        for image, limit in ((first, after), (second, 20_000)):
            queue = payloads(dut, image)
            for cycle in range(limit):
                ctx.set(dut.i.valid, bool(queue))
                if queue:
                    ctx.set(dut.i.payload, queue[0])
                sampled = await ctx.tick().sample(dut.i.ready, dut.o.valid, dut.o.payload)
                if queue and sampled[2]:
                    queue.pop(0)
                if image is second and sampled[3]:
                    got.append(read_slice(sampled[4]))
                    cycles.append(cycle)
                if len(got) == len(want):
                    return
            ctx.set(reset, 1)
            await ctx.tick()
            ctx.set(reset, 0)

    sim = Simulator(ResetInserter(reset)(dut))
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    compare(dut, got, want, cycles, kind)


@pytest.mark.parametrize("build", [causal_core, dyn_core])
def test_without_multipliers(build):
    cells = rtlil.convert(build(heads=3, head_channels=6, lanes=3), name="attention")
    for cell in ("$mul", "$div", "$mod", "$divfloor", "$modfloor", "$pow"):
        assert f"cell {cell} " not in cells


@pytest.mark.parametrize(
    "build, changes, message",
    [
        (causal_core, {"state_decay_shift": -1}, r"^state_decay_shift is -1: must be at least 1,"),
        (causal_core, {"lanes": 3}, r"^lanes is 3: must divide head_channels, 8$"),
        (causal_core, {"threshold": 0}, r"^threshold is 0: must be at least 1$"),
        (dyn_core, {"dendrites": 9}, r"^dendrites is 9: must be 1 to 8$"),
        (dyn_core, {"tokens": 9}, r"^grid is 4x4: must have 9 tokens$"),
        (
            dyn_core,
            {"read_frac_bits": 5},
            r"^read_frac_bits is 5: must be 0 to state_frac_bits, 4$",
        ),
    ],
)
def test_wrong_parameters(build, changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)
