"""Counts of operations, energy and the event bound, from a trace of the integer model."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .attention_counts import attention_work
from .integer import LayerTrace, Trace
from .schedule import Layer
from .spec import PIXEL_BITS, Preset

# 45 nm, 32-bit: an addition and a multiply-accumulate, as the literature on SNNs counts them.
ADD_PJ = 0.9
MAC_PJ = 4.6


@dataclass(frozen=True)
class Counts:
    """What one layer does for all images of a trace; mean per image where said.

    Members
    -------
    images : images of the trace
    visits : non-zero bundles visited: for a convolution, once for each output position and tap;
        for pixels, non-zero bits; for attention see :mod:`golden.attention_counts`
    weight_rows : weight rows read, of all tiles (visits times output groups)
    adds_on, adds_off : additions whose spike was set, and those gated off in a visited bundle
    dense_macs : multiply-accumulates of a dense network of the same shape, one time step
    density : share of non-zero input bundles (of the layer's tensor, each counted once)
    bound_cycles : event bound, mean per image
    """

    images: int
    visits: int
    weight_rows: int
    adds_on: int
    adds_off: int
    dense_macs: int
    density: float
    bound_cycles: float


def count_layers(trace: Trace, preset: Preset) -> dict[str, Counts]:
    """Counts of every layer by name.

    The event bound is ``visits * D_out / (tiles * lanes)`` for a synaptic layer, where D_out leaves
    out K and V of pruned heads, and is that of one expert for each expert that reads a bundle; for
    attention ``(non-zero K + non-zero Q) / tiles``, with d lanes in each tile's core; LRF-Dyn has
    its own.
    """
    return {name: _count(record, preset) for name, record in trace.layers.items()}


def energy_pj(counts: dict[str, Counts]) -> dict[str, float]:
    """Energy of an image in pJ: additions of the spiking network, and a dense one's MACs."""
    images = next(iter(counts.values())).images
    adds = sum(c.adds_on for c in counts.values())
    macs = sum(c.dense_macs for c in counts.values())
    return {"spiking": adds * ADD_PJ / images, "dense": macs * MAC_PJ / images}


def bundle_density(counts: dict[str, Counts]) -> float:
    """Share of non-zero input bundles, mean over the layers that read spikes."""
    shares = [c.density for c in counts.values() if c.density == c.density]
    return sum(shares) / len(shares)


def event_bound(counts: dict[str, Counts]) -> float:
    """Event bound of an image in cycles."""
    return sum(c.bound_cycles for c in counts.values())


def _count(record: LayerTrace, preset: Preset) -> Counts:
    if record.layer.kind == "attention":
        return _count_attention(record, preset)
    if record.layer.kind == "merge":
        # Adding experts' spikes is part of the residual stream, which no layer counts.
        return Counts(record.inputs.shape[1], 0, 0, 0, 0, 0, float("nan"), 0.0)
    layer, inputs = record.layer, record.inputs
    steps, lanes = preset.network.time_steps, preset.engine.all_lanes
    outputs = _outputs(layer, preset)
    if layer.kind == "pixels":
        events = sum((inputs >> bit) & 1 for bit in range(PIXEL_BITS))  # B, C, H, W
        spikes, steps = events, 1
        density = float("nan")
        images = len(inputs)
    else:
        grid = inputs.permute(0, 1, 4, 2, 3)
        events, spikes = grid.amax(0), grid.sum(0)
        readers = _readers(record)
        read = readers.clamp(max=1)
        density = int((events * read).sum()) / max(1, int(read.sum()))
        events, spikes = events * readers, spikes * readers
        images = inputs.shape[1]
    visits, on = _visited(events, layer), _visited(spikes, layer)
    places = layer.positions if layer.kind != "head" else preset.tokens
    if layer.kind == "expert":
        lanes = preset.engine.lanes  # One expert's work is one tile's; tiles share the tokens.
        places *= preset.network.moe.most
    return Counts(
        images=images,
        visits=visits,
        weight_rows=visits * -(-outputs // lanes) * (lanes // preset.engine.lanes),
        adds_on=on * outputs,
        adds_off=(visits * steps - on) * outputs,
        dense_macs=images * places * layer.fan_in * layer.expert_outputs,
        density=density,
        bound_cycles=visits * outputs / preset.engine.all_lanes / images,
    )


def _outputs(layer: Layer, preset: Preset) -> int:
    """Output channels that a visit adds to: of one expert, or without K and V of pruned heads."""
    if layer.neuron == "qkv":
        net = preset.network
        # Of pruned heads the ranking has computed Q.
        return (2 if preset.prunes_heads else 3) * preset.kept_heads * net.head_channels
    return layer.expert_outputs


def _readers(record: LayerTrace) -> Tensor:
    """How often each input of a layer is read: by how many experts, else once; (B, C, H, W)."""
    layer, like = record.layer, record.inputs[0].permute(0, 3, 1, 2)
    if layer.kind != "expert":
        return torch.ones_like(like)
    works = record.routed.amax(0).transpose(1, 2).unflatten(2, layer.in_grid)  # B, E, H, W
    if like.shape[1] == layer.inputs:
        return works.sum(1, keepdim=True).expand_as(like)
    return works.repeat_interleave(layer.inputs, dim=1)


def _visited(values: Tensor, layer: Layer) -> int:
    """Sum of (B, C, H, W) over all output positions and taps that see each value."""
    if layer.kernel == 1:
        return int(values.sum())
    seen = values.sum(dim=1, keepdim=True).double()
    ones = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    return int(functional.conv2d(seen, ones, stride=layer.stride, padding=1).sum())


def _count_attention(record: LayerTrace, preset: Preset) -> Counts:
    work, images = attention_work(record, preset), record.key.shape[1]
    return Counts(
        images=images,
        visits=work.visits,
        weight_rows=0,
        adds_on=work.on,
        adds_off=work.off,
        dense_macs=2 * images * preset.tokens**2 * preset.network.channels,
        density=float("nan"),
        bound_cycles=work.bound / preset.engine.tiles / images,
    )
