"""The neurons in integers: the definition of every spike the hardware makes.

All functions take ``x`` with time as the first axis, shape ``(T, ...)``, in integers of some unit,
and start from a membrane potential of 0. Membranes carry :func:`guard_bits` bits below the unit of
the input, so that halving is exact over T steps and no rounding rule is needed for ``beta = 1/2``;
for other decays the rule is ``H = U - floor(U / 2**s)`` on the guarded integer.

Sources: A2OS2A (arXiv 2503.00226), hybrid neurons; Ternary Spike (AAAI 2024); SpikingJelly
``LIFNode(tau=2, decay_input=False)`` and ``TernaryLIFNode`` for ``decay_shift=1``.
"""

import torch
from torch import Tensor


def guard_bits(time_steps: int) -> int:
    """Bits a membrane potential carries below the unit of its input: T - 1."""
    return time_steps - 1


def lif(
    x: Tensor,
    threshold: int,
    *,
    decay_shift: int = 1,
    reset: str = "hard",
    ternary: bool = False,
) -> Tensor:
    """Leaky integrate-and-fire over all T steps.

    ``U = H + X``; ``S = 1`` where ``U >= V_th`` (ternary: also ``-1`` where ``U <= -V_th``);
    ``H = beta * U``, after a reset to 0 (hard) or by ``S * V_th`` (soft).

    Parameters
    ----------
    x : synaptic input, integers, shape (T, ...)
    threshold : V_th in the unit of ``x``, at least 1
    decay_shift : s of ``beta = 1 - 2**-s``
    reset : ``"hard"`` or ``"soft"``
    ternary : fire with both signs

    Returns
    -------
    Tensor
        Spikes of the dtype of ``x``, in {0, 1} or {-1, 0, 1}.
    """
    guard = guard_bits(x.shape[0])
    level = threshold << guard
    membrane = torch.zeros_like(x[0])
    spikes = torch.empty_like(x)
    for step in range(x.shape[0]):
        potential = membrane + (x[step] << guard)
        fired = (potential >= level).to(x.dtype)
        if ternary:
            fired = fired - (potential <= -level).to(x.dtype)
        spikes[step] = fired
        if reset == "hard":
            left = torch.where(fired != 0, torch.zeros_like(potential), potential)
        else:
            left = potential - fired * level
        membrane = left - (left >> decay_shift)
    return spikes


def relu_clip(x: Tensor, *, shift: int, bits: int) -> Tensor:
    """Unsigned multi-bit ReLU: ``clip(floor(x / 2**shift), 0, 2**bits - 1)``, without state."""
    return (x >> shift).clamp(0, 2**bits - 1)
