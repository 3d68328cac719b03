"""The attention core against the golden model, bit for bit and cycle for cycle."""

import itertools
from types import SimpleNamespace

import pytest
from amaranth.back import rtlil, verilog
from amaranth.hdl import Elaboratable, ResetInserter, Signal
from amaranth.sim import Simulator

from hw.attention_timing import charge_cycles, read_cycles
from tests.attention_cases import (
    assert_slices,
    constant_image,
    core,
    expected,
    key_rows,
    largest_sum,
    payloads,
    random_image,
    read_slice,
    score_counts,
    step_counts,
)
from tests.streams import REGIMES, run_stream

ORDERS = ("kv", "qk")
pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")


def check(dut, images, regime="none", seed=0, **options) -> list[int]:
    """Run images through the core and compare every bundle; give back the output cycles."""
    sent = [payload for image in images for payload in payloads(dut, image)]
    want = [row for image in images for row in expected(dut, image)]
    got, cycles = run_stream(
        dut, sent, len(want), regime=regime, seed=seed, read=read_slice, **options
    )
    assert_slices(dut, got, want, cycles)
    return cycles


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("time_steps", [1, 2, 4])
def test_matches_golden(order, lanes, time_steps):
    reset = "soft" if lanes == 8 else "hard"
    dut = core(order, time_steps=time_steps, lanes=lanes, head_channels=16, reset=reset)
    image = random_image(dut, seed=time_steps)
    assert any(map(any, expected(dut, image)))
    check(dut, [image])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("key_bits, binary", [(1, True), (1, False), (4, True)])
def test_number_formats(order, key_bits, binary):
    dut = core(order, time_steps=4, key_bits=key_bits, threshold=3 if key_bits == 1 else 25)
    image = random_image(dut, seed=key_bits, binary=binary, density=0.5)
    assert any(map(any, expected(dut, image)))
    check(dut, [image])


@pytest.mark.parametrize("threshold", [7, 40])
@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("decay_shift", [1, 2, 3])
def test_neurons(threshold, reset, decay_shift):
    dut = core(time_steps=4, reset=reset, decay_shift=decay_shift, threshold=threshold)
    check(dut, [random_image(dut, seed=decay_shift, density=0.5)])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("regime", REGIMES)
def test_stalls_and_two_images(order, regime):
    dut = core(order, time_steps=4)
    check(dut, [random_image(dut, seed) for seed in (1, 2)], regime, seed=3)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("time_steps", [2, 4])
def test_a_sink_that_waits_long(order, time_steps):
    """So long that everything before the neurons fills up and stands still."""
    dut = core(order, time_steps=time_steps)
    images = [random_image(dut, seed, density=0.6) for seed in (1, 2)]
    check(dut, images, "sink", seed=3, stall=0.97)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "sizes",
    [
        {"tokens": 1, "heads": 1, "time_steps": 1, "head_channels": 4},
        {"tokens": 5, "heads": 3, "head_channels": 6, "lanes": 3, "time_steps": 3},
        {"heads": 1, "head_channels": 1, "lanes": 1},
        {"value_bits": 7, "key_bits": 5},
    ],
    ids=str,
)
def test_odd_sizes(order, sizes):
    dut = core(order, **sizes)
    check(dut, [random_image(dut, 1, density=0.8), random_image(dut, 2)], "both")


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("seed", range(8))
def test_many_images(order, seed):
    dut = core(order, time_steps=4, tokens=6, reset=("hard", "soft")[seed % 2])
    images = [random_image(dut, seed * 10 + i, density=0.1 + 0.2 * i) for i in range(4)]
    check(dut, images, REGIMES[seed % 4], seed)


@pytest.mark.parametrize("order", ORDERS)
def test_silent_inputs(order):
    dut = core(order)
    loud, kinds = constant_image(dut, 1, 15, 1), [(0, 0, 0), (1, 0, 1), (0, 15, 1), (1, 15, 0)]
    images = [loud]
    for kind in kinds:
        images += [constant_image(dut, *kind), loud]
    check(dut, images)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "key_bits, tokens, head_channels, reset",
    [(4, 4, 8, "hard"), (1, 3, 4, "soft"), (2, 5, 4, "soft")],
)
def test_extreme_sums_fit(order, key_bits, tokens, head_channels, reset):
    """Every accumulator at its positive and at its negative end; the neuron fires at equality."""
    most = head_channels * tokens * (2**key_bits - 1)
    sizes = {"key_bits": key_bits, "tokens": tokens, "head_channels": head_channels}
    for threshold in (1, most):
        dut = core(order, time_steps=2, reset=reset, threshold=threshold, **sizes)
        images = [constant_image(dut, 1, 2**key_bits - 1, sign) for sign in (1, -1)]
        assert largest_sum(images[0]) == largest_sum(images[1]) == most
        check(dut, images)


class Resettable(Elaboratable):
    """The core with a reset that a test can pull."""

    def __init__(self, dut) -> None:
        self.dut, self.reset = dut, Signal()

    def elaborate(self, platform):
        return ResetInserter(self.reset)(self.dut)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("when", ["clearing", "charging", "reading", "emitting"])
def test_reset_in_mid_run(order, when):
    dut = core(order, time_steps=4)
    top = Resettable(dut)
    first, second = random_image(dut, 1, density=0.7), random_image(dut, 2)
    want = expected(dut, second)
    got, cycles = [], []

    async def run(ctx, image, stop) -> None:
        queue = payloads(dut, image)
        for cycle in itertools.count():
            assert cycle < 5000, f"attention {order}: {len(got)} slices after {cycle} cycles"
            ctx.set(dut.i.valid, bool(queue))
            if queue:
                ctx.set(dut.i.payload, queue[0])
            ctx.set(dut.o.ready, 1)
            sampled = await ctx.tick().sample(
                dut.i.ready, dut.o.valid, dut.o.payload, dut.charging, dut.reading
            )
            _, _, taken, valid, payload, charging, reading = sampled
            if queue and taken:
                queue.pop(0)
            if valid:
                got.append(read_slice(payload))
                cycles.append(cycle)
            seen = SimpleNamespace(
                charging=charging, reading=reading, left=len(queue), clearing=cycle > 20
            )
            if stop(seen):
                return

    async def bench(ctx) -> None:
        half = len(payloads(dut, first)) // 2
        await run(
            ctx,
            first,
            {
                "clearing": lambda seen: seen.clearing,
                "charging": lambda seen: seen.charging and seen.left < half,
                "reading": lambda seen: seen.reading,
                "emitting": lambda seen: len(got) > len(want) // 2,
            }[when],
        )
        ctx.set(top.reset, 1)
        await ctx.tick()
        ctx.set(top.reset, 0)
        got.clear()
        cycles.clear()
        await run(ctx, second, lambda seen: len(got) == len(want))

    sim = Simulator(top)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert_slices(dut, got, want, cycles)


def measure(dut, images) -> SimpleNamespace:
    """Run images with no waits; give the cycles of what the formulas speak of."""
    marks = SimpleNamespace(accepted=[], rises=[], falls=[], out=[])

    async def watch(ctx) -> None:
        before = 0
        for cycle in itertools.count():
            _, _, valid, ready, reading = await ctx.tick().sample(
                dut.i.valid, dut.i.ready, dut.reading
            )
            if valid and ready:
                marks.accepted.append(cycle)
            if reading and not before:
                marks.rises.append(cycle)
            if before and not reading:
                marks.falls.append(cycle)
            before = reading

    marks.out = check(dut, images, background=(watch,))
    return marks


@pytest.mark.parametrize(
    "channels, waits",
    [
        ([[3], [], [3], [], [3]], False),
        ([[3]] * 5, True),
        ([list(range(8)), [7], [7], list(range(8)), [7]], True),
        ([list(range(8)), [6], [6, 7], list(range(8)), [6]], True),
        ([list(range(8)), [7], list(range(8)), list(range(8)), [6, 7]], True),
    ],
    ids=["apart", "each token", "next", "one later", "both"],
)
def test_row_still_in_flight(channels, waits):
    """Successive tokens of one head charge the same row, as the next event or one or two later."""
    dut = core(heads=1, tokens=5, lanes=8, time_steps=1, threshold=60)
    image = constant_image(dut, 1, 0, 1)
    for n, places in enumerate(channels):
        image.key[0, 0, 0, n, places] = 15
    marks = measure(dut, [image])
    rows, left = key_rows(dut, image), dut.shape.rows
    cycles = charge_cycles(dut.shape, rows, order="kv", clear_left=left)
    assert marks.rises[0] - marks.accepted[0] == cycles
    apart = [[100 * job + row for row in events] for job, events in enumerate(rows)]
    unhindered = charge_cycles(dut.shape, apart, order="kv", clear_left=left)
    assert (cycles > unhindered) == waits


TIMING = [
    {"time_steps": 2, "lanes": 4},
    {"time_steps": 4, "lanes": 4, "head_channels": 16, "tokens": 2},
    {"time_steps": 2, "lanes": 8, "heads": 1},
]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sizes", TIMING, ids=str)
@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 1.0])
def test_cycles(order, sizes, density):
    """Charge and read take the cycles of the formulas, for the first and for a later image."""
    dut = core(order, **sizes)
    images = [random_image(dut, seed, density=density) for seed in (5, 6)]
    marks = measure(dut, images)
    per_image = len(payloads(dut, images[0]))
    per_output = len(marks.out) // 2
    for number, image in enumerate(images):
        begin = marks.accepted[number * per_image]
        rows = key_rows(dut, image)
        clear_end = (marks.falls[number - 1] if number else 0) + dut.shape.rows
        charge = charge_cycles(dut.shape, rows, order=order, clear_left=clear_end - begin)
        assert marks.rises[number] - begin == charge, f"image {number}: charge cycles"
        queries = step_counts(dut, image.query)
        scores = score_counts(dut, image) if order == "qk" else None
        read = read_cycles(dut.shape, queries, scores)
        last = marks.out[(number + 1) * per_output - 1]
        assert last + 1 - marks.rises[number] == read, f"image {number}: read cycles"


@pytest.mark.parametrize("lanes", [1, 4, 8])
def test_read_cycles_of_short_heads(lanes):
    """One time step, few ones: prefetch and output bound the reading."""
    dut = core("kv", time_steps=1, lanes=lanes, tokens=5)
    image = random_image(dut, 7, density=0.1)
    marks = measure(dut, [image])
    read = read_cycles(dut.shape, step_counts(dut, image.query))
    assert read - dut.shape.slices - 2 <= marks.out[-1] + 1 - marks.rises[0] <= read


@pytest.mark.parametrize("order, constant", [("kv", 6), ("qk", 2)])
def test_dense_charge_is_one_event_a_cycle(order, constant):
    """The closed form of the docstring, for an image that arrives after the clearing."""
    dut = core(order, time_steps=2, lanes=4)
    events = [dut.time_steps * dut.head_channels] * dut.shape.jobs
    rows = [[16 * job + place for place in range(count)] for job, count in enumerate(events)]
    cycles = charge_cycles(dut.shape, rows, order=order)
    assert cycles == sum(events) + 2 * dut.shape.slices + constant


@pytest.mark.parametrize("order", ORDERS)
def test_converts_without_multipliers(order):
    dut = core(order, tokens=5, heads=3, head_channels=6, lanes=3)
    assert "module attention(" in verilog.convert(dut, name="attention")
    cells = rtlil.convert(dut, name="attention")
    for cell in ("$mul", "$div", "$mod", "$divfloor", "$modfloor", "$pow"):
        assert f"cell {cell} " not in cells


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"order": "vk"}, r"^order is 'vk': must be 'kv' or 'qk'$"),
        ({"tokens": 0}, r"^tokens is 0: must be at least 1$"),
        ({"lanes": 3}, r"^lanes is 3: must divide head_channels, 8$"),
        (
            {"value_bits": 3},
            r"^value_bits is 3: must be at least 4, for ternary V and K of 4 bits$",
        ),
        ({"threshold": 0}, r"^threshold is 0: must be at least 1$"),
        ({"decay_shift": 0}, r"^decay_shift is 0: must be at least 1$"),
        ({"reset": "none"}, r"^reset is 'none': must be 'hard' or 'soft'$"),
    ],
)
def test_wrong_parameters(changes, message):
    with pytest.raises(ValueError, match=message):
        core(**changes)


def test_differences_are_named():
    dut = core()
    want = expected(dut, random_image(dut, 1))
    got = [list(row) for row in want]
    got[5][2] ^= 1
    message = (
        rf"^attention kv: token 1, head 0, channel 6 \(lane 2\), cycle 5, image 0:"
        rf" bundle {got[5][2]:02b}, should be {want[5][2]:02b}$"
    )
    with pytest.raises(AssertionError, match=message):
        assert_slices(dut, got, want, list(range(len(want))))
