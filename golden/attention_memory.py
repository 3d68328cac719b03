"""Memory that attention needs while an image runs, as formulas. Imports no torch."""

from .local_taps import window_tokens
from .spec import Preset
from .widths import kv_state_bits, score_bits


def state_memory(preset: Preset) -> dict[str, int]:
    """Bits that three ways to attend keep for a network of the preset's shape.

    Returns
    -------
    dict
        ``map``: scores of all pairs of tokens, ``T * H * N**2`` words. ``kv``: ``K^T V`` of every
        head, ``T * H * d**2`` words. ``dendrites``: state of LRF-Dyn, ``T * D * k`` words, the same
        for every N. ``window``: read-outs that the local branch still needs, ``T * D`` words for
        each token of :func:`golden.local_taps.window_tokens`.
    """
    net, quant = preset.network, preset.quant
    steps, channels = net.time_steps, net.channels
    window = window_tokens(net.dilations, preset.grid, causal=net.local_causal)
    scores = score_bits(preset.key_bits, net.head_channels)
    words = kv_state_bits(preset.key_bits, preset.tokens)
    return {
        "map": steps * net.heads * preset.tokens**2 * scores,
        "kv": steps * channels * net.head_channels * words,
        "dendrites": steps * channels * net.dendrites * quant.state_bits,
        "window": steps * channels * window * quant.read_bits if net.dilations else 0,
    }
