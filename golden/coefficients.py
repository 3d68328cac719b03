"""Coefficients that are sums of at most two signed powers of two. Plain numpy.

A coefficient c is stored as the integer ``c * 2**7``; its terms are ``+-2**-s`` with s of 0 to 7,
so that multiplying by it is at most two shifts and an addition. Source: LRF-Dyn (arXiv 2603.19290)
leaves the coefficients real; powers of two are our reading.
"""

from functools import cache

import numpy as np

# Largest right shift of a term, and with it the fraction bits of a stored coefficient.
COEFFICIENT_SHIFT = 7
COEFFICIENT_ONE = 2**COEFFICIENT_SHIFT
# Bits of a term's code: shift, minus, present; a coefficient has two.
TERM_BITS = COEFFICIENT_SHIFT.bit_length() + 2
MINUS, PRESENT = 1 << (TERM_BITS - 2), 1 << (TERM_BITS - 1)
MAX_DENDRITES = 8


@cache
def _pairs() -> dict[int, tuple[int, int]]:
    """Codes of the two terms by stored value; of several ways, the one with fewest terms."""
    terms = {0: 0}
    for shift in range(COEFFICIENT_SHIFT + 1):
        terms[1 << (COEFFICIENT_SHIFT - shift)] = PRESENT | shift
        terms[-1 << (COEFFICIENT_SHIFT - shift)] = PRESENT | MINUS | shift
    pairs = {value: (code, 0) for value, code in terms.items()}
    # No first term is larger than it must be, so no sum leaves the range of its terms on the way.
    for first in sorted(terms, key=abs):
        for second in sorted(terms, key=abs):
            pairs.setdefault(first + second, (terms[first], terms[second]))
    return pairs


@cache
def coefficient_values() -> np.ndarray:
    """Every stored value that is a sum of at most two terms, int64, rising."""
    return np.array(sorted(_pairs()), np.int64)


def two_powers(values: np.ndarray) -> np.ndarray:
    """Codes of the terms of stored coefficients.

    Parameters
    ----------
    values : integers in units of ``2**-7``, any shape

    Returns
    -------
    ndarray
        uint8 of shape (..., 2). Bits 0 to 2 are the shift s, bit 3 is "minus", bit 4 "present"; an
        absent term is 0.

    Raises
    ------
    ValueError
        If a value is not a sum of at most two terms.
    """
    wrong = values[~np.isin(values, coefficient_values())]
    if wrong.size:
        raise ValueError(not_two_powers(int(wrong.flat[0])))
    pairs = _pairs()
    codes = np.array([pairs[int(value)] for value in values.flat], np.uint8)
    return codes.reshape(*values.shape, 2)


def not_two_powers(value: int) -> str:
    """What is wrong with a stored coefficient."""
    return (
        f"coefficient {value} / {COEFFICIENT_ONE}:"
        f" must be a sum of at most two of +-1 to +-2**-{COEFFICIENT_SHIFT}"
    )
