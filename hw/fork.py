"""Fork: one stream to several sinks that each take it when they can."""

from amaranth.hdl import Cat, Module, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class Fork(wiring.Component):
    """Give every payload to each of the sinks once.

    Overview
    --------
    The tiles read the same chunks, but one of them may wait for its neurons or its attention while
    the others go on.

    Design
    ------
    A sink that has taken the payload at hand is not offered it again while others still wait; one
    outside the mask is not offered it at all::

        i --+--> o[0]
            +--> o[1]     sent: which sinks have this payload
            +--> ...

    Latency and resources
    ---------------------
    No latency; a payload a cycle. A flip-flop a sink; none for a single sink, which is a wire.

    Parameters
    ----------
    shape : of the payload
    sinks : number of sinks

    Members
    -------
    i : In, stream of ``shape``
    o : Out, list of streams of ``shape``
    mask : In, sinks that get the payload at hand; with ``i.payload``

    Raises
    ------
    ValueError
        If there is no sink.
    """

    def __init__(self, shape: ShapeLike, sinks: int) -> None:
        if sinks < 1:
            raise ValueError(f"sinks is {sinks}: must be at least 1")
        self.shape, self.sinks = shape, sinks
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)).array(sinks),
                "mask": In(sinks, init=(1 << sinks) - 1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the notes of who has the payload."""
        m = Module()
        sent, takes = Signal(self.sinks), Cat(sink.ready for sink in self.o)
        m.d.comb += self.i.ready.eq((sent | takes | ~self.mask).all())
        for index, sink in enumerate(self.o):
            m.d.comb += [
                sink.payload.eq(self.i.payload),
                sink.valid.eq(self.i.valid & ~sent[index] & self.mask[index]),
            ]
        if self.sinks > 1:
            with m.If(self.i.valid):
                m.d.sync += sent.eq(sent | takes)
                with m.If(self.i.ready):
                    m.d.sync += sent.eq(0)
        return m
