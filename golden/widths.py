"""How many bits a sum needs, derived from the extreme values it can take. Imports no torch."""


def signed_bits(low: int, high: int) -> int:
    """Two's complement bits that hold every integer from ``low`` to ``high``."""
    return max((n if n >= 0 else ~n).bit_length() for n in (low, high)) + 1


def kv_state_bits(key_bits: int, tokens: int) -> int:
    """Signed bits of ``K^T V``: N tokens, each adding up to ``+-(2**b - 1)``."""
    most = tokens * (2**key_bits - 1)
    return signed_bits(-most, most)


def score_bits(key_bits: int, head_channels: int) -> int:
    """Unsigned bits of ``Q K^T``: d channels, each adding up to ``2**b - 1``."""
    return (head_channels * (2**key_bits - 1)).bit_length()


def attention_bits(key_bits: int, head_channels: int, tokens: int) -> int:
    """Signed bits of ``Q K^T V``: d channels of N tokens, each adding up to ``+-(2**b - 1)``."""
    most = head_channels * tokens * (2**key_bits - 1)
    return signed_bits(-most, most)


def lif_membrane_bits(
    low: int, high: int, *, time_steps: int, threshold: int, decay_shift: int, reset: str
) -> int:
    """Signed bits of a binary LIF neuron's guarded potential ``U`` before its reset.

    Parameters
    ----------
    low, high : extremes of the input of one time step; ``low`` at most 0, ``high`` at least 0
    time_steps, threshold, decay_shift, reset : as for :func:`golden.neurons.lif`
    """
    guard = time_steps - 1
    level = threshold << guard
    least, most = low << guard, high << guard
    bottom, top = least, most
    for _ in range(guard):
        bottom = bottom - (bottom >> decay_shift) + least
        left = min(top, level - 1)
        if reset == "soft":
            left = max(left, top - level)
        top = max(top, left - (left >> decay_shift) + most)
    return signed_bits(bottom, top)
