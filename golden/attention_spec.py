"""What a preset's attention may look like, beyond the limits of single fields. Imports no torch."""

from .sections import Network, Quant

# Attentions that have a local branch.
LOCAL_KINDS = ("lrf-ssa", "lrf-dyn")


def hybrid(net: Network) -> bool:
    """Whether K is a multi-bit ReLU and V ternary, as in A2OS2A; else both are binary."""
    return net.qkv == "hybrid" or (net.qkv == "auto" and net.attention != "ssa")


def check_attention(net: Network, quant: Quant, grid: tuple[int, int]) -> None:
    """Raise ValueError where attention, its number formats and the token grid do not fit."""
    fixed = {"a2os2a": "hybrid", "ssa": "binary"}.get(net.attention, net.qkv)
    if net.qkv not in ("auto", fixed):
        raise ValueError(
            f"network.qkv is {net.qkv}: must be {fixed} or auto for attention {net.attention}"
        )
    if net.attention in LOCAL_KINDS and net.dilations:
        _check_dilations(net.dilations, grid)
    if net.attention == "lrf-dyn":
        _check_state(quant, quant.key_bits if hybrid(net) else 1)


def _check_dilations(dilations: tuple[int, ...], grid: tuple[int, int]) -> None:
    if list(dilations) != sorted(set(dilations)):
        raise ValueError(f"network.dilations are {', '.join(map(str, dilations))}: must rise")
    # A kernel whose outer taps never meet a token is no kernel; larger ones may reach less far.
    if min(grid) <= dilations[0]:
        raise ValueError(
            f"token grid is {grid[0]}x{grid[1]}: a 3x3 kernel of dilation {dilations[0]}"
            f" (network.dilations) needs at least {dilations[0] + 1}x{dilations[0] + 1}"
        )


def _check_state(quant: Quant, key_bits: int) -> None:
    if quant.read_frac_bits > quant.state_frac_bits:
        raise ValueError(
            f"quant.read_frac_bits is {quant.read_frac_bits}: must be at most"
            f" quant.state_frac_bits, {quant.state_frac_bits}"
        )
    needed = key_bits + 1 + quant.state_frac_bits
    if quant.state_bits < needed:
        raise ValueError(
            f"quant.state_bits is {quant.state_bits}: must be at least {needed}, the bits of a"
            " token in the unit of the state"
        )
