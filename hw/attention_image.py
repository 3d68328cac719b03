"""What the attention's coefficients look like in its memories. Plain numpy."""

from collections.abc import Iterator

import numpy as np

from golden.checkpoint import Checkpoint
from golden.coefficients import TERM_BITS, two_powers
from golden.local_taps import local_taps
from golden.schedule import network_layers

from .attention_kinds import local_term


def coefficient_rows(checkpoint: Checkpoint) -> dict[str, list[int]]:
    """Rows of each of the memories of coefficients; those of all tiles side by side.

    Rows of LRF-SSA's local branch have the d weights of a head and tap; those of LRF-Dyn belong to
    a slice of channels and a tap, or a dendrite.
    """
    kind = checkpoint.preset.network.attention
    makers = {"lrf-ssa": _local_ssa, "lrf-dyn": _dendrites}
    if kind not in makers:
        return {}
    rows: dict[str, list[int]] = {}
    for layer in network_layers(checkpoint.preset):
        if layer.kind == "attention":
            for name, row in makers[kind](checkpoint, layer.name):
                rows.setdefault(name, []).append(row)
    return rows


def _local_ssa(checkpoint: Checkpoint, layer: str) -> Iterator[tuple[str, int]]:
    preset = checkpoint.preset
    tiles, term = preset.engine.tiles, local_term(checkpoint.preset)
    if not preset.dilations:
        return
    channels = preset.network.head_channels
    # (head of the tile, tile, channel, ...)
    weights = checkpoint.coefficients[f"{layer}.local"]
    weights = weights.reshape(tiles, -1, channels, *weights.shape[1:]).swapaxes(0, 1)
    for name, side in term.sides.items():
        for head in weights:
            for tap in side:
                values = head[:, :, tap.kernel, tap.row, tap.column]
                yield name, pack(values.reshape(-1), term.weight_bits)


def _dendrites(checkpoint: Checkpoint, layer: str) -> Iterator[tuple[str, int]]:
    preset = checkpoint.preset
    tiles, lanes = preset.engine.tiles, preset.engine.neuron_lanes

    def codes(name: str) -> np.ndarray:
        """Codes of a tensor's terms, (slice of the tile, tile, lane, ..., 2)."""
        made = two_powers(checkpoint.coefficients[f"{layer}.{name}"])
        return made.reshape(tiles, -1, lanes, *made.shape[1:]).swapaxes(0, 1)

    a, gamma, c = codes("a"), codes("gamma")[..., None, :], codes("c")[..., None, :]
    for part in np.concatenate([a, gamma, c], axis=-2):
        for dendrite in range(preset.network.dendrites):
            yield "dendrites", pack(part[:, :, dendrite].reshape(-1), TERM_BITS)
    if preset.dilations:
        for part in codes("local"):
            for tap in local_taps(preset.dilations, causal=preset.network.local_causal):
                values = part[:, :, tap.kernel, tap.row, tap.column]
                yield "local", pack(values.reshape(-1), TERM_BITS)


def pack(values: np.ndarray, bits: int) -> int:
    """Pack signed or unsigned values into one row, the first in the lowest bits."""
    mask = (1 << bits) - 1
    return sum((int(value) & mask) << (index * bits) for index, value in enumerate(values))
