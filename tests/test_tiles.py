"""Several tiles: fork, merge, the order of channels, and whole networks."""

import random
import re

import numpy as np
import pytest
from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.sim import Simulator

from golden.schedule import MemoryMap, channel_order, network_layers
from golden.spec import Engine, SpecError, load_preset
from hw.fork import Fork
from hw.layer_config import slice_count
from hw.memory_image import bias_rows, weight_rows
from hw.merge import Merge
from sim.streams import REGIMES
from tests.small_networks import random_checkpoint, random_images, small_preset
from tests.whole_networks import check_network

# Heads and channels for eight tiles of two lanes.
EIGHT = {
    "network__stages": [{"channels": 12, "pool": True}, {"channels": 16}],
    "network__heads": 8,
    "engine__lanes": 2,
    "engine__neuron_lanes": 2,
}


def stalled(regime: str, side: str, rng: random.Random) -> bool:
    return regime in (side, "both") and rng.random() < 0.4


def run_many(dut, send: list[list[int]], wanted: list[list[int]], regime: str, reset_at=None):
    """Play streams into and out of lists of ports, broken off once by a reset; cycles it took."""
    reset, top = Signal(), Module()
    top.submodules.dut = ResetInserter(reset)(dut)
    top.d.sync += Signal().eq(1)  # A fork of one is a wire, but benches need a clock.
    sources = list(dut.i) if isinstance(dut, Merge) else [dut.i]
    sinks = list(dut.o) if isinstance(dut, Fork) else [dut.o]
    spent = []

    async def play(ctx, stop):
        rng = random.Random(1)
        taken, given = [0] * len(sources), [0] * len(sinks)
        offered = [False] * len(sources)
        for cycle in range(1000):
            if given == [len(part) for part in wanted] or cycle == stop:
                spent.append(cycle)
                return
            for index, source in enumerate(sources):
                left = taken[index] < len(send[index])
                offered[index] |= left and not stalled(regime, "source", rng)
                ctx.set(source.valid, offered[index])
                if offered[index]:
                    ctx.set(source.payload, send[index][taken[index]])
            open_ = [not stalled(regime, "sink", rng) for _ in sinks]
            for sink, ready in zip(sinks, open_, strict=True):
                ctx.set(sink.ready, ready)
            seen = await ctx.tick().sample(
                *(s.ready for s in sources), *(s.valid for s in sinks), *(s.payload for s in sinks)
            )
            seen = seen[-len(sources) - 2 * len(sinks) :]
            for index in range(len(sources)):
                if offered[index] and seen[index]:
                    taken[index] += 1
                    offered[index] = False
            valids, payloads = seen[len(sources) : -len(sinks)], seen[-len(sinks) :]
            for index, (valid, payload) in enumerate(zip(valids, payloads, strict=True)):
                if valid and open_[index]:
                    where = f"{type(dut).__name__}, cycle {cycle}, {regime}, stream {index}"
                    assert given[index] < len(wanted[index]), f"{where}: one too many"
                    assert payload == wanted[index][given[index]], f"{where}: {given[index]}"
                    given[index] += 1
        raise AssertionError(f"{type(dut).__name__}, {regime}: {given} of {wanted}")

    async def bench(ctx):
        if reset_at is not None:
            await play(ctx, reset_at)
            ctx.set(reset, 1)
            for source in sources:
                ctx.set(source.valid, 0)
            await ctx.tick()
            ctx.set(reset, 0)
        await play(ctx, None)

    sim = Simulator(top)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return spent[-1]


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("reset_at", [None, 5])
@pytest.mark.parametrize("sinks", [1, 2, 4])
def test_fork_gives_each_sink_everything_once(sinks, regime, reset_at):
    payloads = [random.Random(sinks).getrandbits(8) for _ in range(30)]
    cycles = run_many(Fork(8, sinks), [payloads], [payloads] * sinks, regime, reset_at)
    assert regime != "none" or cycles == 30


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("reset_at", [None, 5])
@pytest.mark.parametrize(("sources", "run"), [(1, 1), (2, 3), (3, 1), (4, 2)])
def test_merge_takes_turns(sources, run, regime, reset_at):
    send = [[16 * source + k for k in range(4 * run)] for source in range(sources)]
    wanted = [
        send[source][turn * run + k]
        for turn in range(4)
        for source in range(sources)
        for k in range(run)
    ]
    cycles = run_many(Merge(8, sources=sources, run=run), send, [wanted], regime, reset_at)
    assert regime != "none" or cycles == len(wanted)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Fork(8, 0), "sinks is 0: must be at least 1"),
        (lambda: Merge(8, sources=0, run=1), "sources is 0: must be at least 1"),
        (lambda: Merge(8, sources=2, run=0), "run is 0: must be at least 1"),
    ],
)
def test_bad_parameters(make, text):
    with pytest.raises(ValueError, match=rf"^{re.escape(text)}$"):
        make()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"engine__tiles": 3}, "engine.tiles is 3: must be 1, 2, 4 or 8"),
        ({"engine__tiles": 4}, "network.heads is 2: must be a multiple of engine.tiles, 4"),
        (
            {"engine__tiles": 2, "engine__lanes": 16},
            "network.stages[1].channels is 16: must be a multiple of"
            " engine.tiles * engine.lanes, 32",
        ),
    ],
)
def test_a_network_that_does_not_divide(changes, text):
    with pytest.raises(SpecError, match=rf"^preset small: {re.escape(text)}$"):
        small_preset(**changes)


def test_tiles_have_adjacent_channels():
    assert channel_order(8, Engine(tiles=2, lanes=2, neuron_lanes=1)) == [0, 1, 4, 5, 2, 3, 6, 7]
    assert channel_order(8, Engine(tiles=1, lanes=2, neuron_lanes=1)) == list(range(8))
    assert channel_order(8, Engine(tiles=4, lanes=2, neuron_lanes=1)) == list(range(8))


def unpack(row: int, bits: int, count: int) -> list[int]:
    half = 1 << (bits - 1)
    words = [row >> (bits * k) & (2 * half - 1) for k in range(count)]
    return [(word ^ half) - half for word in words]


@pytest.mark.parametrize("tiles", [1, 2, 4, 8])
def test_rows_of_all_tiles(tiles):
    """Weights and biases lie where the tile finds them that computes their channel."""
    preset = small_preset(**{**EIGHT, "engine__tiles": tiles, "engine__neuron_lanes": 1})
    checkpoint, engine = random_checkpoint(preset, seed=1), preset.engine
    where, quant = MemoryMap(preset), preset.quant
    weights = [unpack(row, quant.weight_bits, engine.all_lanes) for row in weight_rows(checkpoint)]
    biases = [unpack(row, quant.bias_bits, tiles) for row in bias_rows(checkpoint)]
    assert (len(weights), len(biases)) == (where.weight_rows, where.bias_rows)
    for layer in network_layers(preset):
        if not layer.has_weights:
            continue
        share = layer.groups(engine.all_lanes) * engine.lanes
        weight = checkpoint.weights[layer.name].reshape(layer.outputs, layer.inputs, -1)
        for channel in range(layer.outputs):
            if not layer.by_head:
                group, place = divmod(channel, engine.all_lanes)
                tile, lane = divmod(place, engine.lanes)
            else:
                tile, own = divmod(channel, share)
                group, lane = divmod(own, engine.lanes)
            row = where.bias_base[layer.name] + group * engine.lanes + lane
            assert biases[row][tile] == checkpoint.biases[layer.name][channel], layer.name
            for tap in range(weight.shape[2]):
                first = where.weight_base[layer.name] + group * layer.fan_in + tap * layer.inputs
                rows = weights[first : first + layer.inputs]
                column = [row[tile * engine.lanes + lane] for row in rows]
                wanted = weight[channel, where.input_order[layer.name][: layer.inputs], tap]
                assert np.array_equal(column, wanted), f"{layer.name}, channel {channel}"


def test_a_tile_makes_its_share_of_slices():
    alone, four = (load_preset("base").replace(engine__lanes=8, engine__tiles=n) for n in (1, 4))
    for layer in network_layers(alone):
        if layer.kind != "head":
            assert slice_count(layer, alone) == 4 * slice_count(layer, four), layer.name


@pytest.mark.slow
@pytest.mark.parametrize("tiles", [2, 4, 8])
@pytest.mark.parametrize("regime", REGIMES)
def test_networks_on_tiles(tiles, regime, tmp_path):
    changes = {
        2: {"network__projection": True, "network__time_steps": 2, "engine__neuron_lanes": 1},
        4: {"network__blocks": 2, "engine__attention_order": "qk"},
        8: {"network__attention": "ssa", "network__attention_scale_shift": 2},
    }[tiles]
    preset = small_preset(**{**EIGHT, **changes, "engine__tiles": tiles, "data__classes": 19})
    check_network(
        preset,
        random_checkpoint(preset, seed=tiles),
        random_images(preset, 4),
        f"tiles-{tiles}",
        tmp_path,
        regime=regime,
    )


@pytest.mark.slow
def test_tiny_on_two_tiles(tmp_path):
    """A trained network on real images."""
    from golden.checkpoint import Checkpoint, checkpoint_path
    from golden.data import load_test_images

    preset = load_preset("tiny").replace(engine__tiles=2, engine__lanes=8)
    checkpoint = Checkpoint.load(checkpoint_path(preset), preset)
    images, _ = load_test_images(preset, 20)
    check_network(preset, checkpoint, images, "tiny-2", tmp_path)
