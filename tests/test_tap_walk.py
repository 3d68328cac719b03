"""TapWalk against the loops of each layer's definition."""

from itertools import pairwise

import pytest

from golden.schedule import Layer, MemoryMap
from hw.layer_config import ConfigSizes, layer_records
from hw.tap_walk import TapWalk
from sim.layer_taps import layer_taps
from sim.small_presets import SHAPES, small_preset
from sim.streams import REGIMES
from tests.play import Run, play

PRESETS = sorted(SHAPES)


def make(name: str, **changes) -> tuple[TapWalk, list[Layer], list[Run], list[list[int]]]:
    """The walk of a preset, and a run for each of its layers that has weights."""
    preset = small_preset(name, **changes)
    layers, runs, cycles = [], [], []
    for layer, record in zip(MemoryMap(preset).layers, layer_records(preset), strict=True):
        if layer.has_weights:
            taps, when = layer_taps(layer, preset)
            layers.append(layer)
            runs.append(Run(expect=taps, hold={"config": record["fetch"]}))
            cycles.append(when)
    return TapWalk(sizes=ConfigSizes.of(preset)), layers, runs, cycles


def test_presets_have_every_shape():
    seen = set()
    for name in PRESETS:
        preset = small_preset(name)
        for layer in MemoryMap(preset).layers:
            many = layer.groups(preset.engine.lanes) > 1
            odd = layer.in_grid[0] % 2 == 1
            seen.add((layer.kind, layer.stride, layer.pool, many))
            seen.add((layer.kind, layer.stride, "odd" if odd else "even"))
            seen.add((layer.kind, layer.inputs))
    for shape in (
        *(("conv", stride, side) for stride in (1, 2) for side in ("odd", "even")),
        *(("pixels", channels) for channels in (1, 2, 3)),
        *(("pixels", 1, True, False), ("pixels", 2, True, False), ("conv", 1, True, True)),
        *(("dense", 1, False, True), ("dense", 1, False, False), ("head", 1, False, True)),
    ):
        assert shape in seen, f"no preset has {shape}"


@pytest.mark.parametrize("name", PRESETS)
def test_taps_and_their_cycles(name):
    dut, layers, runs, cycles = make(name)
    for layer, played, wanted in zip(layers, play(dut, runs), cycles, strict=True):
        assert played.given == wanted, f"TapWalk, {name}, {layer.name}"


@pytest.mark.parametrize("name", PRESETS)
def test_latency_is_as_stated(name):
    """What the docstring says, without the model of cycles above."""
    dut, layers, runs, _ = make(name)
    for layer, run, played in zip(layers, runs, play(dut, runs), strict=True):
        assert played.given[0] == (4 if layer.kernel == 3 else 3), f"{name}, {layer.name}"
        for (before, tap), (a, b) in zip(pairwise(run.expect), pairwise(played.given), strict=True):
            if before["last"]:
                assert b - a in (3, 4), f"{name}, {layer.name}: group after {b - a} cycles"
            else:
                assert b - a in (1, 2), f"{name}, {layer.name}: {tap} after {b - a} cycles"


@pytest.mark.parametrize("regime", REGIMES[1:])
def test_stalls(regime):
    for seed, name in enumerate(("odd", "column", "point")):
        dut, _, runs, _ = make(name)
        play(dut, runs, regime=regime, seed=seed)


def test_reset_in_mid_run():
    dut, _, runs, cycles = make("column")
    for at in (1, 2, 3, 4, 5, 17, 40, 80):
        broken = [
            Run(expect=run.expect, hold=run.hold, reset_at=at)
            for run, when in zip(runs, cycles, strict=True)
            if when[-1] > at
        ]
        play(dut, [broken[at % len(broken)], *runs], regime="sink", seed=at)


def test_more_time_steps_and_blocks_change_nothing_but_bases():
    dut, _, runs, cycles = make("even", network__blocks=2, network__time_steps=4)
    assert [played.given for played in play(dut, runs)] == cycles
