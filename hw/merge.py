"""Merge: streams of several tiles become one, in a fixed order."""

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class Merge(wiring.Component):
    """Take some payloads from each source in turn.

    Overview
    --------
    A group of the head's classes lies across the tiles, the lowest on the first, so that taking a
    group's slices from each tile in turn brings them back into the order of classes.

    Design
    ------
    ::

        i[0] --\\
        i[1] ---- selected by turn --> o
        ...  --/

    Latency and resources
    ---------------------
    No latency; a payload a cycle. A multiplexer and two small counters; a wire for one source.

    Parameters
    ----------
    shape : of the payload
    sources : number of sources
    run : payloads taken from a source before it is the next one's turn

    Members
    -------
    i : In, list of streams of ``shape``
    o : Out, stream of ``shape``

    Raises
    ------
    ValueError
        If ``sources`` or ``run`` is below 1.
    """

    def __init__(self, shape: ShapeLike, *, sources: int, run: int) -> None:
        for name, value in (("sources", sources), ("run", run)):
            if value < 1:
                raise ValueError(f"{name} is {value}: must be at least 1")
        self.shape, self.sources, self.run = shape, sources, run
        super().__init__(
            {"i": In(stream.Signature(shape)).array(sources), "o": Out(stream.Signature(shape))}
        )

    def elaborate(self, platform) -> Module:
        """Build the turn and the multiplexer."""
        m = Module()
        turn, place = Signal(range(self.sources)), Signal(range(self.run))
        for index, source in enumerate(self.i):
            with m.If(turn == index):
                m.d.comb += [
                    self.o.payload.eq(source.payload),
                    self.o.valid.eq(source.valid),
                    source.ready.eq(self.o.ready),
                ]
        last = place == self.run - 1
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += place.eq(Mux(last, 0, place + 1))
            with m.If(last):
                m.d.sync += turn.eq(Mux(turn == self.sources - 1, 0, turn + 1))
        return m
