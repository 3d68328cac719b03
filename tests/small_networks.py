"""Small networks with random integers in them, for tests that need a whole checkpoint."""

import numpy as np

from golden.checkpoint import Checkpoint
from golden.coefficients import COEFFICIENT_ONE, coefficient_values
from golden.schedule import coefficient_shapes, network_layers
from golden.spec import LOGIT_BITS, MAX_ALIGN, PIXEL_BITS, Preset, parse_preset

SMALL = {
    "name": "small",
    "data": {"dataset": "none", "channels": 1, "height": 8, "width": 8, "classes": 10},
    "network": {
        "time_steps": 4,
        "stages": [{"channels": 8, "pool": True}, {"channels": 16}],
        "blocks": 1,
        "heads": 2,
        "mlp_ratio": 2,
    },
    "engine": {"lanes": 8, "neuron_lanes": 4},
}

# Every switch of the network, in few networks; keys as for Preset.replace.
NETWORKS = {
    "a2os2a": {},
    "a2os2a, two blocks, T 2": {"network__blocks": 2, "network__time_steps": 2},
    "projection, T 1": {"network__projection": True, "network__time_steps": 1},
    "soft reset": {"network__neuron": {"reset": "soft"}},
    "slow decay": {"network__neuron": {"decay_shift": 2}},
    "slow decay, soft reset, projection": {
        "network__neuron": {"decay_shift": 2, "reset": "soft", "threshold": 1.5},
        "network__projection": True,
    },
    "ssa": {"network__attention": "ssa", "network__attention_scale_shift": 3},
    "ssa, projection, T 2": {
        "network__attention": "ssa",
        "network__attention_scale_shift": 2,
        "network__projection": True,
        "network__time_steps": 2,
    },
    "odd image of three channels, three stages": {
        "data__channels": 3,
        "data__height": 14,
        "data__width": 9,
        "network__stages": [
            {"channels": 8, "stride": 2},
            {"channels": 8, "stride": 1},
            {"channels": 16, "stride": 2},
        ],
        "network__heads": 4,
        "engine__attention_order": "qk",
    },
    "stages that fill no whole group": {
        "network__stages": [{"channels": 12, "pool": True}, {"channels": 6}, {"channels": 16}],
        "engine__counters": False,
    },
    "small formats": {
        "quant__weight_bits": 4,
        "quant__frac_bits": 6,
        "quant__bias_bits": 14,
        "quant__key_bits": 2,
        "quant__key_frac_bits": 1,
    },
    "16 steps, fine formats": {
        "network__time_steps": 16,
        "quant__frac_bits": 12,
        "quant__bias_bits": 32,
    },
}

# The other kinds of attention, with a switch or two each.
LOCAL_NETWORKS = {
    "lrf-ssa": {"network__attention": "lrf-ssa"},
    "lrf-ssa, binary, masked, projection": {
        "network__attention": "lrf-ssa",
        "network__qkv": "binary",
        "network__attention_scale_shift": 2,
        "network__local_causal": True,
        "network__projection": True,
        "quant__local_bits": 5,
        "quant__local_frac_bits": 2,
    },
    "lrf-ssa, one dilation, odd grid, T 2": {
        "data__height": 10,
        "data__width": 14,
        "network__time_steps": 2,
        "network__attention": "lrf-ssa",
        "network__dilations": (2,),
        "engine__attention_order": "qk",
    },
    "causal": {"network__attention": "causal"},
    "causal, decay, binary": {
        "network__attention": "causal",
        "network__causal_decay_shift": 2,
        "network__qkv": "binary",
    },
    "lrf-dyn": {"network__attention": "lrf-dyn"},
    "lrf-dyn, masked, wide grid": {
        "data__height": 8,
        "data__width": 12,
        "network__attention": "lrf-dyn",
        "network__dendrites": 3,
        "network__local_causal": True,
    },
    "lrf-dyn, one dendrite, no branch, binary, projection": {
        "network__attention": "lrf-dyn",
        "network__qkv": "binary",
        "network__dendrites": 1,
        "network__dilations": (),
        "network__projection": True,
        "network__neuron": {"threshold": 0.125},
        "quant__state_frac_bits": 5,
        "quant__read_frac_bits": 4,
    },
    "lrf-dyn, narrow state, slow decay, soft reset": {
        "network__attention": "lrf-dyn",
        "network__neuron": {"reset": "soft", "decay_shift": 2},
        "quant__state_bits": 10,
        "quant__read_bits": 6,
        "quant__read_frac_bits": 3,
    },
}

# Experts in place of the MLP, and heads left out.
MOES = {
    "top 1 of 2": {"experts": 2, "hidden": 24},
    "top 2 of 4": {"experts": 4, "hidden": 16, "top_k": 2},
    "all of 4": {"experts": 4, "hidden": 8, "top_k": 4},
    "semm": {"experts": 4, "hidden": 16, "mode": "semm"},
}
EXPERT_NETWORKS = {
    **{name: {"network__moe": moe} for name, moe in MOES.items()},
    "one head of four": {
        "network__heads": 4,
        "network__head_keep": 0.25,
        "engine__lanes": 4,
    },
    "half the heads, lrf-ssa": {
        "network__heads": 4,
        "network__head_keep": 0.5,
        "network__attention": "lrf-ssa",
        "engine__lanes": 4,
    },
}


def small_preset(**changes: object) -> Preset:
    """The smallest network with a pool, two heads and two output groups, and changes to it."""
    return parse_preset(SMALL, "small").replace(**changes)


def random_checkpoint(preset: Preset, seed: int = 0, *, full: bool = False) -> Checkpoint:
    """Random weights, biases and scales under which a fair share of neurons fire.

    With ``full``, weights and biases are spread over their whole range instead.
    """
    random = np.random.default_rng(seed)
    quant = preset.quant
    top, most = 2 ** (quant.weight_bits - 1), 2 ** (quant.bias_bits - 1)
    weights, biases, scales = {}, {}, {}
    for layer in network_layers(preset):
        if not layer.has_weights:
            continue
        scale = int(random.integers(max(0, quant.frac_bits - MAX_ALIGN), quant.frac_bits + 1))
        fraction = quant.frac_bits
        if layer.kind in ("pixels", "head"):
            fraction = scale + (PIXEL_BITS if layer.kind == "pixels" else 0)
        if full:
            weight = random.integers(-top, top, layer.weight_shape)
            bias = random.integers(-most, most, layer.outputs)
            if layer.kind == "head":
                bias = bias.clip(-most_head_bias(preset), most_head_bias(preset) - 1)
        else:
            spread = 2.0 / np.sqrt(0.3 * layer.fan_in)
            weight = np.rint(random.normal(0.02, spread, layer.weight_shape) * 2**scale)
            bias = np.rint(random.normal(0.1, 0.4, layer.outputs) * 2**fraction)
        weights[layer.name] = weight.clip(-top, top - 1).astype(np.int8)
        biases[layer.name] = bias.clip(-most, most - 1).astype(np.int32)
        scales[layer.name] = scale
    coefficients = {
        name: _coefficients(preset, name.rpartition(".")[2], shape, random, full)
        for name, shape in coefficient_shapes(preset).items()
    }
    checkpoint = Checkpoint(preset, weights, biases, scales, {"seed": str(seed)}, coefficients)
    checkpoint.check("random")
    return checkpoint


def most_head_bias(preset: Preset) -> int:
    """Bias of the head that leaves half of a logit's range to its sums, or the largest there is."""
    steps = preset.network.time_steps
    return min(2 ** (preset.quant.bias_bits - 1), 2 ** (LOGIT_BITS - 2) // steps)


def _coefficients(preset: Preset, part: str, shape, random, full: bool) -> np.ndarray:
    """Coefficients of a tensor ``local``, ``a``, ``gamma`` or ``c``, small ones unless full."""
    if part == "local" and preset.network.attention == "lrf-ssa":
        top = 2 ** (preset.quant.local_bits - 1)
        values = random.integers(-top, top, shape)
        values = values if full else values // 4
    else:
        known = coefficient_values()
        low, high = {"local": (0, 0.25), "a": (0, 0.5), "gamma": (0.25, 1), "c": (0.125, 0.5)}[part]
        sizes = abs(known) / COEFFICIENT_ONE
        values = random.choice(known[full | (low <= sizes) & (sizes <= high)], shape)
    if part == "local":
        values[:, 1:, 1, 1] = 0
    if part == "a":
        values[:, 0, 0] = values[:, -1, 2] = 0
    return values.astype(np.int16)


def random_images(preset: Preset, count: int, seed: int = 0) -> np.ndarray:
    """Noise of 8 bits, with an all-dark and an all-bright image first where there is room."""
    data = preset.data
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, data.channels, data.height, data.width))
    if count > 2:
        images[0], images[1] = 0, 255
    return images.astype(np.uint8)
