"""LRF-Dyn in integers: each channel is a neuron with a few dendrites, charged token by token.

Sources: LRF-Dyn (arXiv 2603.19290), equations 12 and 13. The paper defines neither Token_n nor
the part of Q; ours: ``Token_n = k_n (.) v_n``, and the neuron's spikes are gated by binary
``q_n``. With one dendrite, A = 1, no local branch, binary K and V and the sum over all tokens this
is the spike-driven attention of SDT (arXiv 2304.11954).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .coefficients import COEFFICIENT_SHIFT
from .local_branch import local_branch
from .sections import Quant

# Up to here the sums of eight dendrites, each times 2 and in units of 2**-7, fit 32 bits.
INT32_STATE_BITS = 20


class Dendrites(NamedTuple):
    """Coefficients in units of ``2**-7``, integers.

    Members
    -------
    a : (D, k, 3), what dendrite j takes of dendrites j - 1, j and j + 1; 0 where there is none
    gamma : (D, k), what each takes of a token
    c : (D, k), what the soma takes of each
    """

    a: Tensor
    gamma: Tensor
    c: Tensor


def read_out(
    key: Tensor, value: Tensor, dendrites: Dendrites, quant: Quant, *, all_tokens: bool = False
) -> Tensor:
    """Read-out of every channel after each token.

    With Token in the unit of K, and coefficients as their integers::

        X_n[j] = sat((a[j,0] X_{n-1}[j-1] + a[j,1] X_{n-1}[j] + a[j,2] X_{n-1}[j+1]
                      + gamma[j] (Token_n << state_frac_bits)) >> 7)
        y_n    = sat((sum over j of c[j] X_n[j]) >> (7 + state_frac_bits - read_frac_bits))

    Sums are exact, ``>>`` is an arithmetic shift (floor) of the whole sum, ``sat`` clamps to signed
    ``state_bits`` or ``read_bits``. So widths depend on no number of tokens and on no checkpoint.

    Parameters
    ----------
    key, value : integers of shape (..., N, D), channels of all heads side by side
    dendrites : coefficients
    quant : formats
    all_tokens : give each token the read-out after the last one, as SDT does; golden alone

    Returns
    -------
    Tensor
        Integers of the dtype of ``key``, shape (..., N, D).
    """
    wide = torch.int32 if quant.state_bits <= INT32_STATE_BITS else torch.int64
    a, gamma, c = (x.to(wide).movedim(1, 0) for x in dendrites)  # dendrites first
    below, own, above = a.unbind(-1)
    tokens = (key * value).to(wide) << quant.state_frac_bits
    fraction = COEFFICIENT_SHIFT + quant.state_frac_bits - quant.read_frac_bits
    # Dendrites are the first axis: (k, ..., D).
    state = torch.zeros(len(own), *tokens.shape[:-2], tokens.shape[-1], dtype=wide)
    result = torch.empty_like(tokens)
    spread = (slice(None), *[None] * (state.dim() - 2))
    below, own, above, gamma, c = (x[spread] for x in (below, own, above, gamma, c))
    for n in range(tokens.shape[-2]):
        sums = own * state + gamma * tokens[..., n, :]
        sums[1:] += below[1:] * state[:-1]
        sums[:-1] += above[:-1] * state[1:]
        state = saturate(sums >> COEFFICIENT_SHIFT, quant.state_bits)
        result[..., n, :] = (c * state).sum(0) >> fraction
    if all_tokens:
        result = result[..., -1:, :].expand_as(result)
    return saturate(result, quant.read_bits).to(key.dtype)


def dendrite_sums(
    key: Tensor,
    value: Tensor,
    dendrites: Dendrites,
    local: Tensor,
    quant: Quant,
    dilations: tuple[int, ...],
    grid: tuple[int, int],
    *,
    causal: bool = False,
    all_tokens: bool = False,
) -> Tensor:
    """Input of the neurons: ``o = floor((128 y + local branch on y) / 128)``, in the unit of y.

    ``local`` are stored coefficients (D, kernels, 3, 3); the other parameters as for
    :func:`read_out` and :func:`golden.local_branch.local_branch`.
    """
    y = read_out(key, value, dendrites, quant, all_tokens=all_tokens)
    beside = local_branch(y, local, dilations, grid, causal=causal)
    return y + (beside >> COEFFICIENT_SHIFT)


def saturate(x: Tensor, bits: int) -> Tensor:
    """Clamp to the range of signed integers of so many bits."""
    return x.clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
