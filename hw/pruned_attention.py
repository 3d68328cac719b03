"""Attention of the heads that an image keeps, with silence in place of the others."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .head_rank import HeadRank


class PrunedAttention(wiring.Component):
    """An attention core for some heads, and the ranking that chooses them.

    Overview
    --------
    Q of all heads comes first, while ``ranking``, and is only counted. Then K, V and Q of the kept
    heads charge the core as if they were all. Read out, the others' slices are silent in between.

    Design
    ------
    The core is that of a network with as many heads as are kept, so that pruning shortens charging,
    reading and clearing alike; Q of the kept heads is computed twice in turn::

        i --+--> HeadRank --> mask, kept
            |                  |
            +--> core --> or silence --> o

    Latency and resources
    ---------------------
    Those of the core; a silent slice takes a cycle.

    Parameters
    ----------
    core : attention core with ``rank.count`` heads, see :class:`hw.attention.AttentionCore`
    rank : as :class:`hw.head_rank.HeadRank`

    Members
    -------
    i : In, as of the core
    o : Out, as of the core, for all heads; only while ``reading``
    start : In, a layer begins
    ranking : In, ``i`` carries Q of all heads, to be counted
    reading : In, the layer takes ``o``
    kept : Out, array of the kept heads' numbers, rising
    """

    def __init__(self, core: wiring.Component, rank: HeadRank) -> None:
        self.core, self.rank = core, rank
        super().__init__(
            {
                "i": In(stream.Signature(core.i.payload.shape())),
                "o": Out(stream.Signature(core.o.payload.shape())),
                "start": In(1),
                "ranking": In(1),
                "reading": In(1),
                "kept": Out(data.ArrayLayout(range(rank.heads), rank.count)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Join core and ranking, and walk the heads that are read."""
        m = Module()
        m.submodules.core, m.submodules.rank = core, rank = self.core, self.rank
        m.d.comb += [
            core.i.valid.eq(self.i.valid & ~self.ranking),
            core.i.payload.eq(self.i.payload),
            rank.i.valid.eq(self.i.valid & self.ranking),
            rank.start.eq(self.start & self.ranking),
            self.i.ready.eq(self.ranking | core.i.ready),
            self.kept.eq(rank.kept),
        ]
        for lane in range(rank.lanes):
            for step in range(rank.time_steps):
                spike = self.i.payload.values[lane][step][0]
                m.d.comb += rank.i.payload.bundles[lane][step].eq(spike)

        slices = rank.head_channels // rank.lanes
        head, place = Signal(range(rank.heads)), Signal(range(slices))
        # Silence must end with the image: nobody else says when the last slice has left.
        token, over = Signal(range(rank.tokens)), Signal()
        speaks, last = Signal(), place == slices - 1
        gives = self.reading & ~over
        m.d.comb += [
            speaks.eq(rank.mask.bit_select(head, 1)),
            self.o.valid.eq(gives & (core.o.valid | ~speaks)),
            self.o.payload.eq(Mux(speaks, core.o.payload.as_value(), 0)),
            core.o.ready.eq(gives & speaks & self.o.ready),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += place.eq(Mux(last, 0, place + 1))
            with m.If(last):
                m.d.sync += head.eq(head + 1)
                with m.If(head == rank.heads - 1):
                    m.d.sync += [head.eq(0), token.eq(token + 1), over.eq(token == rank.tokens - 1)]
        with m.If(self.start):
            m.d.sync += [head.eq(0), place.eq(0), token.eq(0), over.eq(0)]
        return m
