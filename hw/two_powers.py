"""Multiplying by sums of at most two signed powers of two: two shifts and an addition."""

from amaranth.hdl import Cat, Const, Mux, Value
from amaranth.lib import data

from golden.coefficients import COEFFICIENT_SHIFT

TERM = data.StructLayout({"shift": COEFFICIENT_SHIFT.bit_length(), "minus": 1, "present": 1})
# Codes of golden.coefficients.two_powers, the first term lowest.
COEFFICIENT = data.ArrayLayout(TERM, 2)


def term_of(x: Value, term: data.View) -> Value:
    """``x * 2**7`` times the term, less its ``minus``: whoever adds the term adds that bit too.

    ``x`` is signed; the result has 7 bits more. An absent term is 0 and its ``minus`` must be 0.
    """
    scaled = x.as_signed() << (~term.shift)[: len(term.shift)]
    gated = Mux(term.present, scaled, Const(0, scaled.shape()))
    return (gated.as_unsigned() ^ term.minus.replicate(len(gated))).as_signed()


def saturate(value: Value, bits: int) -> Value:
    """Clamp a signed value to so many bits."""
    if len(value) <= bits:
        return value
    sign, above = value[-1], value[bits - 1 : -1]
    beyond = (above ^ sign.replicate(len(above))).any()
    limit = Cat((~sign).replicate(bits - 1), sign)
    return Mux(beyond, limit, value[:bits]).as_signed()
