"""The blocks that have a bench: their configurations, and vectors from the golden model."""

import random
from itertools import product

import torch

from golden.attention import attention
from golden.causal import attend_causal
from golden.neurons import lif, relu_clip
from hw.attention import AttentionCore
from hw.causal import CausalCore
from hw.encoder import Encoder
from hw.layouts import NeuronKind
from hw.neuron_array import NeuronArray
from hw.synaptic_array import SynapticArray

from .control_blocks import CONTROL_BLOCKS
from .datapath_blocks import DATAPATH_BLOCKS
from .expert_blocks import EXPERT_BLOCKS
from .matrix import LANES, STEPS, Bench, Vectors


def _neurons(dut: NeuronArray, rng: random.Random) -> Vectors:
    threshold = rng.randrange(1, 1 << (dut.width - 3))
    high = 1 << (dut.width - 1)
    sends, expects = [], []
    for _ in range(24):
        kind = rng.choice(sorted(dut.kinds, key=lambda kind: kind.value))
        reach = rng.choice((4 * threshold, high))
        reach = min(reach, high)
        sums = [
            [rng.randrange(-reach, reach) for _ in range(dut.time_steps)] for _ in range(dut.lanes)
        ]
        sends.append({"sums": sums, "kind": kind})
        x = torch.tensor(sums).T
        if kind in (NeuronKind.BINARY, NeuronKind.TERNARY):
            ternary = kind is NeuronKind.TERNARY
            decay = {"decay_shift": dut.decay_shift, "reset": dut.reset}
            values = lif(x, threshold, ternary=ternary, **decay) & 3
        elif kind is NeuronKind.RELU:
            values = relu_clip(x, shift=dut.key_shift, bits=dut.key_bits)
        else:
            values = x
        expects.append({"values": values.T.tolist()})
    return Vectors({"i": sends}, {"o": expects}, {"threshold": threshold})


def _synapses(dut: SynapticArray, rng: random.Random) -> Vectors:
    high = 1 << (dut.weight_bits - 1)
    sends, expects = [], []
    for _ in range(12):
        events = rng.choice((1, 2, 3, 8))
        sums = [[0] * dut.time_steps for _ in range(dut.lanes)]
        for index in range(events):
            weights = [rng.randrange(-high, high) for _ in range(dut.lanes)]
            shift, gates = rng.randrange(1 << dut.shift_bits), rng.randrange(1 << dut.time_steps)
            event = {"weights": weights, "shift": shift, "gates": gates}
            sends.append({**event, "last": index == events - 1})
            for lane, step in product(range(dut.lanes), range(dut.time_steps)):
                sums[lane][step] += (weights[lane] << shift) * (gates >> step & 1)
        expects.append({"sums": sums})
    return Vectors({"i": sends}, {"o": expects})


def _encoder(dut: Encoder, rng: random.Random) -> Vectors:
    sends, expects = [], []
    for _ in range(12):
        chunks, density = rng.choice((1, 2, 4)), rng.choice((0.0, 0.1, 0.5, 1.0))
        events = []
        for index in range(chunks):
            row, last = rng.randrange(1 << dut.row_bits), index == chunks - 1
            bundles = [
                rng.randrange(1, 1 << dut.time_steps) if rng.random() < density else 0
                for _ in range(dut.entries)
            ]
            sends.append({"bundles": bundles, "row": row, "last": last})
            events += [(at, gates, row) for at, gates in enumerate(bundles) if gates]
            if last and not any(bundles):
                events.append((None, 0, row))
        expects += [
            {"index": at or 0, "gates": gates, "row": row, "last": place == len(events) - 1}
            for place, (at, gates, row) in enumerate(events)
        ]
    return Vectors({"i": sends}, {"o": expects})


def _attention(dut: AttentionCore | CausalCore, rng: random.Random) -> Vectors:
    sends, expects = [], []
    generator = torch.Generator().manual_seed(rng.randrange(1 << 32))
    shape = (dut.time_steps, 1, dut.heads, dut.tokens, dut.head_channels)
    for density in (0.4, 0.05):
        dense = [(torch.rand(shape, generator=generator) < density).long() for _ in range(2)]
        levels = torch.randint(1, 1 << dut.key_bits, shape, generator=generator)
        query, key = dense[0], dense[1] * levels
        value = torch.randint(-1, 2, shape, generator=generator)
        codes = torch.stack((key, value & 3, query))[:, :, 0].permute(3, 2, 0, 4, 1)
        slices = codes.reshape(-1, dut.lanes, dut.time_steps).tolist()
        sends += [{"values": part} for part in slices]
        rule = {"decay_shift": dut.decay_shift, "reset": dut.reset}
        if isinstance(dut, CausalCore):
            sums = attend_causal(query, key, value, decay_shift=dut.state_decay_shift)
            spikes = lif(sums, dut.threshold, **rule)
        else:
            spikes = attention(query, key, value, dut.threshold, order=dut.order, **rule)
        weights = 1 << torch.arange(dut.time_steps)
        bundles = torch.einsum("thnd,t->nhd", spikes[:, 0].long(), weights)
        expects += [{"bundles": part} for part in bundles.reshape(-1, dut.lanes).tolist()]
    return Vectors({"i": sends}, {"o": expects})


BLOCKS: dict[str, Bench] = {
    "attention": Bench(
        AttentionCore,
        [
            {
                **{"order": order, "time_steps": steps, "lanes": lanes, "reset": reset},
                **{"tokens": 3, "heads": 2, "head_channels": max(8, lanes)},
                **{"key_bits": 4, "value_bits": 4, "threshold": 20},
            }
            for order, steps, lanes, reset in (
                *product(("kv", "qk"), STEPS, LANES, ("hard",)),
                *product(("kv", "qk"), (4,), (4,), ("soft",)),
            )
        ],
        _attention,
    ),
    "causal": Bench(
        CausalCore,
        [
            {
                **{"time_steps": steps, "lanes": 4, "state_decay_shift": decay, "heads": heads},
                **{"tokens": 3, "head_channels": 8},
                **{"key_bits": 4, "value_bits": 4, "threshold": 20},
            }
            for steps, decay, heads in ((1, 0, 1), (2, 0, 4), (4, 0, 2), (4, 2, 2))
        ],
        _attention,
    ),
    "encoder": Bench(
        Encoder,
        [{"entries": n, "time_steps": t, "row_bits": 8} for n, t in product(LANES, STEPS)],
        _encoder,
    ),
    "neuron_array": Bench(
        NeuronArray,
        [
            {
                **{"lanes": lanes, "time_steps": steps, "reset": reset, "decay_shift": decay},
                **{"width": 14, "threshold_bits": 13, "value_bits": 14},
                **{"key_shift": 3, "key_bits": 4, "kinds": frozenset(NeuronKind)},
            }
            for lanes, steps, reset, decay in (
                *product(LANES, STEPS, ("hard",), (1,)),
                *product((4,), STEPS, ("soft",), (1,)),
                *product((4,), (4,), ("hard", "soft"), (2,)),
            )
        ],
        _neurons,
    ),
    "synaptic_array": Bench(
        SynapticArray,
        [
            {"lanes": p, "time_steps": t, "weight_bits": 8, "width": 18, "shift_bits": 2}
            for p, t in product(LANES, STEPS)
        ],
        _synapses,
    ),
    **CONTROL_BLOCKS,
    **DATAPATH_BLOCKS,
    **EXPERT_BLOCKS,
}
