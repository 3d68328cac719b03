"""Storage, Fetcher and Drain."""

import random
import re

import pytest
from amaranth.sim import Simulator

from hw.drain import Drain
from hw.layer_config import ConfigSizes
from hw.storage import Storage
from sim.small_presets import small_preset
from sim.streams import REGIMES
from sim.tops import Top, drain_top, fetcher_top
from tests.play import Run, play


def simulate(dut, bench) -> None:
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()


def test_storage_reads_after_a_cycle_and_holds():
    dut = Storage(5, 12)

    async def bench(ctx):
        ctx.set(dut.write_en, 1)
        for row in range(5):
            ctx.set(dut.write_addr, row)
            ctx.set(dut.write_data, 0x100 + row)
            await ctx.tick()
        ctx.set(dut.write_addr, 3)
        ctx.set(dut.write_data, 0xABC)
        for row, enabled, wanted in (
            *((4, 1, 0x104), (2, 0, 0x104), (3, 1, 0xABC), (2, 1, 0x102), (0, 0, 0x102)),
        ):
            ctx.set(dut.read_addr, row)
            ctx.set(dut.read_en, enabled)
            await ctx.tick()
            assert ctx.get(dut.read_data) == wanted, f"row {row}, read_en {enabled}"
        # A read and a write of one row in one cycle.
        ctx.set(dut.read_addr, 3)
        ctx.set(dut.read_en, 1)
        ctx.set(dut.write_data, 0x123)
        await ctx.tick()
        assert ctx.get(dut.read_data) == 0xABC, "the old contents"
        await ctx.tick()
        assert ctx.get(dut.read_data) == 0x123

    simulate(dut, bench)


def test_storage_writes_parts_of_a_row():
    dut = Storage(2, 12, granularity=4)

    async def bench(ctx):
        for enable, word in ((7, 0x123), (2, 0xFFF), (5, 0xABC), (0, 0)):
            ctx.set(dut.write_en, enable)
            ctx.set(dut.write_data, word)
            await ctx.tick()
        ctx.set(dut.read_en, 1)
        await ctx.tick()
        assert ctx.get(dut.read_data) == 0xAFC

    simulate(dut, bench)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((0, 4, None), "storage of 0 rows of 4 bits: both must be at least 1"),
        ((4, 0, None), "storage of 4 rows of 0 bits: both must be at least 1"),
        ((4, 8, 3), "granularity is 3: must divide the width, 8"),
        ((4, 8, 0), "granularity is 0: must divide the width, 8"),
    ],
)
def test_bad_storage(shape, text):
    rows, width, granularity = shape
    with pytest.raises(ValueError, match=rf"^{re.escape(text)}$"):
        Storage(rows, width, granularity=granularity)


def make_fetcher(lanes: int = 4, time_steps: int = 2) -> Top:
    rng = random.Random(lanes)
    return fetcher_top(
        pixels=[0, 255, 1, 128, *(rng.getrandbits(8) for _ in range(28))],
        spikes=[rng.getrandbits(lanes * time_steps) for _ in range(32)],
        sizes=ConfigSizes.of(small_preset("odd")),
        lanes=lanes,
        time_steps=time_steps,
    )


def fetcher_run(dut: Top, rng: random.Random, count: int, *, pixels: int, **more) -> Run:
    """Random taps, and the chunks that lie there."""
    block = dut.block
    image, rows = (dut.memories[name][0].contents for name in ("image", "spikes"))
    every = (1 << block.time_steps) - 1
    send, expect = [], []
    for index in range(count):
        addr = index if index < 4 else rng.randrange(32)
        tap = {"row": rng.randrange(1 << block.sizes.row), "last": rng.getrandbits(1)}
        bundles = [rows[addr] >> (lane * block.time_steps) & every for lane in range(block.lanes)]
        if pixels:
            bundles = [every * (image[addr] >> bit & 1) for bit in range(8)]
        bundles += [0] * (block.entries - len(bundles))
        send.append({"addr": addr, **tap})
        expect.append({"bundles": bundles, **tap})
    return Run(send, expect, {"pixels": pixels}, **more)


@pytest.mark.parametrize("time_steps", [1, 2, 4])
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_chunks_of_spikes_and_pixels(lanes, time_steps):
    dut, rng = make_fetcher(lanes, time_steps), random.Random(time_steps)
    assert dut.block.entries == max(8, lanes)
    runs = [fetcher_run(dut, rng, 20, pixels=pixels) for pixels in (1, 0, 1)]
    for played in play(dut, runs):
        assert played.taken == list(range(20))
        assert played.given == list(range(1, 21)), "one cycle, a chunk a cycle"


@pytest.mark.parametrize("regime", REGIMES)
def test_fetcher_stalls(regime):
    dut, rng = make_fetcher(), random.Random(1)
    play(dut, [fetcher_run(dut, rng, 60, pixels=pixels) for pixels in (0, 1)], regime=regime)


@pytest.mark.parametrize("at", range(1, 6))
def test_fetcher_reset_in_mid_run(at):
    dut, rng = make_fetcher(), random.Random(at)
    broken = fetcher_run(dut, rng, 20, pixels=0, reset_at=at)
    play(dut, [broken, fetcher_run(dut, rng, 20, pixels=0)], regime="sink", seed=at)


GOOD = {
    "lanes": 8,
    "neuron_lanes": 4,
    "time_steps": 2,
    "width": 10,
    "biased_width": 13,
    "bias_bits": 12,
    "bias_rows": 21,
    "max_groups": 4,
}


def drain_run(
    dut: Top, rng: random.Random, positions: int, *, base=0, groups=1, pool=0, **more
) -> Run:
    """Groups of a layer's positions, and its slices with bias."""
    drain, biases = dut.block, dut.memories["biases"][0].contents
    slices, high = drain.lanes // drain.neuron_lanes, 1 << (drain.width - 1)
    half = 1 << (drain.bias_bits - 1)
    send, expect = [], []
    for _ in range(positions):
        for group in range(groups):
            for _ in range(4 if pool else 1):
                words = rng.choice((range(-high, high), (-high, high - 1)))
                sums = [rng.choices(words, k=drain.time_steps) for _ in range(drain.lanes)]
                send.append({"sums": sums})
                for part in range(slices):
                    row = biases[base + group * slices + part]
                    words = [row >> (lane * drain.bias_bits) for lane in range(drain.neuron_lanes)]
                    bias = [(word + half) % (2 * half) - half for word in words]
                    lanes = sums[part * drain.neuron_lanes : (part + 1) * drain.neuron_lanes]
                    joined = [[x + b for x in lane] for lane, b in zip(lanes, bias, strict=True)]
                    expect.append({"sums": joined})
    return Run(send, expect, {"bias_base": base, "last_group": groups - 1, "pool": pool}, **more)


def drain_runs(dut: Top, rng: random.Random) -> list[Run]:
    """Layers that end at the last row, pool or not, with one to four groups."""
    shapes = [
        {"base": 0, "groups": 1},
        {"base": 3, "groups": 4},
        {"base": 2, "groups": 3, "pool": 1},
        {"base": 7, "groups": 1, "pool": 1},
        {"base": 1, "groups": 2},
    ]
    return [drain_run(dut, rng, 3, **shape) for shape in shapes]


@pytest.mark.parametrize("time_steps", [1, 2, 4])
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_slices_with_bias(lanes, time_steps):
    dut = drain_top(**{**GOOD, "lanes": lanes, "time_steps": time_steps})
    runs, slices = drain_runs(dut, random.Random(lanes)), lanes // 4
    for run, played in zip(runs, play(dut, runs), strict=True):
        # ``start`` is cycle 0; 2 cycles to the first slice, ``slices + 1`` cycles a group.
        taken = [1 + (slices + 1) * k for k in range(len(run.send))]
        assert played.taken == taken
        assert played.given == [group + 2 + k for group in taken for k in range(slices)]


def test_three_slices_of_one_channel():
    dut = drain_top(**{**GOOD, "lanes": 3, "neuron_lanes": 1})
    play(dut, drain_runs(dut, random.Random(3)), regime="both")


def test_a_layer_up_to_the_last_bias():
    dut = drain_top(**{**GOOD, "bias_rows": 8, "max_groups": 3})
    runs = [drain_run(dut, random.Random(1), 4, base=2, groups=3, pool=pool) for pool in (0, 1)]
    play(dut, runs)


@pytest.mark.parametrize("regime", REGIMES)
def test_drain_stalls(regime):
    dut = drain_top(**GOOD)
    play(dut, drain_runs(dut, random.Random(5)), regime=regime)


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 6, 13])
def test_drain_reset_in_mid_run(at):
    dut, rng = drain_top(**GOOD), random.Random(at)
    broken = drain_run(dut, rng, 20, base=3, groups=3, pool=1, reset_at=at)
    play(dut, [broken, *drain_runs(dut, rng)], regime="sink", seed=at)


@pytest.mark.parametrize("neuron_lanes", [0, 3])
def test_bad_drain(neuron_lanes):
    text = f"neuron_lanes is {neuron_lanes}: must divide lanes, 8"
    with pytest.raises(ValueError, match=rf"^{re.escape(text)}$"):
        Drain(**{**GOOD, "neuron_lanes": neuron_lanes})
