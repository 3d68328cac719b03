"""Sequencer: order of layers, their configuration, and counters to the cycle."""

import random
from dataclasses import dataclass, field

import pytest
from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.sim import Simulator

from hw.layer_config import ConfigSizes, layer_records
from hw.sequencer import Sequencer
from sim.small_presets import small_preset
from sim.streams import REGIMES, pack


@dataclass
class Image:
    """What a run did; cycles count from that of ``start``, which is 0."""

    layers: list[int] = field(default_factory=list)
    reads: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    stalls: list[int] = field(default_factory=list)
    counters: dict[int, int] = field(default_factory=dict)
    done: int | None = None
    cycles: int = 0


class Bench:
    """Plays the blocks around a sequencer: slices and events at random."""

    def __init__(self, *, counters: bool, regime: str, seed: int = 0) -> None:
        preset = small_preset("point", engine__counters=counters, network__blocks=2)
        self.sizes, self.records = ConfigSizes.of(preset), layer_records(preset)
        self.dut = Sequencer(sizes=self.sizes, records=self.records, counters=counters)
        self.regime, self.rng = regime, random.Random(seed)
        self.images: list[Image] = []

    def run(self, *break_off: int | None) -> None:
        """Run an image for each argument: to its end, or to a reset after so many cycles."""
        reset, top = Signal(), Module()
        top.submodules.dut = ResetInserter(reset)(self.dut)

        async def bench(ctx):
            for cycles in break_off:
                await self._image(ctx, cycles)
                if cycles is not None:
                    ctx.set(reset, 1)
                    await ctx.tick()
                    ctx.set(reset, 0)

        sim = Simulator(top)
        sim.add_clock(1e-6)
        sim.add_testbench(bench)
        sim.run()

    async def _image(self, ctx, break_off: int | None) -> None:
        dut, rng, image = self.dut, self.rng, Image()
        self.images.append(image)
        waits = {"none": (1, 1), "source": (1, 0.4), "sink": (0.4, 1), "both": (0.3, 0.3)}
        slice_rate, event_rate = waits[self.regime]
        left, running, after = 0, False, 0
        cycle = 0
        while after < 4:
            ctx.set(dut.start, cycle == 0)
            delivers = running and left > 0 and rng.random() < slice_rate
            event = running and rng.random() < event_rate
            ctx.set(dut.slice_done, delivers)
            ctx.set(dut.event, event)
            (
                *_,
                layer,
                start,
                read,
                config,
                enable,
                addr,
                word,
                done,
                cycles,
            ) = await ctx.tick().sample(
                *(dut.layer, dut.layer_start, dut.layer_read, dut.config.as_value()),
                *(dut.counter_en, dut.counter_addr, dut.counter_data, dut.done, dut.cycles),
            )
            if read:
                image.reads.append(cycle)
            if start:
                assert not running, f"cycle {cycle}: layer {layer} before the last one's end"
                image.layers.append(layer)
                image.starts.append(cycle)
                image.stalls.append(0)
                running, left = True, self.records[layer]["slices"]
            if running:
                wanted = pack(self.sizes.layout(), self.records[image.layers[-1]])
                assert config == wanted, f"cycle {cycle}: configuration of layer {layer}"
                assert layer == image.layers[-1], f"cycle {cycle}: layer {layer}"
                image.stalls[-1] += not event
            if delivers:
                left -= 1
                if not left:
                    image.ends.append(cycle)
                    running = False
            if enable:
                assert addr not in image.counters, f"cycle {cycle}: counter {addr} again"
                image.counters[addr] = word
            if done:
                assert image.done is None, f"cycle {cycle}: done again"
                image.done, image.cycles = cycle, cycles
            if cycle == break_off:
                return
            after += image.done is not None
            cycle += 1
            assert cycle < 4000, f"no end; layers {image.layers}"

    def check(self, image: Image) -> None:
        """Hold a whole run to the docstring."""
        between = 4 if self.dut.counters else 2
        assert image.layers == list(range(len(self.records)))
        assert image.starts[0] == 2
        gaps = [b - a - 1 for a, b in zip(image.ends, image.starts[1:], strict=False)]
        assert gaps == [between] * (len(self.records) - 1)
        assert image.reads == [start - 1 for start in image.starts], "formats, a cycle ahead"
        assert image.done == image.ends[-1] + between - 1
        assert image.cycles == image.done - 1, "cycles between start and done"
        wanted = {}
        if self.dut.counters:
            for layer, (start, end) in enumerate(zip(image.starts, image.ends, strict=True)):
                wanted[2 * layer] = end - start + 1
                wanted[2 * layer + 1] = image.stalls[layer]
        assert image.counters == wanted


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("counters", [False, True])
def test_layers_and_counters(counters, regime):
    bench = Bench(counters=counters, regime=regime)
    bench.run(None, None)
    for image in bench.images:
        bench.check(image)


@pytest.mark.parametrize("counters", [False, True])
def test_reset_in_mid_run(counters):
    for at in (0, 1, 2, 3, 4, 7, 20, 31):
        bench = Bench(counters=counters, regime="both", seed=at)
        bench.run(at, None)
        bench.check(bench.images[1])


def test_nothing_runs_without_start():
    bench = Bench(counters=True, regime="none")
    dut = bench.dut

    async def idle(ctx):
        ctx.set(dut.slice_done, 1)
        ctx.set(dut.event, 1)
        for _ in range(8):
            _, _, *busy = await ctx.tick().sample(
                dut.done, dut.layer_start, dut.layer_read, dut.counter_en
            )
            assert not any(busy)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(idle)
    sim.run()


def test_every_slice_of_a_layer_counts():
    """The records say how many slices each sink gets."""
    preset = small_preset("odd", network__projection=True)
    engine, net = preset.engine, preset.network
    slices = [record["slices"] for record in layer_records(preset)]
    pixels, tokens, dim = 35, 12, net.channels
    outputs = [
        *(pixels * 4, tokens * dim, tokens * dim, tokens * 3 * dim, tokens * dim),
        *(tokens * dim, tokens * 2 * dim, tokens * dim),
    ]
    # Five classes fill two groups of four lanes.
    assert slices == [each // engine.neuron_lanes for each in [*outputs, 8]]
