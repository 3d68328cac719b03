"""The whole network in integers: the definition of correct.

Every tensor the hardware makes on its way is returned, so that each block can be checked alone.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .attention_kinds import attention_spikes, attention_sums
from .attention_ranges import attention_input_bits
from .checkpoint import Checkpoint
from .experts import kept_heads, top_experts
from .neurons import guard_bits, lif, relu_clip
from .ranges import checkpoint_widths
from .schedule import Layer, network_layers

# Sums below these bounds are exact in the carrier, whatever the order of additions.
FLOAT32_EXACT = 2**24
FLOAT64_EXACT = 2**53


@dataclass
class LayerTrace:
    """What one layer read and made. Integers of 32 bits, or of 64 where a membrane needs more.

    The first axis is T, then images, tokens, channels.

    Members
    -------
    layer : which
    inputs : pixels (B, C, height, width), or spikes (T, B, height, width, C); None for attention
    sums : synaptic sums with bias, (T, B, positions, outputs); input of its neurons for attention
    potential : residual after the layer, or None
    outputs : spikes (T, B, height, width, outputs), after the pool; None for the head and Q, K, V
    key, value, query : of a Q, K, V layer and its attention, (T, B, H, N, d); 0 for pruned heads,
        but for the query of their ranking, whose sums are those of the whole Q, K, V layer
    coefficients : the attention's own integers, by the last part of their names
    routed : of a router and its experts, which of them serve a token, (T, B, N, E)
    """

    layer: Layer
    inputs: Tensor | None
    sums: Tensor
    potential: Tensor | None = None
    outputs: Tensor | None = None
    key: Tensor | None = None
    value: Tensor | None = None
    query: Tensor | None = None
    coefficients: dict[str, Tensor] = field(default_factory=dict)
    routed: Tensor | None = None


@dataclass
class Trace:
    """Result of a run: logits, int64, (B, classes), and the trace of each layer by name."""

    logits: Tensor
    layers: dict[str, LayerTrace] = field(default_factory=dict)


class IntegerModel:
    """Run a checkpoint in integers.

    Logits are sums over tokens and steps in units of ``2**-scale`` of the head; dividing by
    ``N * T`` changes no answer and is left out.

    Parameters
    ----------
    checkpoint : weights, biases, scales, coefficients and the preset
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.preset = checkpoint.preset
        self.layers = network_layers(self.preset)
        self._integer = torch.int32 if _membrane_bits(checkpoint) <= 32 else torch.int64
        self._weights: dict[str, Tensor] = {}
        self._biases: dict[str, Tensor] = {}
        self._coefficients: dict[str, dict[str, Tensor]] = {}
        for layer in self.layers:
            if layer.kind == "attention":
                self._coefficients[layer.name] = {
                    name.rpartition(".")[2]: torch.from_numpy(values)
                    for name, values in checkpoint.coefficients.items()
                    if name.startswith(layer.name)
                }
            if not layer.has_weights:
                continue
            weight = checkpoint.weights[layer.name].astype(np.int64) << checkpoint.align(layer)
            bias = checkpoint.biases[layer.name].astype(np.int64)
            top = (2**8 - 1) if layer.kind == "pixels" else 1
            top *= self.preset.tokens if layer.kind == "head" else 1
            bound = int((np.abs(weight).reshape(layer.outputs, -1).sum(1) * top).max())
            carrier = torch.float32 if bound < FLOAT32_EXACT else torch.float64
            assert bound < FLOAT64_EXACT
            self._weights[layer.name] = torch.from_numpy(weight).to(carrier)
            self._biases[layer.name] = torch.from_numpy(bias).to(self._integer)

    def run(self, images: np.ndarray, *, keep: bool = True) -> Trace:
        """Classify images.

        Parameters
        ----------
        images : uint8, shape (B, channels, height, width)
        keep : keep the trace of every layer; else of routers alone

        Returns
        -------
        Trace
            Logits, which experts served each token and, with ``keep``, every intermediate tensor.
        """
        preset, net = self.preset, self.preset.network
        shape = (preset.data.channels, preset.data.height, preset.data.width)
        if images.dtype != np.uint8 or images.shape[1:] != shape:
            raise ValueError(
                f"images are {images.dtype} of shape {images.shape[1:]}: must be uint8 of {shape}"
            )
        pixels = torch.from_numpy(images.astype(np.int32))
        trace = Trace(logits=torch.empty(0))
        spikes = residual = heads = routed = kept = None
        for layer in self.layers:
            record = LayerTrace(layer, inputs=spikes, sums=torch.empty(0))
            if layer.kind == "pixels":
                record.inputs = pixels
                sums = self._synapses(layer, pixels)
                record.sums = sums.expand(net.time_steps, *sums.shape)
            elif layer.kind == "attention":
                record.inputs = None
                record.key, record.value, record.query = key, value, query = heads
                record.coefficients = own = self._coefficients[layer.name]
                record.sums = attention_sums(preset, own, query, key, value).to(self._integer)
                fired = attention_spikes(preset, record.sums, query)
                if net.projection:
                    record.outputs = self._grid(layer, fired)
                joined = fired << preset.quant.frac_bits
            elif layer.kind == "merge":
                parts = spikes.flatten(2, 3).unflatten(3, (-1, layer.outputs))
                record.sums = (parts * routed.unsqueeze(4)).sum(3)
                joined = record.sums << preset.quant.frac_bits
            elif layer.kind == "head":
                rows = self._synapses(layer, spikes.sum(dim=(2, 3)).unsqueeze(2))
                record.sums = rows
                trace.logits = rows.sum(dim=(0, 2)).to(torch.int64)
            else:
                flat = self._synapses(layer, spikes.flatten(0, 1).permute(0, 3, 1, 2))
                record.sums = flat.unflatten(0, (net.time_steps, -1))
            potential = record.sums if layer.synaptic else joined
            if layer.residual != "none":
                residual = potential if layer.residual == "set" else residual + potential
                record.potential = potential = residual
            if layer.neuron == "qkv":
                heads = self._heads(layer, potential)
                if kept is not None:
                    heads = tuple(part * kept[:, :, None, None] for part in heads)
                record.key, record.value, record.query = heads
            elif layer.kind == "rank":
                record.query = self._fire(self._parts(potential)[2], preset.threshold)
                kept = kept_heads(record.query, preset.kept_heads)
            elif layer.kind == "router":
                routed = record.routed = self._route(layer, potential)
            elif layer.kind == "expert":
                fired = self._fire(potential, self.checkpoint.threshold(layer))
                record.routed = routed
                record.outputs = self._grid(layer, self._chosen(layer, fired, routed))
            elif layer.neuron == "binary" and record.outputs is None:
                fired = self._fire(potential, self.checkpoint.threshold(layer))
                record.outputs = self._grid(layer, fired)
            if record.outputs is not None:
                spikes = record.outputs
            if keep or layer.kind == "router":
                trace.layers[layer.name] = record
        return trace

    def _synapses(self, layer: Layer, x: Tensor) -> Tensor:
        """Sums with bias, (..., positions, outputs), of x (rows, C, height, width) or a head's."""
        weight, bias = self._weights[layer.tensors], self._biases[layer.tensors]
        x = x.to(weight.dtype)
        if layer.experts > 1 and layer.inputs < x.shape[1]:
            x, weight = (t.unflatten(d, (layer.experts, -1)) for t, d in ((x, 1), (weight, 0)))
            sums = torch.einsum("reihw,eoi->rhweo", x, weight).flatten(3).flatten(1, 2)
        elif layer.kernel > 1:
            sums = functional.conv2d(x, weight, stride=layer.stride, padding=1)
            sums = sums.permute(0, 2, 3, 1).flatten(1, 2)
        elif layer.kind == "head":
            sums = functional.linear(x, weight)
        else:
            sums = functional.linear(x.permute(0, 2, 3, 1).flatten(1, 2), weight)
        return sums.to(self._integer) + bias

    def _fire(self, x: Tensor, threshold: int, *, ternary: bool = False) -> Tensor:
        neuron = self.preset.network.neuron
        return lif(
            x, threshold, decay_shift=neuron.decay_shift, reset=neuron.reset, ternary=ternary
        )

    def _heads(self, layer: Layer, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """K, V and Q of shape (T, B, H, N, d) from the sums of a Q, K, V layer."""
        preset = self.preset
        key, value, query = self._parts(x)
        threshold = self.checkpoint.threshold(layer)
        if preset.hybrid:
            shift = preset.quant.frac_bits - preset.key_frac_bits
            key = relu_clip(key, shift=shift, bits=preset.key_bits)
            value = self._fire(value, threshold, ternary=True)
        else:
            key, value = self._fire(key, threshold), self._fire(value, threshold)
        return key, value, self._fire(query, threshold)

    def _parts(self, x: Tensor) -> list[Tensor]:
        """Sums of K, V and Q, (T, B, H, N, d) each, from those of a Q, K, V layer."""
        net = self.preset.network
        x = x.unflatten(3, (net.heads, 3, net.head_channels))
        return [part.transpose(2, 3) for part in x.unbind(4)]

    def _route(self, layer: Layer, sums: Tensor) -> Tensor:
        """Which experts serve a token, 0 or 1 of shape (T, B, N, E)."""
        if layer.neuron == "none":
            return top_experts(sums, self.preset.network.moe.top_k)
        return self._fire(sums, self.checkpoint.threshold(layer))

    def _chosen(self, layer: Layer, spikes: Tensor, routed: Tensor) -> Tensor:
        """Spikes of the experts that serve a token in any time step; others make none."""
        works = routed.amax(0).unsqueeze(3)
        return (spikes.unflatten(3, (layer.experts, -1)) * works).flatten(3)

    def _grid(self, layer: Layer, spikes: Tensor) -> Tensor:
        """Spikes (T, B, positions, C) as a grid, OR-pooled where the layer says so."""
        grid = spikes.unflatten(2, layer.out_grid)
        if layer.pool:
            grid = grid.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).amax(dim=(3, 5))
        return grid


def _membrane_bits(checkpoint: Checkpoint) -> int:
    """Signed bits that hold every membrane of a run: guard bits, and T inputs without decay."""
    preset = checkpoint.preset
    net, widths = preset.network, checkpoint_widths(checkpoint)
    widest = max(
        widths.biased,
        widths.potential,
        widths.threshold + 1,
        attention_input_bits(preset),
    )
    return widest + guard_bits(net.time_steps) + net.time_steps.bit_length()
