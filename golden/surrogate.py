"""The same neurons for training: floats, with SpikingJelly's surrogate gradients.

SpikingJelly's ``LIFNode`` computes the same spikes; the loop is written out here because a loop
that torch can compile runs four times as fast on a CPU, and K's clipped ReLU has no counterpart
there.
"""

import torch
from spikingjelly.activation_based.surrogate import atan
from torch import Tensor

# Width of the surrogate's peak; SpikingJelly's own default for ATan.
ALPHA = 2.0


def lif(
    x: Tensor,
    threshold: float = 1.0,
    decay_shift: int = 1,
    reset: str = "hard",
    ternary: bool = False,
) -> Tensor:
    """Leaky integrate-and-fire with surrogate gradient; see :func:`golden.neurons.lif`."""
    beta = 1.0 - 2.0**-decay_shift
    membrane = torch.zeros_like(x[0])
    spikes = []
    for step in range(x.shape[0]):
        potential = membrane + x[step]
        fired = atan.apply(potential - threshold, ALPHA)
        if ternary:
            fired = fired - atan.apply(-potential - threshold, ALPHA)
        # The reset is not differentiated: its gradient adds noise and no information.
        held = fired.detach()
        left = potential * (1.0 - held.abs()) if reset == "hard" else potential - held * threshold
        membrane = beta * left
        spikes.append(fired)
    return torch.stack(spikes)


def relu_clip(x: Tensor, frac_bits: int, bits: int) -> Tensor:
    """Clipped ReLU on the grid of ``2**-frac_bits``, straight-through inside its range."""
    top = (2**bits - 1) / 2**frac_bits
    inside = x.clamp(0.0, top)
    quantised = (x * 2**frac_bits).floor().clamp(0, 2**bits - 1) / 2**frac_bits
    return inside + (quantised - inside).detach()
