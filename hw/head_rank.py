"""Ranking of heads: which ones attend, by the spikes of their Q."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .highest import Highest
from .layouts import bundles_layout


class HeadRank(wiring.Component):
    """Count the ones in Q of each head over an image, and choose the heads with the most.

    Overview
    --------
    D3 pruning (ICCAD 2025): only the chosen heads compute K, V and attention. Defined by
    :func:`golden.experts.kept_heads`.

    Design
    ------
    ::

        i --> [ones of the slice] --> + [count of its head] --> Highest --> mask --> [kept]

    Latency and resources
    ---------------------
    ``mask`` and ``kept`` follow the last slice by 4 and 5 cycles, in time for the next layer, whose
    first tap comes at least 6 cycles after that slice. A slice a cycle. An adder tree of
    ``lanes * time_steps`` bits, and a counter a head.

    Parameters
    ----------
    heads : H
    count : heads to choose
    tokens, head_channels, time_steps : N, d and T
    lanes : channels of a slice; divides d

    Members
    -------
    i : In, stream of :func:`hw.layouts.bundles_layout`: d / lanes slices of Q for each head of each
        token; always ready
    start : In, an image begins: counts from 0
    mask : Out, a bit for each head that is chosen
    kept : Out, array of the chosen heads' numbers, rising
    """

    def __init__(
        self,
        *,
        heads: int,
        count: int,
        tokens: int,
        head_channels: int,
        time_steps: int,
        lanes: int,
    ) -> None:
        self.heads, self.count, self.tokens = heads, count, tokens
        self.head_channels, self.time_steps, self.lanes = head_channels, time_steps, lanes
        super().__init__(
            {
                "i": In(stream.Signature(bundles_layout(lanes, time_steps), always_ready=True)),
                "start": In(1),
                "mask": Out(heads),
                "kept": Out(data.ArrayLayout(range(heads), count)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the counters, and the list of chosen heads from their mask."""
        m = Module()
        most = self.tokens * self.head_channels * self.time_steps
        slices = self.head_channels // self.lanes
        m.submodules.highest = highest = Highest(self.heads, range(most + 1), self.count)

        head, place = Signal(range(self.heads)), Signal(range(slices))
        ones, counted = Signal(range(self.lanes * self.time_steps + 1)), Signal(self.heads)
        last = place == slices - 1
        m.d.sync += counted.eq(0)
        with m.If(self.i.valid):
            m.d.sync += [
                ones.eq(sum(self.i.payload.as_value())),
                counted.eq(1 << head),
                place.eq(Mux(last, 0, place + 1)),
            ]
            with m.If(last):
                m.d.sync += head.eq(Mux(head == self.heads - 1, 0, head + 1))
        for index in range(self.heads):
            total = Signal(range(most + 1), name=f"total{index}")
            m.d.comb += highest.i[index].eq(total)
            with m.If(counted[index]):
                m.d.sync += total.eq(total + ones)
            with m.If(self.start):
                m.d.sync += total.eq(0)
        with m.If(self.start):
            m.d.sync += [head.eq(0), place.eq(0), counted.eq(0)]

        m.d.comb += self.mask.eq(highest.o)
        for slot in range(self.count):
            number = 0
            for index in range(self.heads):
                before = sum(self.mask[:index]) if index else 0
                mine = self.mask[index] & (before == slot)
                number = number | Mux(mine, index, 0)
            m.d.sync += self.kept[slot].eq(number)
        return m
