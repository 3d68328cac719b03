"""Widths inside the attention, by kind and derived from a preset. Imports no torch."""

from .coefficients import COEFFICIENT_ONE
from .local_taps import local_taps
from .spec import Preset
from .widths import signed_bits

# Largest size of a coefficient: two terms of 1.
COEFFICIENT_TOP = 2


def local_range(preset: Preset) -> int:
    """Largest size of the local branch's sum, in its own unit; 0 without a branch.

    On V in the unit of the neuron's input; on a read-out in ``2**-7`` of that unit.
    """
    net, quant = preset.network, preset.quant
    taps = len(local_taps(preset.dilations, causal=net.local_causal))
    if net.attention == "lrf-ssa":
        return taps * 2 ** (quant.local_bits - 1)
    return taps * COEFFICIENT_TOP * COEFFICIENT_ONE * 2 ** (quant.read_bits - 1)


def attention_range(preset: Preset) -> int:
    """Largest size of the neuron's input, in units of ``2**-attention_frac_bits``."""
    net, quant = preset.network, preset.quant
    if net.attention == "lrf-dyn":
        return 2 ** (quant.read_bits - 1) + local_range(preset) // COEFFICIENT_ONE
    everywhere = net.head_channels * preset.tokens * (2**preset.key_bits - 1)
    if net.attention == "lrf-ssa":
        return (everywhere << quant.local_frac_bits) + local_range(preset)
    return everywhere


def attention_input_bits(preset: Preset) -> int:
    """Signed bits of the neuron's input."""
    most = attention_range(preset)
    return signed_bits(-most, most)


def state_sum_bits(preset: Preset) -> int:
    """Signed bits of a dendrite's sum before its shift: three states and a token, each times 2."""
    quant = preset.quant
    token = (2**preset.key_bits - 1) << quant.state_frac_bits
    most = COEFFICIENT_TOP * COEFFICIENT_ONE * (3 * 2 ** (quant.state_bits - 1) + token)
    return signed_bits(-most, most)


def read_sum_bits(preset: Preset) -> int:
    """Signed bits of the sum over the dendrites before its shift."""
    states = preset.network.dendrites * 2 ** (preset.quant.state_bits - 1)
    most = COEFFICIENT_TOP * COEFFICIENT_ONE * states
    return signed_bits(-most, most)
