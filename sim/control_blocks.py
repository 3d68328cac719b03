"""Benches of the blocks that run layers: tap walk, fetcher, residual, logits, sequencer."""

import random
from itertools import product

from golden.schedule import MemoryMap
from hw.layer_config import ConfigSizes, layer_records
from hw.layouts import NeuronKind
from hw.residual import ResidualMode
from hw.sequencer import Sequencer
from hw.tap_walk import TapWalk

from .layer_taps import layer_taps
from .layered import Layered, LayerRun
from .matrix import LANES, STEPS, Bench, Vectors
from .sequencer_top import SequencerTop
from .small_presets import SHAPES, small_preset
from .tops import FillTop, fetcher_top, logits_top, residual_top

TAPS = 20


class TapWalkLayers(Layered):
    """The tap walk of a small preset, which runs all layers that have weights.

    Parameters
    ----------
    preset : its name
    time_steps : T, on which the addresses must not depend

    Members
    -------
    o : Out, as of :class:`hw.tap_walk.TapWalk`
    taps : what must come
    """

    def __init__(self, *, preset: str, time_steps: int) -> None:
        spec = small_preset(preset, network__time_steps=time_steps)
        self.taps, layers = [], []
        for layer, record in zip(MemoryMap(spec).layers, layer_records(spec), strict=True):
            if layer.has_weights:
                taps, _ = layer_taps(layer, spec)
                self.taps += taps
                layers.append(LayerRun({"config": record["fetch"]}, 0, len(taps)))
        super().__init__(TapWalk(sizes=ConfigSizes.of(spec)), layers)


def _tap_walk(dut: TapWalkLayers, rng: random.Random) -> Vectors:
    return Vectors({}, {"o": dut.taps})


def _fetcher_layers(*, lanes: int, time_steps: int) -> Layered:
    rng = random.Random(lanes + time_steps)
    top = fetcher_top(
        pixels=[0, 255, 1, 128, *(rng.getrandbits(8) for _ in range(28))],
        spikes=[rng.getrandbits(lanes * time_steps) for _ in range(32)],
        sizes=ConfigSizes.of(small_preset("odd")),
        lanes=lanes,
        time_steps=time_steps,
    )
    return Layered(top, [LayerRun({"pixels": pixels}, TAPS, TAPS) for pixels in (1, 0, 1, 0)])


def _fetcher(dut: Layered, rng: random.Random) -> Vectors:
    fetcher, memories = dut.block.block, dut.block.memories
    image, spikes = (memories[name][0].contents for name in ("image", "spikes"))
    steps, every = fetcher.time_steps, (1 << fetcher.time_steps) - 1
    sends, expects = [], []
    for run, index in product(dut.layers, range(TAPS)):
        addr = index if index < 4 else rng.randrange(len(spikes))
        tap = {"row": rng.randrange(1 << fetcher.sizes.row), "last": rng.getrandbits(1)}
        if run.hold["pixels"]:
            bundles = [every * (image[addr] >> bit & 1) for bit in range(8)]
        else:
            bundles = [spikes[addr] >> (lane * steps) & every for lane in range(fetcher.lanes)]
        bundles += [0] * (fetcher.entries - len(bundles))
        sends.append({"addr": addr, **tap})
        expects.append({"bundles": bundles, **tap})
    return Vectors({"i": sends}, {"o": expects})


def _residual_layers(*, lanes: int, time_steps: int, rows: int, head_slices: int) -> Layered:
    kinds = (NeuronKind.RELU, NeuronKind.TERNARY, NeuronKind.BINARY)
    top = residual_top(
        lanes=lanes,
        time_steps=time_steps,
        in_width=8,
        stored_width=10,
        width=10,
        rows=rows,
        head_slices=head_slices,
        kinds=kinds,
    )
    image = (
        (ResidualMode.NONE, 0, 2 * rows + 1),
        (ResidualMode.SET, 0, rows),
        (ResidualMode.ADD, 0, rows),
        (ResidualMode.NONE, 1, 3 * rows),
        (ResidualMode.ADD, 0, rows),
        (ResidualMode.NONE, 0, 3),
        (ResidualMode.ADD, 0, rows),
    )
    layers = [LayerRun({"mode": mode, "qkv": qkv}, n, n) for mode, qkv, n in image * 2]
    return Layered(top, layers)


def _residual(dut: Layered, rng: random.Random) -> Vectors:
    residual = dut.block.block
    high = 1 << (residual.in_width - 1)
    zeros = [[0] * residual.time_steps for _ in range(residual.lanes)]
    kept = [zeros] * residual.rows
    sends, expects = [], []
    for run in dut.layers:
        mode = run.hold["mode"]
        for index in range(run.takes):
            # Four of either end are as wide as a residual can be.
            words = rng.choice((range(-high, high), (-high, high - 1)))
            sums = [rng.choices(words, k=residual.time_steps) for _ in zeros]
            base = kept[index] if mode is ResidualMode.ADD else zeros
            total = [
                [x + y for x, y in zip(*lane, strict=True)] for lane in zip(sums, base, strict=True)
            ]
            if mode is not ResidualMode.NONE:
                kept[index] = total
            kind = residual.kinds[index // residual.head_slices % 3]
            sends.append({"sums": sums})
            expects.append({"sums": total, "kind": kind if run.hold["qkv"] else NeuronKind.BINARY})
    return Vectors({"i": sends}, {"o": expects})


def _logits(dut: FillTop, rng: random.Random) -> Vectors:
    logits = dut.block
    high = 1 << (logits.width - 1)
    sends, expects = [], []
    for _ in range(4 * logits.words // logits.lanes):
        words = rng.choice((range(-high, high), (-high,), (high - 1,)))
        sums = [rng.choices(words, k=logits.time_steps) for _ in range(logits.lanes)]
        sends.append({"sums": sums})
        expects += [sum(steps) for steps in sums]
    return Vectors({"i": sends}, {"o": expects})


def _sequencer_top(*, preset: str, blocks: int, counters: bool) -> SequencerTop:
    spec = small_preset(preset, network__blocks=blocks)
    sizes, records = ConfigSizes.of(spec), layer_records(spec)
    return SequencerTop(Sequencer(sizes=sizes, records=records, counters=counters), images=2)


def _sequencer(dut: SequencerTop, rng: random.Random) -> Vectors:
    sends, expects, before = [], [], 0
    for _ in range(dut.images):
        for index, record in enumerate(dut.sequencer.records):
            told = {"layer": index, "config": record, "read": 1, "done": 0}
            expects.append({**told, "slices": before})
            before = record["slices"]
            sends += [rng.getrandbits(1) for _ in range(before)]
        expects.append({"layer": 0, "read": 0, "done": 1, "slices": before})
        before = 0
    return Vectors({"i": sends}, {"o": expects})


CONTROL_BLOCKS: dict[str, Bench] = {
    "fetcher": Bench(
        _fetcher_layers,
        [{"lanes": lanes, "time_steps": steps} for lanes, steps in product(LANES, STEPS)],
        _fetcher,
    ),
    "logits": Bench(
        logits_top,
        [
            {"lanes": lanes, "time_steps": steps, "width": 12, "words": 3 * lanes}
            for lanes, steps in product(LANES, STEPS)
        ],
        _logits,
    ),
    "residual": Bench(
        _residual_layers,
        [
            {"lanes": lanes, "time_steps": steps, "rows": rows, "head_slices": head_slices}
            for lanes, steps, rows, head_slices in (
                *((4, 4, 6, 2), (8, 2, 6, 2), (16, 1, 6, 2)),
                *((4, 2, 7, 1), (4, 2, 7, 3)),
            )
        ],
        _residual,
    ),
    "sequencer": Bench(
        _sequencer_top,
        [
            {"preset": preset, "blocks": blocks, "counters": counters}
            for preset, blocks, counters in (
                ("point", 1, False),
                ("point", 2, True),
                ("odd", 1, True),
            )
        ],
        _sequencer,
    ),
    "tap_walk": Bench(
        TapWalkLayers,
        [
            *({"preset": preset, "time_steps": 2} for preset in sorted(SHAPES)),
            *({"preset": "column", "time_steps": steps} for steps in (1, 4)),
        ],
        _tap_walk,
    ),
}
