"""Where the global term and the local branch of the attention meet."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .attention_shape import AttentionShape


class LocalJoin(wiring.Component):
    """Adds the local sums of a head to the sums of Q K^T V, time step by time step.

    Overview
    --------
    ``i`` carries the d sums of one time step after another, ``local`` the sums of all T steps of a
    token and head at once; ``o`` carries ``(i << frac_bits) + local`` a time step.

    Design
    ------
    The local sums of a head shift out of a register, a time step each::

        local --> held --.
        i --> << --------+--> o

    Latency and resources
    ---------------------
    1 cycle, a time step a cycle. A register of ``T * d`` local sums, d adders.

    Parameters
    ----------
    shape : sizes of the core, with its local branch
    local_layout : payload of ``local``: channels of steps

    Members
    -------
    i : In, sums of a time step
    local : In, local sums of a token and head
    o : Out, inputs of the neurons of a time step
    """

    def __init__(self, shape: AttentionShape, local_layout: data.ArrayLayout) -> None:
        self.shape, self.local_layout = shape, local_layout
        super().__init__(
            {
                "i": In(stream.Signature(shape.result_layout())),
                "local": In(stream.Signature(local_layout)),
                "o": Out(stream.Signature(shape.input_layout())),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the register and the adders."""
        m = Module()
        shape, steps = self.shape, self.shape.time_steps
        held = Signal(self.local_layout, reset_less=True)
        left = Signal(range(steps + 1))
        move = Signal()
        m.d.comb += [
            self.i.ready.eq((left != 0) & (~self.o.valid | self.o.ready)),
            move.eq(self.i.valid & self.i.ready),
            self.local.ready.eq((left == 0) | (move & (left == 1))),
        ]
        with m.If(move):
            m.d.sync += [self.o.valid.eq(1), left.eq(left - 1)]
            for c in range(shape.head_channels):
                total = (self.i.p.sums[c] << shape.frac_bits) + held[c][0]
                m.d.sync += self.o.p.sums[c].eq(total)
                for t in range(steps - 1):
                    m.d.sync += held[c][t].eq(held[c][t + 1])
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.local.valid & self.local.ready):
            m.d.sync += [held.eq(self.local.payload), left.eq(steps)]
        return m
