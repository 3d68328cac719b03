"""Experts for training: all of them work for every token, and the router's choice masks them.

Folded, the spikes that reach the residual stream are those of :mod:`golden.experts` in the integer
model. The choice of the ``top_k`` experts has no gradient of its own: it takes that of the softmax
of the scores, so that an expert not chosen is heard too. A spiking router has its surrogate's.
"""

from torch import Tensor

from .experts import top_experts
from .sections import Moe


def route(moe: Moe, sums: Tensor, spikes: Tensor) -> Tensor:
    """Which experts serve a token, 0 or 1 with gradients.

    Parameters
    ----------
    moe : mode and top_k
    sums : of the router with bias, shape (T, B, N, E)
    spikes : of the router's neurons, which only mode ``"semm"`` has; same shape

    Returns
    -------
    Tensor
        Shape (T, B, N, E); in mode ``"topk"`` the same in every time step.
    """
    if moe.mode == "semm":
        return spikes
    shares = sums.sum(0).softmax(-1)
    return top_experts(sums.detach(), moe.top_k) + (shares - shares.detach())


def imbalance(sums: Tensor, routed: Tensor) -> Tensor:
    """Load-balancing loss: 1 if every image's tokens are spread evenly over the experts, at most E.

    ``E * sum over experts of load * share``, mean over images: load is the part of an image's work
    that an expert has, share its mean softmax of the scores (Switch Transformer, arXiv 2101.03961,
    equations 4 to 6, there for a batch; for each image, our reading: tiles share an image's work).
    Only the share has gradients.

    Parameters
    ----------
    sums, routed : as for and from :func:`route`
    """
    works = routed.detach().amax(0).sum(1)
    load = works / works.sum(1, keepdim=True).clamp(min=1.0)
    share = sums.sum(0).softmax(-1).mean(1)
    return works.shape[1] * (load * share).sum(1).mean()
