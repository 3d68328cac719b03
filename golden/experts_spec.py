"""What a preset's experts and pruned heads may look like, beyond single fields. No torch."""

from fractions import Fraction

from .sections import Engine, Network


def kept_heads_count(net: Network) -> int:
    """Heads that D3 keeps: ``ceil(head_keep * H)``, computed on the decimal number written."""
    return -(-Fraction(str(net.head_keep)) * net.heads // 1)


def check_experts(net: Network, engine: Engine) -> None:
    """Raise ValueError where experts do not fit the network or the tiles."""
    moe = net.moe
    if moe is None:
        return
    if moe.top_k > moe.experts:
        raise ValueError(
            f"network.moe.top_k is {moe.top_k}: must be at most network.moe.experts, {moe.experts}"
        )
    if moe.experts % engine.tiles:
        raise ValueError(
            f"network.moe.experts is {moe.experts}: must be a multiple of engine.tiles,"
            f" {engine.tiles}"
        )
