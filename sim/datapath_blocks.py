"""Benches of the blocks that need a memory beside their streams."""

import random
from itertools import product

from hw.weight_fetch import SHIFT_BITS

from .matrix import LANES, STEPS, Bench, Vectors
from .tops import FillTop, Top, drain_top, packer_top, weights_top


def _signed_words(row: int, bits: int, count: int) -> list[int]:
    """Split a row into two's complement words."""
    half = 1 << (bits - 1)
    return [((row >> (k * bits)) + half) % (2 * half) - half for k in range(count)]


def _weights(dut: Top, rng: random.Random) -> Vectors:
    fetch, rows = dut.block, dut.memories["weights"][0].contents
    pixels, align = rng.getrandbits(1), rng.randrange(1 << SHIFT_BITS)
    sends, expects = [], []
    for _ in range(48):
        index = rng.randrange(8 if pixels else fetch.entries)
        row = rng.randrange(len(rows) - fetch.entries)
        event = {"gates": rng.randrange(1 << fetch.time_steps), "last": rng.getrandbits(1)}
        sends.append({"index": index, "row": row, **event})
        bits, shift = (rows[row], index) if pixels else (rows[row + index], align)
        weights = _signed_words(bits, fetch.weight_bits, fetch.lanes)
        expects.append({"weights": weights, "shift": shift, **event})
    return Vectors({"i": sends}, {"o": expects}, {"pixels": pixels, "align": align})


def _drain(dut: Top, rng: random.Random) -> Vectors:
    drain, rows = dut.block, dut.memories["biases"][0].contents
    slices, high = drain.lanes // drain.neuron_lanes, 1 << (drain.width - 1)
    pool, groups = rng.getrandbits(1), rng.randrange(1, drain.max_groups + 1)
    base = rng.randrange(drain.bias_rows - groups * slices + 1)
    sends, expects = [], []
    for _, group, _ in product(range(3), range(groups), range(4 if pool else 1)):
        sums = [
            [rng.randrange(-high, high) for _ in range(drain.time_steps)]
            for _ in range(drain.lanes)
        ]
        sends.append({"sums": sums})
        for part in range(slices):
            row = rows[base + group * slices + part]
            biases = _signed_words(row, drain.bias_bits, drain.neuron_lanes)
            lanes = sums[part * drain.neuron_lanes : (part + 1) * drain.neuron_lanes]
            biased = [[x + b for x in lane] for lane, b in zip(lanes, biases, strict=True)]
            expects.append({"sums": biased})
    hold = {"bias_base": base, "last_group": groups - 1, "pool": pool, "start": 0}
    return Vectors({"i": sends}, {"o": expects}, hold)


def _packer(top: FillTop, rng: random.Random) -> Vectors:
    dut, pool = top.block, rng.getrandbits(1)
    sends, expects = [], []
    for _ in range(3 * dut.rows):
        row = [0] * dut.lanes
        for _ in range(4 if pool else 1):
            # Sparse enough for an OR of four to differ from each of them.
            bundles = [
                rng.getrandbits(dut.time_steps) & rng.getrandbits(dut.time_steps) for _ in row
            ]
            row = [a | b for a, b in zip(row, bundles, strict=True)]
            for at in range(0, dut.lanes, dut.slice_lanes):
                sends.append({"bundles": bundles[at : at + dut.slice_lanes]})
        expects.append({"bundles": row})
    return Vectors({"i": sends}, {"o": expects}, {"pool": pool})


DATAPATH_BLOCKS: dict[str, Bench] = {
    "drain": Bench(
        drain_top,
        [
            {
                **{"lanes": lanes, "neuron_lanes": 4, "time_steps": steps, "seed": lanes + steps},
                **{"width": 14, "biased_width": 17, "bias_bits": 16},
                **{"bias_rows": 21, "max_groups": 4},
            }
            for lanes, steps in product(LANES, STEPS)
        ],
        _drain,
    ),
    "packer": Bench(
        packer_top,
        [
            {"rows": 5, "lanes": lanes, "slice_lanes": 4, "time_steps": steps}
            for lanes, steps in product(LANES, STEPS)
        ],
        _packer,
    ),
    "weights": Bench(
        weights_top,
        [
            {
                **{"entries": max(8, lanes), "time_steps": steps, "row_bits": 6, "rows": 64},
                **{"lanes": lanes, "weight_bits": bits, "seed": lanes + steps},
            }
            for lanes, steps, bits in (*product(LANES, STEPS, (8,)), (8, 4, 4))
        ],
        _weights,
    ),
}
