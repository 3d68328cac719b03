"""Attention in integers: ``SN(Q K^T V)`` with additions only, in either association order.

Sources: A2OS2A (arXiv 2503.00226), equation of the attention; vanilla spiking self-attention is the
same with binary K and V. ``(Q K^T) V = Q (K^T V)`` holds exactly in integers.
"""

from torch import Tensor, float64

from .neurons import lif

ORDERS = ("kv", "qk")


def attend(query: Tensor, key: Tensor, value: Tensor, order: str = "kv") -> Tensor:
    """``Q K^T V`` per time step and head, before the neuron.

    Sums are carried as float64, which is exact below 2**53 and far above every width here.

    Parameters
    ----------
    query : {0, 1}, integers of shape (..., N, d), e.g. (T, B, H, N, d)
    key : unsigned, same shape
    value : {-1, 0, 1} or {0, 1}, same shape
    order : ``"kv"`` for ``Q (K^T V)``, ``"qk"`` for ``(Q K^T) V``

    Returns
    -------
    Tensor
        Integers of the dtype of ``query``, same shape.

    Raises
    ------
    ValueError
        If ``order`` is not one of :data:`ORDERS`.
    """
    if order not in ORDERS:
        raise ValueError(f"order is {order!r}: must be one of {', '.join(ORDERS)}")
    q, k, v = (x.to(float64) for x in (query, key, value))
    transposed = k.transpose(-2, -1)
    result = q @ (transposed @ v) if order == "kv" else (q @ transposed) @ v
    return result.to(query.dtype)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    threshold: int,
    *,
    decay_shift: int = 1,
    reset: str = "hard",
    order: str = "kv",
) -> Tensor:
    """Spikes of the attention: :func:`attend`, then a LIF neuron over the first axis, time.

    ``threshold`` is in the integer units of ``Q K^T V``.
    """
    sums = attend(query, key, value, order)
    return lif(sums, threshold, decay_shift=decay_shift, reset=reset)
