"""Causal attention in integers: a state is charged and read, token by token.

Source: LRF-Dyn paper (arXiv 2603.19290), equation 11 without its local term, with
``k_n^T v_n`` inside ``q_n (.)`` (our reading). The decay of the state is our addition.
"""

import torch
from torch import Tensor


def attend_causal(query: Tensor, key: Tensor, value: Tensor, *, decay_shift: int = 0) -> Tensor:
    """``q_n S_n`` with ``S_n = S_{n-1} - floor(S_{n-1} / 2**s) + k_n^T v_n``, before the neuron.

    The floor is an arithmetic shift of each word of the state; ``decay_shift`` 0 leaves the decay
    out. The state never needs more bits than without decay.

    Parameters
    ----------
    query : {0, 1}, integers of shape (..., N, d), e.g. (T, B, H, N, d)
    key : unsigned, same shape
    value : {-1, 0, 1} or {0, 1}, same shape
    decay_shift : s

    Returns
    -------
    Tensor
        Integers of the dtype of ``query``, same shape.
    """
    result = torch.zeros_like(query)
    state = torch.zeros_like(query[..., 0, :, None] * value[..., 0, None, :])
    for token in range(query.shape[-2]):
        if decay_shift:
            state -= state >> decay_shift
        state += key[..., token, :, None] * value[..., token, None, :]
        result[..., token, :] = (query[..., token, :, None] * state).sum(-2)
    return result
