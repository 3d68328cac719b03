"""Selection of the highest of some scores (top-k selector), all compared at once."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out


class Highest(wiring.Component):
    """Mark the ``count`` highest scores; of equal ones the first.

    Overview
    --------
    A score is chosen if fewer than ``count`` others are ahead of it. Defined by
    :func:`golden.experts.highest`.

    Design
    ------
    A selection network without exchanges: every pair is compared once, and each score counts what
    is ahead of it. Its depth is one comparator and one count of n - 1 bits, whatever ``count`` is;
    a sorting network of 8 scores would be 6 comparators and exchanges deep::

        scores --> n (n - 1) / 2 comparators --> [ahead] --> count, < count --> [chosen]

    Latency and resources
    ---------------------
    2 cycles; new scores every cycle. ``n * (n - 1) / 2`` comparators and as many flip-flops, n
    counts of n - 1 bits, n flip-flops.

    Parameters
    ----------
    scores : n, at least 1
    shape : of a score, signed or unsigned
    count : scores to choose, 1 to n

    Members
    -------
    i : In, array of n scores
    o : Out, n bits

    Raises
    ------
    ValueError
        If ``scores`` is below 1 or ``count`` is not 1 to ``scores``.
    """

    def __init__(self, scores: int, shape: object, count: int) -> None:
        if scores < 1:
            raise ValueError(f"scores is {scores}: must be at least 1")
        if not 1 <= count <= scores:
            raise ValueError(f"count is {count}: must be 1 to {scores}")
        self.scores, self.shape, self.count = scores, shape, count
        super().__init__({"i": In(data.ArrayLayout(shape, scores)), "o": Out(scores)})

    def elaborate(self, platform) -> Module:
        """Build the comparators and the counts."""
        m = Module()
        ahead: list[list] = [[] for _ in range(self.scores)]
        for first in range(self.scores):
            for second in range(first + 1, self.scores):
                wins = Signal(name=f"wins{first}_{second}")
                m.d.sync += wins.eq(self.i[first] >= self.i[second])
                ahead[second].append(wins)
                ahead[first].append(~wins)
        for index, others in enumerate(ahead):
            m.d.sync += self.o[index].eq(sum(others, start=Cat()) < self.count)
        return m
