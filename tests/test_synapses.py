"""WeightFetch and SynapticArray against plain integer sums."""

import random
import re
from itertools import product

import pytest

from golden.widths import signed_bits
from hw.synaptic_array import SynapticArray
from hw.weight_fetch import SHIFT_BITS
from sim.matrix import LANES, STEPS
from sim.streams import REGIMES
from sim.tops import LoadTop, Top, weight_fetch_top, weights_top
from tests.play import Run, play

ROW_BITS = 6
MOST = 8  # events in a group
# Pixels or spikes, and the cycle of a reset: once while rows are written, once after.
RUNS_OF_BANKS = ((0, None), (1, 30), (0, 75), (1, None), (0, None))


def make_fetch(lanes: int = 4, time_steps: int = 4, weight_bits: int = 8) -> Top:
    return weight_fetch_top(
        entries=max(8, lanes),
        time_steps=time_steps,
        row_bits=ROW_BITS,
        lanes=lanes,
        weight_bits=weight_bits,
        seed=lanes,
    )


def fetch_run(dut: Top, rng: random.Random, count: int, *, pixels: int, align: int = 0, **more):
    """Random events, and the weights and shifts that each must get."""
    block, (rom, _) = dut.block, dut.memories["weights"]
    send, expect = [], []
    for _ in range(count):
        index = rng.randrange(8 if pixels else block.entries)
        row = rng.randrange((1 << ROW_BITS) - block.entries)
        frame = {"gates": rng.randrange(1 << block.time_steps), "last": rng.getrandbits(1)}
        send.append({"index": index, "row": row, **frame})
        bits, shift = (rom.contents[row], index) if pixels else (rom.contents[row + index], align)
        half = 1 << (block.weight_bits - 1)
        lanes = [bits >> (lane * block.weight_bits) for lane in range(block.lanes)]
        weights = [(word + half) % (2 * half) - half for word in lanes]
        expect.append({"weights": weights, "shift": shift, **frame})
    return Run(send, expect, {"pixels": pixels, "align": align}, **more)


def make_banks(lanes: int) -> LoadTop:
    return weights_top(
        entries=max(8, lanes),
        time_steps=4,
        row_bits=ROW_BITS,
        lanes=lanes,
        weight_bits=8,
        rows=1 << ROW_BITS,
        seed=lanes,
    )


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize(("lanes", "banks"), [(4, [4]), (12, [9, 3]), (32, [9, 9, 9, 5])])
def test_banks_give_what_was_written(lanes, banks, regime):
    rng = random.Random(lanes)
    dut = make_banks(lanes)
    assert dut.block.banks == banks
    runs = [fetch_run(dut, rng, 12, pixels=pixels, reset_at=at) for pixels, at in RUNS_OF_BANKS]
    play(dut, runs, regime=regime)


@pytest.mark.parametrize("weight_bits", [4, 8])
@pytest.mark.parametrize("lanes", LANES)
def test_weights_of_events(lanes, weight_bits):
    rng = random.Random(lanes)
    for time_steps in STEPS:
        dut = make_fetch(lanes, time_steps, weight_bits)
        runs = [fetch_run(dut, rng, 12, pixels=0, align=align) for align in (0, 3, 7)]
        play(dut, [*runs, fetch_run(dut, rng, 12, pixels=1)])


@pytest.mark.parametrize("regime", REGIMES)
def test_fetch_stalls(regime):
    dut, rng = make_fetch(), random.Random(7)
    runs = [fetch_run(dut, rng, 60, pixels=pixels, align=2) for pixels in (0, 1)]
    play(dut, runs, regime=regime)


def test_fetch_latency():
    """Two cycles, an event a cycle."""
    dut = make_fetch()
    (played,) = play(dut, [fetch_run(dut, random.Random(1), 12, pixels=0)])
    assert played.taken == list(range(12))
    assert played.given == list(range(2, 14))


@pytest.mark.parametrize("at", range(1, 8))
def test_fetch_reset_in_mid_run(at):
    dut, rng = make_fetch(), random.Random(at)
    broken = fetch_run(dut, rng, 20, pixels=0, reset_at=at)
    play(dut, [broken, fetch_run(dut, rng, 20, pixels=1)], regime="sink", seed=at)


def width_of(weight_bits: int) -> int:
    """Bits that hold MOST of the largest weights, shifted by the most, and no more."""
    low = -(1 << (weight_bits - 1)) << 7
    return signed_bits(MOST * low, MOST * (-low - (1 << 7)))


def make_array(
    lanes: int = 4, time_steps: int = 4, weight_bits: int = 8, shift_bits: int = SHIFT_BITS
) -> SynapticArray:
    return SynapticArray(
        lanes=lanes,
        time_steps=time_steps,
        weight_bits=weight_bits,
        width=width_of(weight_bits),
        shift_bits=shift_bits,
    )


def array_run(dut: SynapticArray, groups: list[list[dict]], **more) -> Run:
    """Groups of events, and the sums that they make."""
    send, expect = [], []
    for events in groups:
        sums = [[0] * dut.time_steps for _ in range(dut.lanes)]
        for index, event in enumerate(events):
            send.append({**event, "last": index == len(events) - 1})
            for lane, step in product(range(dut.lanes), range(dut.time_steps)):
                if event["gates"] >> step & 1:
                    sums[lane][step] += event["weights"][lane] * 2 ** event["shift"]
        expect.append({"sums": sums})
    return Run(send, expect, **more)


def random_groups(dut: SynapticArray, rng: random.Random, count: int) -> list[list[dict]]:
    half = 1 << (dut.weight_bits - 1)

    def event() -> dict:
        draw = rng.choice(
            (lambda: rng.randrange(-half, half), lambda: rng.choice((-half, half - 1)))
        )
        weights = [draw() for _ in range(dut.lanes)]
        gates = rng.randrange(1 << dut.time_steps)
        return {"weights": weights, "shift": rng.randrange(1 << dut.shift_bits), "gates": gates}

    return [[event() for _ in range(rng.choice((1, 1, 2, 3, MOST)))] for _ in range(count)]


@pytest.mark.parametrize("weight_bits", [4, 8])
@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("time_steps", STEPS)
def test_sums(time_steps, lanes, weight_bits):
    dut, rng = make_array(lanes, time_steps, weight_bits), random.Random(lanes * time_steps)
    play(dut, [array_run(dut, random_groups(dut, rng, 8))])


@pytest.mark.parametrize("shift_bits", [0, 1, 2])
def test_sums_with_shifts_of_few_bits(shift_bits):
    dut = make_array(shift_bits=shift_bits)
    play(dut, [array_run(dut, random_groups(dut, random.Random(shift_bits), 8))])


@pytest.mark.parametrize("regime", REGIMES)
def test_array_stalls(regime):
    dut = make_array()
    play(dut, [array_run(dut, random_groups(dut, random.Random(2), 30))], regime=regime)


@pytest.mark.parametrize("weight_bits", [4, 8])
def test_ends_of_the_range(weight_bits):
    """The width holds both ends, and one bit less would not."""
    dut, half = make_array(weight_bits=weight_bits), 1 << (weight_bits - 1)
    groups = [
        [{"weights": [weight] * 4, "shift": 7, "gates": gates}] * MOST
        for weight in (-half, half - 1, -1, 1)
        for gates in (15, 5)
    ]
    run = array_run(dut, groups)
    assert min(run.expect[0]["sums"][0]) == -(1 << (dut.width - 1))
    play(dut, [run])


def test_a_group_without_spikes_is_zero():
    dut = make_array()
    full = {"weights": [-128, 127, 1, -1], "shift": 7, "gates": 15}
    play(dut, [array_run(dut, [[full], [{**full, "gates": 0}], [full, full]])])


def test_array_latency():
    """Two cycles after a group's last event; groups of any length follow without a gap."""
    dut, rng = make_array(), random.Random(6)
    groups = random_groups(dut, rng, 20)
    run = array_run(dut, groups)
    (played,) = play(dut, [run])
    assert played.taken == list(range(len(run.send)))
    ends = [cycle for cycle, event in enumerate(run.send) if event["last"]]
    assert played.given == [end + 2 for end in ends]


@pytest.mark.parametrize("at", range(1, 10))
def test_array_reset_in_mid_run(at):
    dut, rng = make_array(), random.Random(at)
    broken = array_run(dut, random_groups(dut, rng, 12), reset_at=at)
    play(dut, [broken, array_run(dut, random_groups(dut, rng, 8))], regime="sink", seed=at)


@pytest.mark.parametrize("name", ["lanes", "time_steps", "width"])
def test_bad_parameters(name):
    good = {"lanes": 4, "time_steps": 4, "weight_bits": 8, "width": 18, "shift_bits": 3}
    with pytest.raises(ValueError, match=rf"^{re.escape(f'{name} is 0: must be at least 1')}$"):
        SynapticArray(**{**good, name: 0})
