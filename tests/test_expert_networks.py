"""Experts in RTL: whole networks against the integer model, on all numbers of tiles."""

from dataclasses import replace

import numpy as np
import pytest

from golden.integer import IntegerModel
from hw.work_counters import TILE_WORDS
from sim.streams import REGIMES
from tests.small_networks import random_checkpoint, random_images, small_preset
from tests.test_tiles import EIGHT
from tests.whole_networks import check_network

# Preset's changes; router's biases push tokens to the experts named, None leaves them random.
CASES = {
    "top 1 of 2, one head of two": (
        {"network__moe": {"experts": 2, "hidden": 24}, "network__head_keep": 0.5},
        None,
    ),
    "top 2 of 4, 2 tiles, 2 blocks": (
        {
            "network__moe": {"experts": 4, "hidden": 16, "top_k": 2},
            "network__blocks": 2,
            "network__projection": True,
            "engine__tiles": 2,
            "engine__queue_tokens": 2,
        },
        None,
    ),
    "all to the last of 4, 4 tiles": (
        {
            **EIGHT,
            "network__moe": {"experts": 4, "hidden": 6},
            "engine__tiles": 4,
            "engine__queue_tokens": 3,
        },
        [3],
    ),
    "k = E = 8, jobs of one slice, 8 tiles": (
        {
            **EIGHT,
            "network__moe": {"experts": 8, "hidden": 2, "top_k": 8},
            "engine__tiles": 8,
            "network__time_steps": 2,
        },
        None,
    ),
    "k of 16, jobs of one slice, 2 tiles": (
        {
            "network__moe": {"experts": 16, "hidden": 8, "top_k": 5},
            "engine__tiles": 2,
            "engine__neuron_lanes": 8,
            "network__time_steps": 1,
        },
        None,
    ),
    "semm, 2 tiles": (
        {
            "network__moe": {"experts": 4, "hidden": 16, "mode": "semm"},
            "engine__tiles": 2,
            "network__attention": "ssa",
        },
        None,
    ),
    "semm, T 2, experts that never serve": (
        {
            "network__moe": {"experts": 6, "hidden": 8, "mode": "semm"},
            "network__time_steps": 2,
            "engine__neuron_lanes": 1,
        },
        [1, 4],
    ),
}


def push(checkpoint, experts):
    """Copy whose router sends every token to these experts and to no other."""
    biases = dict(checkpoint.biases)
    for name, bias in biases.items():
        if name.endswith("router"):
            top = 2 ** (checkpoint.preset.quant.bias_bits - 3)
            biases[name] = np.full_like(bias, -top)
            biases[name][experts] = top
    return replace(checkpoint, biases=biases)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_networks_with_experts(case, tmp_path):
    changes, experts = CASES[case]
    preset, seed = small_preset(**changes), list(CASES).index(case)
    checkpoint = random_checkpoint(preset, seed=seed)
    if experts is not None:
        checkpoint = push(checkpoint, experts)
    images = random_images(preset, 3)
    _, _, lines = check_network(
        preset, checkpoint, images, f"experts-{seed}", tmp_path, regime=REGIMES[seed % 4]
    )
    trace = IntegerModel(checkpoint).run(images).layers
    served = {
        f"{name}.expert{expert}": tokens
        for name, record in trace.items()
        if record.layer.kind == "router"
        for expert, tokens in enumerate(record.routed.amax(0).sum(1).T.tolist())
    }
    for index, line in enumerate(lines):
        for name, tokens in served.items():
            assert line["work"][name] == tokens[index], f"image {index}, {name}"
        for tile in range(preset.engine.tiles):
            spent = sum(line["work"][f"tile{tile}.{word}"] for word in TILE_WORDS)
            assert spent == line["cycles"] + 1, f"image {index}, tile {tile}"
