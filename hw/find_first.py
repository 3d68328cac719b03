"""Finding the lowest one of a mask (priority arbiter), and numbering it."""

from functools import reduce
from operator import or_

from amaranth.hdl import Array, Cat, Const, Signal, Value


def lowest_one(mask: Value) -> tuple[Value, Value]:
    """Lowest one of ``mask`` as a one-hot word, and ``mask`` without it: one carry chain each."""
    width = len(mask)
    return mask & (-mask)[:width], mask & (mask - 1)[:width]


def one_hot_index(select: Value) -> Value:
    """Position of the one in a one-hot word; 0 if there is none."""
    places = max(1, (len(select) - 1).bit_length())
    return Cat(
        Cat(select[i] for i in range(len(select)) if i >> place & 1).any()
        for place in range(places)
    )


def one_hot_mux(select: Value, words: list[Value]) -> Value:
    """The word that a one-hot ``select`` points at; 0 if it points at none."""
    return reduce(
        or_, (word & bit.replicate(len(word)) for bit, word in zip(select, words, strict=True))
    )


def flat_row(*digits: tuple[Signal, int]) -> Value:
    """Row number in an array of several axes, most significant first, as (index, size) pairs.

    Strides that are powers of two are wiring; others cost a table of constants and an adder.
    """
    row, stride = Const(0, 0), 1
    for index, size in reversed(digits):
        if stride & (stride - 1) == 0:
            bits = stride.bit_length() - 1
            row = Cat((row | Const(0, bits))[:bits], index)
        else:
            row = row + Array(Const(i * stride) for i in range(size))[index]
        stride *= size
    return row
