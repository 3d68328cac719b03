"""Experts and pruned heads in integers: who works for a token, and what is merged.

Sources: spiking mixture of experts in five steps (arXiv 2412.05540): routing, synaptic integration,
membrane accumulation, spike generation, aligned merge; SEMM (NeurIPS 2024) for the spiking router;
D3 (ICCAD 2025) for the pruning of heads. Our readings: the router is a linear layer on spikes; its
scores are summed over time steps, so that a token's experts serve all of its steps; ties go to the
lower index; the spikes of k experts are added without weights, which gives 0 to k.
"""

from torch import Tensor


def highest(scores: Tensor, count: int) -> Tensor:
    """Mark the ``count`` highest scores along the last axis; of equal ones the first.

    Parameters
    ----------
    scores : integers, shape (..., n)
    count : 1 to n

    Returns
    -------
    Tensor
        Booleans, same shape.
    """
    order = scores.sort(dim=-1, descending=True, stable=True).indices
    return order.argsort(dim=-1) < count


def top_experts(sums: Tensor, count: int) -> Tensor:
    """Experts of each token for all of its time steps.

    Parameters
    ----------
    sums : of the router with bias, integers, shape (T, B, N, E)
    count : k, experts a token

    Returns
    -------
    Tensor
        0 or 1 of the dtype of ``sums``, same shape, the same in every time step.
    """
    chosen = highest(sums.sum(0), count).to(sums.dtype)
    return chosen.expand_as(sums)


def kept_heads(query: Tensor, count: int) -> Tensor:
    """Heads of each image that attend: those whose Q has the most ones in all tokens and steps.

    Parameters
    ----------
    query : {0, 1}, shape (T, B, H, N, d)
    count : heads kept, 1 to H

    Returns
    -------
    Tensor
        0 or 1 of the dtype of ``query``, shape (B, H).
    """
    return highest(query.sum(dim=(0, 3, 4)), count).to(query.dtype)
