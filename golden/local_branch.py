"""The local branch in integers: weighted neighbours of each token, added to the global attention.

Source: LRF-SSA (arXiv 2603.19290), equation 8. On ternary or binary V each tap adds or subtracts
its weight; on the multi-bit read-out of dendrites a weight is a sum of two powers of two.
"""

import torch
from torch import Tensor

from .local_taps import local_taps


def local_branch(
    values: Tensor,
    weights: Tensor,
    dilations: tuple[int, ...],
    grid: tuple[int, int],
    *,
    causal: bool = False,
) -> Tensor:
    """``sum over taps of r[c, tap] * values[n + tap, c]``, 0 for neighbours outside the grid.

    Exact: integers of the dtype of ``values``.

    Parameters
    ----------
    values : integers, shape (..., N, D), tokens row by row
    weights : integers, shape (D, kernels, 3, 3): row ``i`` and column ``j`` of a kernel of dilation
        ``dil`` see the token ``dil * (i - 1)`` rows below and ``dil * (j - 1)`` columns right
    dilations : one a kernel
    grid : height and width, N of product
    causal : leave out neighbours that come later than the token

    Returns
    -------
    Tensor
        Same shape as ``values``.
    """
    height, width = grid
    field = values.unflatten(-2, grid)
    result = torch.zeros_like(field)
    for tap in local_taps(dilations, causal=causal):
        if abs(tap.down) >= height or abs(tap.right) >= width:
            continue
        near = _inside(height, tap.down), _inside(width, tap.right)
        far = _inside(height, -tap.down), _inside(width, -tap.right)
        weight = weights[:, tap.kernel, tap.row, tap.column].to(values.dtype)
        result[..., *near, :] += field[..., *far, :] * weight
    return result.flatten(-3, -2)


def _inside(side: int, offset: int) -> slice:
    """Positions along a side whose neighbour at ``offset`` is inside as well."""
    return slice(max(0, -offset), side - max(0, offset))
