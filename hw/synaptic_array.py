"""Synaptic array: T x P accumulators that share one weight row a cycle."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import sums_layout, weighted_event_layout


class SynapticArray(wiring.Component):
    """Add weight rows into accumulators, gated by spikes.

    Overview
    --------
    ``sum[t][p] += weight[p] << shift`` where spike t of the event is set. The first event of a
    group starts from 0, the last one hands the group on. Nothing is multiplied: a spike gates an
    addition, and T time steps share one weight fetch.

    Design
    ------
    The shift happens once a lane, before the T accumulators. Gate and start fold into the
    accumulator's adder (four inputs a bit: sum, weight, gate, first)::

        i --> [weight << shift] --> [sum = (first ? 0 : sum) + (gate ? weight : 0)] --> o

    The accumulators are the output register: a new group overwrites them in the cycle in which the
    finished one is taken.

    Latency and resources
    ---------------------
    A group leaves 2 cycles after its last event; one event a cycle, without a gap between groups
    if ``o`` is taken at once. ``lanes * time_steps * width`` accumulator bits and adder bits, and
    ``lanes`` shifters.

    Parameters
    ----------
    lanes : P, output channels in parallel
    time_steps : T
    weight_bits : bits of a synaptic weight, signed
    width : bits of an accumulator, signed; from :mod:`golden.ranges`
    shift_bits : bits of the shift

    Members
    -------
    i : In, stream of :func:`hw.layouts.weighted_event_layout`
    o : Out, stream of :func:`hw.layouts.sums_layout`

    Raises
    ------
    ValueError
        If ``lanes``, ``time_steps`` or ``width`` is below 1.
    """

    def __init__(
        self, *, lanes: int, time_steps: int, weight_bits: int, width: int, shift_bits: int
    ) -> None:
        for name, value in (("lanes", lanes), ("time_steps", time_steps), ("width", width)):
            if value < 1:
                raise ValueError(f"{name} is {value}: must be at least 1")
        self.lanes, self.time_steps, self.weight_bits = lanes, time_steps, weight_bits
        self.width, self.shift_bits = width, shift_bits
        weighted = weighted_event_layout(lanes, time_steps, weight_bits, shift_bits)
        super().__init__(
            {
                "i": In(stream.Signature(weighted)),
                "o": Out(stream.Signature(sums_layout(lanes, time_steps, width))),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the shifters and the accumulators."""
        m = Module()
        done, held_valid, add = Signal(), Signal(), Signal()
        gates, first, last = Signal(self.time_steps), Signal(), Signal()

        m.d.comb += [
            self.o.valid.eq(done),
            add.eq(held_valid & (~done | self.o.ready)),
            self.i.ready.eq(~held_valid | add),
        ]
        with m.If(self.i.ready):
            m.d.sync += [
                held_valid.eq(self.i.valid),
                gates.eq(self.i.payload.gates),
                first.eq(self.i.payload.first),
                last.eq(self.i.payload.last),
            ]
        with m.If(add):
            m.d.sync += done.eq(last)
        with m.Elif(self.o.ready):
            m.d.sync += done.eq(0)

        for lane in range(self.lanes):
            shifted = Signal(signed(self.width), name=f"weight{lane}")
            with m.If(self.i.ready):
                m.d.sync += shifted.eq(self.i.payload.weights[lane] << self.i.payload.shift)
            for step in range(self.time_steps):
                total = Signal(signed(self.width), name=f"sum{lane}_{step}")
                with m.If(add):
                    m.d.sync += total.eq(Mux(first, 0, total) + Mux(gates[step], shifted, 0))
                m.d.comb += self.o.payload.sums[lane][step].eq(total)
        return m
