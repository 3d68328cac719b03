"""How the experts of a network share the tokens of many images."""

import torch
from torch import Tensor

from .integer import Trace


class ExpertLoads:
    """Collects the tokens that each expert serves.

    Members
    -------
    tokens : by router, tokens of each expert, (images, E); served in any time step
    places : N, tokens of an image
    """

    def __init__(self) -> None:
        self.tokens: dict[str, Tensor] = {}
        self.places = 0

    def add(self, trace: Trace) -> None:
        """Take up the routers of a trace."""
        for name, record in trace.layers.items():
            if record.layer.kind == "router":
                self.places = record.routed.shape[2]
                served = record.routed.amax(0).sum(1)
                known = self.tokens.get(name, served[:0])
                self.tokens[name] = torch.cat([known, served])

    def figures(self) -> dict[str, float]:
        """Figures for ``metrics.json``; none without experts.

        ``moe.balance`` is the tokens of the busiest expert over the mean, of the block where this
        is most; ``moe.image_balance`` the same image by image, mean over images, which bounds what
        tiles gain that share an image; ``moe.experts_per_token`` the mean over all blocks.
        """
        if not self.tokens:
            return {}
        blocks = torch.stack(list(self.tokens.values())).double()  # blocks, images, E
        return {
            "moe.balance": float(_busiest(blocks.sum(1)).max()),
            "moe.image_balance": float(_busiest(blocks).mean(1).max()),
            "moe.experts_per_token": float(blocks.sum(2).mean() / self.places),
        }


def _busiest(tokens: Tensor) -> Tensor:
    """Tokens of the busiest expert over the mean of all, along the last axis; 1 without tokens."""
    mean = tokens.mean(-1)
    return torch.where(mean > 0, tokens.amax(-1) / mean, 1.0)
