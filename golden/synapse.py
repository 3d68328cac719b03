"""A synaptic layer in training: weights with batch norm, then folded and quantised in the loop.

Life of a layer: it trains in floats with batch norm; :meth:`Synapse.fold` merges the norm into
weight and bias and picks the layer's power-of-two scale; from then on every forward pass uses the
integers that will be exported, with straight-through gradients.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .spec import MAX_ALIGN, PIXEL_BITS


def round_through(x: Tensor) -> Tensor:
    """Round; the gradient passes as if it were not rounded."""
    return x + (x.round() - x).detach()


class Synapse(nn.Module):
    """Linear or Conv3x3 (padding 1) with batch norm, or the same folded and quantised.

    Parameters
    ----------
    inputs, outputs : channels
    kernel : 1 (linear on the last axis) or 3 (convolution)
    stride : of the convolution
    norm : batch norm after it (the head has none)
    pixels : the input is pixels in units of ``2**-8``, so the bias unit is ``2**-(scale + 8)``
    weight_bits, frac_bits, bias_bits : see :class:`golden.spec.Quant`
    tokens : the head's result is summed over so many tokens, and its bias with it; None elsewhere
    experts : linear layers side by side that divide ``outputs``, each with ``inputs`` of its own
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        norm: bool = True,
        pixels: bool = False,
        weight_bits: int = 8,
        frac_bits: int = 8,
        bias_bits: int = 20,
        tokens: int | None = None,
        experts: int = 1,
    ) -> None:
        super().__init__()
        self.experts = experts
        self.kernel, self.stride, self.pixels = kernel, stride, pixels
        self.weight_bits, self.frac_bits, self.head = weight_bits, frac_bits, tokens is not None
        self.bias_bits, self.bias_gain = bias_bits, tokens or 1
        shape = (outputs, inputs) if kernel == 1 else (outputs, inputs, kernel, kernel)
        self.weight = nn.Parameter(torch.empty(shape))
        nn.init.kaiming_normal_(self.weight, nonlinearity="linear")
        self.bias = nn.Parameter(torch.zeros(outputs))
        if kernel == 1:
            self.norm = nn.BatchNorm1d(outputs) if norm else None
        else:
            self.norm = nn.BatchNorm2d(outputs) if norm else None
        self.scale: int | None = None

    @property
    def folded(self) -> bool:
        """Whether the layer computes with its exported integers."""
        return self.scale is not None

    @property
    def bias_frac_bits(self) -> int:
        """Fraction bits of the bias: those of the layer's sums."""
        if self.pixels:
            return self.scale + PIXEL_BITS
        return self.scale if self.head else self.frac_bits

    def fold(self) -> None:
        """Merge batch norm into weight and bias, and choose the scale of least weight error."""
        weight, bias = self.weight.data, self.bias.data
        if self.norm is not None:
            gain = self.norm.weight.data / (self.norm.running_var + self.norm.eps).sqrt()
            bias = (bias - self.norm.running_mean) * gain + self.norm.bias.data
            weight = weight * gain.view(-1, *[1] * (weight.dim() - 1))
        self.norm = None
        self.weight.data, self.bias.data = weight, bias
        top = self.frac_bits
        errors = []
        lowest = max(0, top - MAX_ALIGN)
        for scale in range(lowest, top + 1):
            self.scale = scale
            errors.append(((self.integer_weight() / 2**scale - weight) ** 2).sum())
        self.scale = lowest + int(torch.stack(errors).argmin())

    def take(self, weight: Tensor, bias: Tensor, scale: int) -> None:
        """Go on from exported integers, in floats and without batch norm."""
        self.norm = None
        self.scale = scale
        self.weight.data.copy_(weight / 2.0**scale)
        self.bias.data.copy_(bias / (2.0**self.bias_frac_bits * self.bias_gain))
        self.scale = None

    def integer_weight(self) -> Tensor:
        """Weights as integers of ``weight_bits`` bits, in units of ``2**-scale``."""
        top = 2 ** (self.weight_bits - 1) - 1
        return round_through((self.weight * 2.0**self.scale).clamp(-top - 1, top))

    def integer_bias(self) -> Tensor:
        """Bias as integers of ``bias_bits`` bits in the unit of its sums, ``bias_gain`` times."""
        top = 2 ** (self.bias_bits - 1) - 1
        scaled = self.bias * (2.0**self.bias_frac_bits * self.bias_gain)
        return round_through(scaled.clamp(-top - 1, top))

    def get_extra_state(self) -> int | None:
        """The scale, which is part of a resumable checkpoint."""
        return self.scale

    def set_extra_state(self, state: int | None) -> None:
        """Take the scale of a checkpoint; a folded layer has no norm any more."""
        self.scale = state
        if self.folded:
            self.norm = None

    def forward(self, x: Tensor) -> Tensor:
        """Apply to spikes or pixels: (rows, experts * inputs), or (images, inputs, h, w)."""
        weight, bias = self.weight, self.bias
        if self.folded:
            weight = self.integer_weight() / 2.0**self.scale
            bias = self.integer_bias() / (2.0**self.bias_frac_bits * self.bias_gain)
        if self.experts > 1:
            rows, parts = (
                x.unflatten(1, (self.experts, -1)),
                weight.unflatten(0, (self.experts, -1)),
            )
            out = torch.einsum("rei,eoi->reo", rows, parts).flatten(1) + bias
        elif self.kernel == 1:
            out = functional.linear(x, weight, bias)
        else:
            out = functional.conv2d(x, weight, bias, stride=self.stride, padding=1)
        return out if self.norm is None else self.norm(out)
