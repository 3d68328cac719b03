"""Additions of one carry chain each."""

from amaranth.hdl import Cat, Const, Value


def add_signed(base: Value, magnitude: Value, minus: Value, width: int) -> Value:
    """``base - magnitude`` where ``minus`` is 1, else their sum; ``width`` bits, one carry chain.

    Minus a number is its complement and a carry; the carry enters below bit 0.
    """
    flipped = (magnitude ^ minus.replicate(width))[:width]
    return (Cat(Const(1, 1), base[:width]) + Cat(minus, flipped))[1 : width + 1]


def add_carry(a: Value, b: Value, carry: Value) -> Value:
    """``a + b + carry`` for a carry of one bit; plain additions would make two chains."""
    a, b = (
        Cat(carry, value).as_signed() if value.shape().signed else Cat(carry, value)
        for value in (a, b)
    )
    return (a + b) >> 1
