"""NeuronArray against the golden neurons, bit for bit."""

import random
import re

import pytest
import torch
from amaranth.hdl import Fragment, Module, ResetInserter, Signal
from amaranth.sim import Simulator

from golden import neurons
from hw.layouts import NeuronKind
from hw.neuron_array import NeuronArray, membrane_formats
from tests.streams import REGIMES, run_stream

ALL = frozenset(NeuronKind)
B, T3, R, N = NeuronKind.BINARY, NeuronKind.TERNARY, NeuronKind.RELU, NeuronKind.NONE
GOOD = {
    "lanes": 4,
    "time_steps": 4,
    "width": 10,
    "threshold_bits": 8,
    "value_bits": 10,
    "key_shift": 3,
    "key_bits": 4,
    "kinds": ALL,
}
THRESHOLD = 101


def array(**changes) -> NeuronArray:
    return NeuronArray(**{**GOOD, **changes})


def make_slices(dut: NeuronArray, count: int, seed: int, threshold: int = THRESHOLD) -> list[dict]:
    """Random slices, a third of their sums near V_th or its halves or at the ends of the range."""
    rng = random.Random(seed)
    low, high = -(2 ** (dut.width - 1)), 2 ** (dut.width - 1) - 1
    corners = [low, high, 0, -1, 1]
    corners += [s * (threshold // d + e) for s in (1, -1) for d in (1, 2) for e in (-1, 0, 1)]
    corners = [x for x in corners if low <= x <= high]
    kinds = sorted(dut.kinds, key=lambda kind: kind.value)

    def draw() -> int:
        pick = rng.random()
        if pick < 0.33:
            return rng.choice(corners)
        if pick < 0.66:
            return rng.randint(max(low, -2 * threshold), min(high, 2 * threshold))
        return rng.randint(low, high)

    return [
        {
            "sums": [[draw() for _ in range(dut.time_steps)] for _ in range(dut.lanes)],
            "kind": kinds[index % len(kinds)] if index < len(kinds) else rng.choice(kinds),
        }
        for index in range(count)
    ]


def golden_values(dut: NeuronArray, slices: list[dict], threshold: int) -> list[list[list[int]]]:
    """What the golden neurons make of slices, in the codes of the output."""
    out = []
    for item in slices:
        x, kind = torch.tensor(item["sums"]).T, item["kind"]
        mask = 2**dut.value_bits - 1
        if kind in (B, T3):
            y = neurons.lif(
                x,
                threshold,
                decay_shift=dut.decay_shift,
                reset=dut.reset,
                ternary=kind == T3,
            )
            mask = 3
        elif kind == R:
            y = neurons.relu_clip(x, shift=dut.key_shift, bits=dut.key_bits)
        else:
            y = x
        out.append((y & mask).T.tolist())
    return out


def with_threshold(dut: NeuronArray, value: int):
    async def process(ctx):
        ctx.set(dut.threshold, value)

    return process


def read(payload) -> list[list[int]]:
    return [list(lane) for lane in payload.values]


def run(dut, slices, threshold=THRESHOLD, **options) -> list[int]:
    """Run slices through the array, compare, and return the cycles of the outputs."""
    got, cycles = run_stream(
        dut,
        slices,
        len(slices),
        read=read,
        background=(with_threshold(dut, threshold),),
        **options,
    )
    compare(dut, slices, got, threshold)
    return cycles


def compare(dut, slices, got, threshold=THRESHOLD) -> None:
    expected = golden_values(dut, slices, threshold)
    for index, (ours, theirs) in enumerate(zip(got, expected, strict=True)):
        for lane in range(dut.lanes):
            assert ours[lane] == theirs[lane], (
                f"NeuronArray: slice {index}, {slices[index]['kind'].name}, lane {lane}: sums"
                f" {slices[index]['sums'][lane]}, got {ours[lane]}, expected {theirs[lane]}"
            )


@pytest.mark.parametrize("decay_shift", [1, 2])
@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("time_steps", [1, 2, 4])
def test_mixed_kinds(time_steps, reset, decay_shift):
    for lanes, count in ((4, 40), (8, 10), (16, 6)):
        dut = array(time_steps=time_steps, lanes=lanes, reset=reset, decay_shift=decay_shift)
        run(dut, make_slices(dut, count, seed=lanes))


@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("kind", list(NeuronKind))
def test_only_one_kind(kind, reset):
    for time_steps in (1, 2, 4):
        dut = array(kinds={kind}, time_steps=time_steps, reset=reset)
        run(dut, make_slices(dut, 40, seed=time_steps))


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_pairs_of_kinds(reset):
    for kinds in ({B, T3}, {B, R}, {T3, R}, {T3, N}, {R, N}):
        dut = array(kinds=kinds, reset=reset, time_steps=3)
        run(dut, make_slices(dut, 40, seed=len(kinds)))


@pytest.mark.parametrize("regime", REGIMES)
def test_stalls(regime):
    for seed, time_steps in enumerate((1, 2, 4)):
        dut = array(time_steps=time_steps, kinds={B, T3, R}, value_bits=4)
        run(dut, make_slices(dut, 80, seed), regime=regime, seed=seed)


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_decay_of_other_shifts_and_odd_steps(reset):
    for decay_shift, time_steps in ((1, 6), (2, 6), (3, 3), (5, 4)):
        dut = array(decay_shift=decay_shift, time_steps=time_steps, reset=reset)
        run(dut, make_slices(dut, 24, seed=decay_shift))


@pytest.mark.parametrize("decay_shift", [1, 2])
@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_extreme_inputs(reset, decay_shift):
    low, high = -(2**9), 2**9 - 1
    rows = [[low] * 4, [high] * 4, [low, high] * 2, [high, low] * 2]
    rows += [[low, low, low, high], [high, high, high, low], [-1] * 4, [1] * 4]
    slices = [{"sums": rows[k : k + 4], "kind": kind} for kind in NeuronKind for k in (0, 4)]
    # 2**13 - 1 is above every potential, so that nothing resets on the way to the largest one.
    for threshold_bits, threshold in ((8, 1), (8, 255), (10, 1023), (13, 2**13 - 1)):
        dut = array(threshold_bits=threshold_bits, reset=reset, decay_shift=decay_shift)
        run(dut, slices, threshold)


@pytest.mark.slow
def test_every_train_of_narrow_sums():
    """All 4,096 trains of three 4-bit sums, hard and soft."""
    trains = [[a, b, c] for a in range(-8, 8) for b in range(-8, 8) for c in range(-8, 8)]
    lanes = 16
    slices = [{"sums": trains[k : k + lanes], "kind": T3} for k in range(0, len(trains), lanes)]
    for reset, threshold in (("hard", 3), ("soft", 2)):
        dut = array(
            lanes=lanes,
            time_steps=3,
            width=4,
            threshold_bits=4,
            value_bits=2,
            kinds={B, T3},
            reset=reset,
        )
        run(dut, slices, threshold)


def test_values_wider_than_sums_are_sign_extended():
    dut = array(value_bits=14, key_shift=0, key_bits=12)
    run(dut, make_slices(dut, 20, seed=5))


def test_latency():
    for time_steps in (1, 2, 4, 6):
        for kinds, reset_cycle in (({B}, 0), (ALL, 1)):
            dut = array(time_steps=time_steps, kinds=kinds)
            cycles = run(dut, make_slices(dut, 12, seed=1))
            first = time_steps + reset_cycle
            assert cycles == list(range(first, first + 12)), f"T {time_steps}, {kinds}: {cycles}"


def test_stalled_array_fills():
    """While the sink stalls, the array takes T slices and no more."""
    for time_steps in (1, 2, 4):
        dut = array(time_steps=time_steps, kinds={B})
        taken = []

        async def bench(ctx, dut=dut, taken=taken):
            ctx.set(dut.i.valid, 1)
            for _ in range(12):
                _, _, ready = await ctx.tick().sample(dut.i.ready)
                taken.append(ready)

        sim = Simulator(dut)
        sim.add_clock(1e-6)
        sim.add_testbench(bench)
        sim.run()
        assert taken == [1] * time_steps + [0] * (12 - time_steps)


@pytest.mark.parametrize("at", range(1, 8))
def test_reset_in_mid_run(at):
    dut, reset = array(), Signal()
    m = Module()
    m.submodules.dut = ResetInserter(reset)(dut)
    before, after = make_slices(dut, 6, seed=at), make_slices(dut, 10, seed=100 + at)
    got = []

    async def feed(ctx):
        ctx.set(dut.threshold, THRESHOLD)
        ctx.set(dut.i.valid, 1)
        for cycle in range(at):
            ctx.set(dut.i.payload, before[min(cycle, 5)])
            await ctx.tick()
        ctx.set(dut.i.valid, 0)
        ctx.set(reset, 1)
        await ctx.tick()
        ctx.set(reset, 0)
        assert not ctx.get(dut.o.valid), "valid after reset"
        for payload in after:
            ctx.set(dut.i.payload, payload)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)

    async def drain(ctx):
        await ctx.tick().repeat(at + 1)
        ctx.set(dut.o.ready, 1)
        while len(got) < len(after):
            payload = (await ctx.tick().sample(dut.o.payload).until(dut.o.valid))[0]
            got.append(read(payload))

    sim = Simulator(m)
    sim.add_clock(1e-6)
    sim.add_testbench(feed)
    sim.add_testbench(drain)
    sim.run()
    compare(dut, after, got)


def test_membrane_formats_are_exact():
    """Reached by the golden rule's own extremes, and not a bit more than they need."""
    for width, time_steps, shift in ((8, 4, 1), (8, 4, 2), (16, 7, 3), (3, 1, 1)):
        guard, potential = time_steps - 1, 0
        for step, (whole, point) in enumerate(membrane_formats(width, time_steps, shift, True)):
            potential += -(2 ** (width - 1)) << guard
            floor = potential >> guard
            assert -(2 ** (whole - 1)) <= floor < -(2 ** (whole - 2)), f"step {step}: {whole}"
            assert point == (min(step, 1) if shift == 1 else min(guard, shift * step))
            potential -= potential >> shift
    assert membrane_formats(16, 4, 1, False) == [(16, 0), (17, 0), (17, 0), (17, 0)]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"lanes": 0}, "lanes is 0: must be an integer of at least 1"),
        ({"time_steps": 0}, "time_steps is 0: must be an integer of at least 1"),
        ({"time_steps": 2.0}, "time_steps is 2.0: must be an integer of at least 1"),
        ({"width": 1}, "width is 1: must be an integer of at least 2"),
        ({"threshold_bits": 0}, "threshold_bits is 0: must be an integer of at least 1"),
        ({"value_bits": 0}, "value_bits is 0: must be an integer of at least 1"),
        ({"key_shift": -1}, "key_shift is -1: must be an integer of at least 0"),
        ({"key_bits": 0}, "key_bits is 0: must be an integer of at least 1"),
        ({"decay_shift": 0}, "decay_shift is 0: must be an integer of at least 1"),
        ({"reset": "none"}, "reset is 'none': must be 'hard' or 'soft'"),
        ({"kinds": ()}, "kinds is {}: must be one or more of NeuronKind"),
        ({"kinds": {7}}, "kinds is {7}: must be one or more of NeuronKind"),
        ({"value_bits": 9}, "value_bits is 9: must be at least 10 for NONE"),
        ({"value_bits": 3, "kinds": {B, R}}, "value_bits is 3: must be at least 4 for RELU"),
        ({"value_bits": 1, "kinds": {T3}}, "value_bits is 1: must be at least 2 for TERNARY"),
    ],
)
def test_bad_parameters(changes, text):
    with pytest.raises(ValueError, match=rf"^{re.escape(text)}$"):
        array(**changes)


def test_parameters_are_attributes():
    dut = array()
    Fragment.get(dut, None)  # Amaranth warns of a component that nobody elaborates.
    assert {name: getattr(dut, name) for name in GOOD} == GOOD
    assert (dut.decay_shift, dut.reset) == (1, "hard")
