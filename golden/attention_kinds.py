"""The attention of a preset in integers, whatever its kind."""

from collections.abc import Mapping

import torch
from torch import Tensor

from .attention import attend
from .causal import attend_causal
from .dendrites import Dendrites, dendrite_sums
from .local_branch import local_branch
from .neurons import lif
from .spec import Preset


def attention_sums(
    preset: Preset,
    coefficients: Mapping[str, Tensor],
    query: Tensor,
    key: Tensor,
    value: Tensor,
) -> Tensor:
    """Input of the attention's neurons, in units of ``2**-attention_frac_bits``.

    Parameters
    ----------
    preset : kind and formats
    coefficients : integers by the last part of their name: ``local``, ``a``, ``gamma``, ``c``
    query, key, value : integers of shape (T, B, H, N, d)

    Returns
    -------
    Tensor
        Integers of the dtype of ``query``, shape (T, B, N, D).
    """
    net = preset.network
    if net.attention == "causal":
        shift = net.causal_decay_shift
        return join_heads(attend_causal(query, key, value, decay_shift=shift))
    if net.attention == "lrf-dyn":
        channels, kernels = net.channels, len(preset.dilations)
        parts = Dendrites(*(coefficients[name] for name in Dendrites._fields))
        return dendrite_sums(
            join_heads(key),
            join_heads(value),
            parts,
            coefficients.get("local", torch.zeros(channels, kernels, 3, 3)),
            preset.quant,
            preset.dilations,
            preset.grid,
            causal=net.local_causal,
        )
    sums = join_heads(attend(query, key, value, preset.attention_order))
    if net.attention == "lrf-ssa":
        sums = sums << preset.quant.local_frac_bits
        if preset.dilations:
            sums += local_branch(
                join_heads(value),
                coefficients["local"],
                preset.dilations,
                preset.grid,
                causal=net.local_causal,
            )
    return sums


def attention_spikes(preset: Preset, sums: Tensor, query: Tensor) -> Tensor:
    """Spikes of shape (T, B, N, D): a LIF neuron over time; those of LRF-Dyn are gated by Q."""
    neuron = preset.network.neuron
    spikes = lif(
        sums, preset.attention_threshold, decay_shift=neuron.decay_shift, reset=neuron.reset
    )
    if preset.network.attention == "lrf-dyn":
        spikes = spikes * join_heads(query).to(spikes.dtype)
    return spikes


def join_heads(x: Tensor) -> Tensor:
    """(T, B, H, N, d) to (T, B, N, D), heads side by side."""
    return x.transpose(2, 3).flatten(3)
