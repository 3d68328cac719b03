"""Additions and cycles of the attention, by kind, from a trace of the integer model."""

from typing import NamedTuple

import torch
from torch import Tensor

from .attention_kinds import join_heads
from .coefficients import two_powers
from .integer import LayerTrace
from .local_branch import local_branch
from .spec import Preset


class AttentionWork(NamedTuple):
    """Sums over all images of a trace.

    Members
    -------
    visits : non-zero K and Q; for LRF-Dyn, dendrites updated, all time steps at once
    on, off : additions made, and those gated off in what was visited
    bound : cycles of the event bound: a visit each with d lanes, or for LRF-Dyn ``neuron_lanes``
        dendrites each; the local branch works beside and adds none
    """

    visits: int
    on: int
    off: int
    bound: float


def attention_work(record: LayerTrace, preset: Preset) -> AttentionWork:
    """Work of one attention layer."""
    kind = preset.network.attention
    if kind == "lrf-dyn":
        return _dendrites(record, preset)
    work = _pairs(record, preset)
    if kind == "lrf-ssa":
        on, off = _local(record, preset)
        work = work._replace(on=work.on + on, off=work.off + off)
    if kind == "causal" and preset.network.causal_decay_shift:
        # Every word of the state decays at every token.
        work = work._replace(on=work.on + record.key.numel() * preset.network.head_channels)
    return work


def _pairs(record: LayerTrace, preset: Preset) -> AttentionWork:
    key, value, query = record.key, record.value, record.query
    width = preset.network.head_channels
    keys, queries = int((key != 0).sum()), int((query != 0).sum())
    # K^T V: each non-zero K adds to the lanes whose V is not 0; then each Q adds a row.
    charged = int(((key != 0).sum(-1) * (value != 0).sum(-1)).sum())
    on = charged + queries * width
    visits = keys + queries
    return AttentionWork(visits, on, visits * width - on, visits)


def _local(record: LayerTrace, preset: Preset) -> tuple[int, int]:
    """A non-zero bundle of V is visited once for each token that sees it."""
    spikes = (join_heads(record.value) != 0).long()
    on = _seen(spikes, preset)
    return on, _seen(spikes.amax(0), preset) * len(spikes) - on


def _seen(marks: Tensor, preset: Preset) -> int:
    """How often the taps of the local branch meet a mark, (..., N, D)."""
    channels = marks.shape[-1]
    ones = torch.ones(channels, max(1, len(preset.dilations)), 3, 3, dtype=marks.dtype)
    causal = preset.network.local_causal
    return int(local_branch(marks, ones, preset.dilations, preset.grid, causal=causal).sum())


def _dendrites(record: LayerTrace, preset: Preset) -> AttentionWork:
    """Terms of A, C and the branch add for every token, those of Gamma for non-zero ones."""
    terms = {
        name: torch.from_numpy((two_powers(values.numpy()) != 0).sum(-1)).long()
        for name, values in record.coefficients.items()
    }
    tokens = join_heads(record.key * record.value) != 0
    always = terms["a"].sum() + terms["c"].sum()
    on = int(always) * tokens[..., 0].numel()
    on += int((tokens.sum((0, 1, 2)) * terms["gamma"].sum(1)).sum())
    off = int((~tokens).sum((0, 1, 2)) @ terms["gamma"].sum(1))
    if preset.dilations:
        everywhere = torch.ones(preset.tokens, preset.network.channels, dtype=torch.long)
        causal = preset.network.local_causal
        near = local_branch(
            everywhere, terms["local"], preset.dilations, preset.grid, causal=causal
        )
        on += int(near.sum()) * tokens.shape[0] * tokens.shape[1]
    visits = tokens[0].numel() * preset.network.dendrites
    return AttentionWork(visits, on, off, visits / preset.engine.neuron_lanes)
