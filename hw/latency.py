"""Cycles of a preset's layers: what the docstrings of its blocks say, and the numbers in them."""

import inspect
from itertools import pairwise

from golden.local_taps import local_taps
from golden.spec import Preset

from .aligned_merge import AlignedMerge
from .attention_kinds import attention_blocks
from .dispatcher import Dispatcher
from .drain import Drain
from .expert_feed import ExpertFeed
from .expert_walk import ExpertWalk
from .head_rank import HeadRank
from .pruned_attention import PrunedAttention
from .router import Router
from .tile import Tile

EXPERT_BLOCKS = (Router, Dispatcher, ExpertFeed, ExpertWalk, AlignedMerge)


def latency_formulas(preset: Preset) -> dict[str, str]:
    """Text on cycles by block of the preset's accelerator, ``symbols`` in it, and the ``bound``."""
    blocks = [Tile, Drain, *attention_blocks(preset)]
    if preset.prunes_heads:
        blocks += [PrunedAttention, HeadRank]
    if preset.network.moe is not None:
        blocks += EXPERT_BLOCKS
    symbols = ", ".join(f"{name} = {number}" for name, number in _symbols(preset).items())
    return {
        **{block.__name__: latency_text(block) for block in blocks},
        "symbols": symbols,
        "bound": _bound(preset),
    }


def latency_text(block: type) -> str:
    """The section of a block's docstring whose title begins with "Latency", in one line.

    Raises
    ------
    ValueError
        If there is no such section.
    """
    lines = inspect.getdoc(block).splitlines()
    titles = [n for n, line in enumerate(lines[1:]) if line and not line.strip("-")]
    for title, after in pairwise([*titles, len(lines)]):
        if lines[title].startswith("Latency"):
            return " ".join(" ".join(lines[title + 2 : after]).split())
    raise ValueError(f"{block.__name__}: no section on latency in its docstring")


def _symbols(preset: Preset) -> dict[str, int]:
    """Numbers of what the docstrings name; H, S and the like are those of a tile."""
    net, engine = preset.network, preset.engine
    heads, slices = preset.kept_heads // engine.tiles, net.head_channels // engine.neuron_lanes
    found = {
        "tiles": engine.tiles,
        "lanes": engine.lanes,
        "neuron_lanes": engine.neuron_lanes,
        "NL": engine.neuron_lanes,
        "T": net.time_steps,
        "N": preset.tokens,
        "H": heads,
        "d": net.head_channels,
        "s": slices,
        "S": heads * slices,
        "b": preset.key_bits,
    }
    if preset.dilations:
        found["taps"] = len(local_taps(preset.dilations, causal=net.local_causal))
    if net.attention == "lrf-dyn":
        # Without a branch a token is visited like a tap.
        found |= {"k": net.dendrites, "taps": found.get("taps", 1)}
    if net.moe is not None:
        found |= {"experts": net.moe.experts, "chunks": net.channels // engine.all_lanes}
    return found


def _bound(preset: Preset) -> str:
    """The event bound that :mod:`golden.counts` computes."""
    net, engine = preset.network, preset.engine
    terms = [f"sum of non-zero input bundles * D_out / {engine.all_lanes}"]
    if net.moe is not None:
        terms[0] += " (of experts: once for each that serves the token, with D_out of one)"
    if preset.prunes_heads:
        channels = 2 * preset.kept_heads * net.head_channels
        terms[0] += f" (of K, V and Q: {channels} beside Q of the ranking)"
    if net.attention == "lrf-dyn":
        dendrites = preset.tokens * net.channels * net.dendrites
        terms.append(f"{dendrites} dendrites / {engine.tiles * engine.neuron_lanes} a block")
    else:
        terms.append(f"(non-zero K + non-zero Q) / {engine.tiles}")
    return ", and ".join(terms)
