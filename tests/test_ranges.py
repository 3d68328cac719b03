"""Widths hold the extreme sums, and a bit less would not: shown on plain integers."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from golden.checkpoint import Checkpoint
from golden.integer import IntegerModel
from golden.ranges import Widths, built_widths, checkpoint_widths, format_widths
from golden.schedule import network_layers
from golden.spec import SpecError, load_preset
from hw.memory_image import checkpoint_requests
from tests.small_networks import (
    NETWORKS,
    most_head_bias,
    random_checkpoint,
    random_images,
    small_preset,
)

FIELDS = ("sums", "biased", "residual", "potential")
networks = pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)


def fits(value: int, bits: int) -> bool:
    """Whether two's complement of so many bits holds the value."""
    return -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)


def extremes(checkpoint: Checkpoint) -> dict[str, list[int]]:
    """Values that the datapath meets when an input drives one channel as far as it goes.

    For each channel and sign, every input whose weight has the sign is set; sums are added up input
    by input in plain integers, and each partial sum is noted.
    """
    preset = checkpoint.preset
    met = {name: [0] for name in FIELDS}
    stream = {}
    for layer in network_layers(preset):
        for sign in (-1, 1):
            for channel in range(layer.outputs):
                if layer.has_weights:
                    row = checkpoint.weights[layer.name][channel].reshape(-1).tolist()
                    most = {"pixels": 255, "head": preset.tokens}.get(layer.kind, 1)
                    total = 0
                    for weight in row:
                        if weight * sign > 0:
                            total += (weight * most) * 2 ** checkpoint.align(layer)
                    met["sums"].append(total)
                    total += int(checkpoint.biases[layer.name][channel])
                else:
                    total = 2**preset.quant.frac_bits if sign > 0 else 0
                met["biased"].append(total)
                if layer.residual != "none":
                    before = 0 if layer.residual == "set" else stream[sign, channel]
                    stream[sign, channel] = total = before + total
                    met["residual"].append(total)
                if layer.neuron != "none":
                    met["potential"].append(total)
    return met


def assert_just_fits(met: dict[str, list[int]], widths: Widths) -> None:
    for name, values in met.items():
        bits = getattr(widths, name)
        assert all(fits(value, bits) for value in values), name
        assert not all(fits(value, bits - 1) for value in values), f"{name}: a bit less would do"


@networks
@pytest.mark.parametrize("full", [False, True])
def test_checkpoint_widths_just_hold_the_extremes(changes, full):
    checkpoint = random_checkpoint(small_preset(**changes), seed=5, full=full)
    assert_just_fits(extremes(checkpoint), checkpoint_widths(checkpoint))


@pytest.mark.parametrize("sign", [-1, 1])
def test_one_sided_weights(sign):
    """Without the other sign it is this one that sets the widths."""
    checkpoint = random_checkpoint(small_preset(), seed=2, full=True)
    for weight in checkpoint.weights.values():
        np.copyto(weight, np.abs(weight.astype(np.int16)).clip(0, 127) * sign, casting="unsafe")
    for bias in checkpoint.biases.values():
        np.copyto(bias, np.abs(bias) * sign)
    widths = checkpoint_widths(checkpoint)
    met = extremes(checkpoint)
    assert_just_fits(met, widths)
    assert all(value * sign >= 0 for value in met["sums"])


def worst(preset, *, lowest: bool) -> Checkpoint:
    """The checkpoint whose every weight and bias is the smallest, or the largest."""
    quant = preset.quant
    weight, bias = (
        -(2 ** (bits - 1)) if lowest else 2 ** (bits - 1) - 1
        for bits in (quant.weight_bits, quant.bias_bits)
    )
    layers = [x for x in network_layers(preset) if x.has_weights]
    biases = {x.name: np.full(x.outputs, bias, np.int32) for x in layers}
    most = most_head_bias(preset)
    biases["head"] = biases["head"].clip(-most, most - 1)
    coarse = {"pixels": quant.frac_bits, "head": quant.frac_bits}
    return Checkpoint(
        preset,
        {x.name: np.full(x.weight_shape, weight, np.int8) for x in layers},
        biases,
        {x.name: coarse.get(x.kind, max(0, quant.frac_bits - 7)) for x in layers},
    )


# In the wide MLP the lowest sum is a power of two, which needs a bit less than its opposite.
@pytest.mark.parametrize(
    "changes",
    [*NETWORKS.values(), {"network__mlp_ratio": 16}],
    ids=[*NETWORKS, "wide MLP"],
)
def test_format_widths_just_hold_the_worst(changes):
    preset = small_preset(**changes)
    widths = format_widths(preset)
    met = {name: [] for name in FIELDS}
    thresholds = []
    for lowest in (True, False):
        checkpoint = worst(preset, lowest=lowest)
        checkpoint.check("worst")
        widths.check_fits(checkpoint_widths(checkpoint))
        for name, values in extremes(checkpoint).items():
            met[name] += values
        thresholds += [checkpoint.threshold(x) for x in network_layers(preset)]
    assert_just_fits(met, widths)
    assert max(thresholds).bit_length() == widths.threshold


@networks
def test_format_widths_hold_any_checkpoint(changes):
    preset = small_preset(**changes)
    widths = format_widths(preset)
    for seed in range(5):
        for full in (False, True):
            widths.check_fits(checkpoint_widths(random_checkpoint(preset, seed, full=full)))


@networks
def test_a_run_stays_within(changes):
    preset = small_preset(**changes)
    checkpoint = random_checkpoint(preset, seed=8)
    widths = checkpoint_widths(checkpoint)
    for name, record in IntegerModel(checkpoint).run(random_images(preset, 4)).layers.items():
        if record.layer.has_weights:
            assert fits(int(record.sums.min()), widths.biased), name
            assert fits(int(record.sums.max()), widths.biased), name
        if record.potential is not None:
            assert fits(int(record.potential.min()), widths.residual), name
            assert fits(int(record.potential.max()), widths.residual), name


@pytest.mark.parametrize("name", (*FIELDS, "threshold"))
def test_too_narrow(name):
    needed = checkpoint_widths(random_checkpoint(small_preset()))
    needed.check_fits(needed)
    bits = asdict(needed)[name]
    with pytest.raises(SpecError) as error:
        replace(needed, **{name: bits - 1}).check_fits(needed)
    assert str(error.value) == (
        f"checkpoint needs {bits} bits for {name}: the hardware was built with {bits - 1};"
        " build it for this checkpoint, or with engine.widths = format"
    )


@pytest.mark.parametrize("sign", [-1, 1])
def test_logits_beyond_a_word(sign):
    """The last bias whose logits a word holds, and one more."""
    preset = small_preset(quant__bias_bits=32)
    checkpoint = random_checkpoint(preset, full=True)
    weights = checkpoint.weights["head"].astype(int) * preset.tokens
    most = (weights * (weights * sign > 0)).sum(1)
    # Over 4 steps, 2**31 - 4 is the largest multiple of 4 below 2**31.
    last = 2**29 - 1 - int(most[3]) if sign > 0 else -(2**29) - int(most[3])
    checkpoint.biases["head"][:] = 0
    checkpoint.biases["head"][3] = last
    checkpoint.check("held")
    checkpoint_widths(checkpoint)
    checkpoint.biases["head"][3] += sign
    text = (
        r"^checkpoint of preset small: logits may be -\d+ to \d+ over 4 time steps and need"
        r" 33 bits: must fit in 32; train with less than 32 quant\.bias_bits$"
    )
    for use in (checkpoint_widths, IntegerModel):
        with pytest.raises(SpecError, match=text):
            use(checkpoint)
    with pytest.raises(SpecError, match=text):
        checkpoint_requests(checkpoint, format_widths(preset))


def test_built_widths():
    preset = small_preset()
    checkpoint = random_checkpoint(preset)
    assert built_widths(preset, checkpoint) == checkpoint_widths(checkpoint)
    for_any = preset.replace(engine__widths="format")
    assert built_widths(for_any, checkpoint) == built_widths(for_any, None) == format_widths(preset)
    text = (
        r"^preset tiny derives widths from a checkpoint and there is none:"
        r" give one, or set engine\.widths to format$"
    )
    with pytest.raises(SpecError, match=text):
        built_widths(load_preset("tiny"), None)
