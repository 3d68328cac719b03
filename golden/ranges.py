"""Accumulator widths, derived and not guessed. Imports no torch.

A sum of gated weights lies between the sum of a row's negative weights and that of its positive
ones, whatever the spikes and in whatever order they come; every partial sum lies there too.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from .checkpoint import Checkpoint
from .schedule import Layer, network_layers
from .spec import LOGIT_BITS, MAX_ALIGN, PIXEL_BITS, Preset, SpecError
from .widths import signed_bits


@dataclass(frozen=True)
class Widths:
    """Bits of the datapath; all signed but the threshold.

    Members
    -------
    sums : accumulators of the synaptic array
    biased : sums with bias, and a spike as 1.0 of the residual stream
    residual : residual stream in memory
    potential : input of the neuron array
    threshold : unsigned V_th
    """

    sums: int
    biased: int
    residual: int
    potential: int
    threshold: int

    def check_fits(self, needed: "Widths") -> None:
        """Raise :class:`SpecError` if a checkpoint needs more bits than these."""
        for name, bits in asdict(needed).items():
            built = getattr(self, name)
            if bits > built:
                raise SpecError(
                    f"checkpoint needs {bits} bits for {name}: the hardware was built with {built};"
                    " build it for this checkpoint, or with engine.widths = format"
                )


@dataclass(frozen=True)
class Range:
    """Smallest and largest value that can occur: of each channel, or of all."""

    low: np.ndarray | int
    high: np.ndarray | int

    @property
    def bits(self) -> int:
        """Bits of the two's complement that holds all channels."""
        return signed_bits(int(np.min(self.low)), int(np.max(self.high)))

    def __add__(self, other: "Range") -> "Range":
        return Range(self.low + other.low, self.high + other.high)


def sum_range(weights: np.ndarray, largest_input: int = 1) -> Range:
    """Range of gated sums of integer weights (outputs, ...), with inputs 0 to largest_input."""
    rows = weights.reshape(len(weights), -1).astype(np.int64)
    low, high = np.minimum(rows, 0).sum(1), np.maximum(rows, 0).sum(1)
    return Range(low * largest_input, high * largest_input)


def layer_input_top(layer: Layer, preset: Preset) -> int:
    """Largest multiple of a weight that one input can add."""
    if layer.kind == "pixels":
        return 2**PIXEL_BITS - 1
    return preset.tokens if layer.kind == "head" else 1


def checkpoint_widths(checkpoint: Checkpoint) -> Widths:
    """Widths that the checkpoint's actual weights need.

    Raises
    ------
    SpecError
        If the sum of a logit over time may need more bits than the hardware keeps.
    """

    def ranges(layer: Layer) -> tuple[Range, Range, int]:
        weights = checkpoint.weights[layer.name].astype(np.int64) << checkpoint.align(layer)
        bias = checkpoint.biases[layer.name].astype(np.int64)
        sums = sum_range(weights, layer_input_top(layer, checkpoint.preset))
        if layer.kind == "head":
            _check_logits(checkpoint.preset, sums + Range(bias, bias))
        return sums, Range(bias, bias), checkpoint.threshold(layer)

    return _widths(checkpoint.preset, ranges)


def format_widths(preset: Preset) -> Widths:
    """Widths that suffice for any checkpoint of the preset that :func:`checkpoint_widths` takes."""
    quant = preset.quant
    weight, bias = 2 ** (quant.weight_bits - 1), 2 ** (quant.bias_bits - 1)

    def ranges(layer: Layer) -> tuple[Range, Range, int]:
        gain = layer.fan_in * layer_input_top(layer, preset)
        fraction = quant.frac_bits
        if layer.kind == "pixels":
            fraction += PIXEL_BITS
        elif layer.kind != "head":
            gain <<= min(MAX_ALIGN, quant.frac_bits)
        threshold = round(preset.network.neuron.threshold * 2**fraction)
        return Range(-weight * gain, (weight - 1) * gain), Range(-bias, bias - 1), threshold

    return _widths(preset, ranges)


def built_widths(preset: Preset, checkpoint: Checkpoint | None) -> Widths:
    """Widths to build: from the checkpoint's weights, or from the format if the preset says so."""
    if preset.engine.widths == "format":
        return format_widths(preset)
    if checkpoint is None:
        raise SpecError(
            f"preset {preset.name} derives widths from a checkpoint and there is none:"
            " give one, or set engine.widths to format"
        )
    return checkpoint_widths(checkpoint)


def _check_logits(preset: Preset, step: Range) -> None:
    """Refuse a head whose sums with bias of one time step may add up to more than a logit holds."""
    steps = preset.network.time_steps
    logits = Range(step.low * steps, step.high * steps)
    if logits.bits > LOGIT_BITS:
        raise SpecError(
            f"checkpoint of preset {preset.name}: logits may be {np.min(logits.low)} to"
            f" {np.max(logits.high)} over {steps} time steps and need {logits.bits} bits: must fit"
            f" in {LOGIT_BITS}; train with less than {preset.quant.bias_bits} quant.bias_bits"
        )


def _widths(preset: Preset, ranges: Callable[[Layer], tuple[Range, Range, int]]) -> Widths:
    """Widths from the ranges of each layer's sums and bias, and its threshold."""
    bits = dict.fromkeys(("sums", "biased", "residual", "potential"), 1)
    threshold, stream = preset.threshold, Range(0, 0)

    def hold(name: str, values: Range) -> None:
        bits[name] = max(bits[name], values.bits)

    for layer in network_layers(preset):
        # Spikes that join the stream count as 1.0: one of attention, or one of each expert.
        most = preset.network.moe.most if layer.kind == "merge" else 1
        joined = Range(0, most << preset.quant.frac_bits)
        if layer.has_weights:
            sums, bias, level = ranges(layer)
            joined = sums + bias
            threshold = max(threshold, level)
            hold("sums", sums)
        hold("biased", joined)
        if layer.residual != "none":
            stream = joined if layer.residual == "set" else stream + joined
            joined = stream
            hold("residual", stream)
        if layer.neuron != "none":
            hold("potential", joined)
    return Widths(**bits, threshold=threshold.bit_length())
