"""A relay (skid buffer): registers in both directions of a stream, where long paths end."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .resting import offered


class Relay(wiring.Component):
    """Hand a stream on, with nothing combinational between its two sides.

    Overview
    --------
    A block RAM's output is late in the cycle, and a ready that passes through many blocks is late
    as well. A relay behind either ends the path in a register.

    Design
    ------
    ``front`` is what ``o`` shows. A payload that arrives in the cycle in which ``o`` begins to wait
    goes to ``back``; only then is ``i`` made to wait. Both load as :mod:`hw.resting` says::

        i --+----------> [front] --> o
            +--> [back] ----^

    Latency and resources
    ---------------------
    1 cycle, a payload a cycle. Two registers of the payload and a multiplexer between them.

    Parameters
    ----------
    shape : of the payload

    Members
    -------
    i : In, stream of ``shape``; its ready is a register
    o : Out, the same payloads; its valid and payload are registers
    """

    def __init__(self, shape: object) -> None:
        self.shape = shape
        signature = stream.Signature(shape)
        super().__init__({"i": In(signature), "o": Out(signature)})

    def elaborate(self, platform) -> Module:
        """Build the two registers."""
        m = Module()
        front, back = (Signal(self.shape, reset_less=True, name=name) for name in ("front", "back"))
        front_valid, back_valid = Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(~back_valid),
            self.o.valid.eq(front_valid),
            self.o.payload.eq(front),
        ]
        comes = offered(platform, self.i.valid)
        with m.If(comes & ~back_valid):
            m.d.sync += back.eq(self.i.payload)
        with m.If(self.o.ready | ~front_valid):
            m.d.sync += [back_valid.eq(0), front_valid.eq(self.i.valid | back_valid)]
            with m.If(back_valid):
                m.d.sync += front.eq(back)
            with m.Elif(comes):
                m.d.sync += front.eq(self.i.payload)
        with m.Elif(self.i.valid):
            m.d.sync += back_valid.eq(1)
        return m
