"""What a preset's experts and pruned heads may look like, beyond single fields. No torch."""

from fractions import Fraction

from .sections import Engine, Network


def kept_heads_count(net: Network) -> int:
    """Heads that D3 keeps: ``ceil(head_keep * H)``, computed on the decimal number written."""
    return -(-Fraction(str(net.head_keep)) * net.heads // 1)


def check_heads(net: Network, engine: Engine) -> None:
    """Raise ValueError where heads cannot be left out."""
    if kept_heads_count(net) == net.heads:
        return
    if engine.tiles > 1:
        raise ValueError(
            f"network.head_keep is {net.head_keep}: must keep all heads if engine.tiles is above 1,"
            f" {engine.tiles}, for heads of an image are not pruned evenly over tiles"
        )
    if net.head_channels % engine.lanes:
        raise ValueError(
            f"engine.lanes is {engine.lanes}: must divide the channels of a head,"
            f" {net.head_channels}, if network.head_keep leaves heads out"
        )


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
    if moe.hidden % engine.lanes:
        raise ValueError(
            f"network.moe.hidden is {moe.hidden}: must be a multiple of engine.lanes,"
            f" {engine.lanes}"
        )
