"""Synaptic array: T x P accumulators that share one weight row a cycle."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .gated_add import gated_add
from .layouts import sums_layout, weighted_event_layout
from .pipeline import elastic_stages

# Bits of the shift that the first stage takes: four places, the inputs of a LUT.
FEW_BITS = 2


class SynapticArray(wiring.Component):
    """Add weight rows into accumulators, gated by spikes.

    Overview
    --------
    ``sum[t][p] += weight[p] << shift`` where spike t of the event is set. The last event of a group
    hands the group on, and the next one starts from 0. Nothing is multiplied: a spike gates an
    addition, and T time steps share one weight fetch.

    Design
    ------
    The shift happens once a lane, before the T accumulators, and flip-flops do most of it: a stage
    holds a weight once for each place that it can go to, and all but one of these are cleared by
    the flip-flops' own reset, so that an OR a bit is left of a multiplexer. The first stage has
    four places 1 bit apart, the second two, 4 bits apart, whose OR is the adder's, as is the gate::

        i --> [near 0..3] --> OR --> [far 0..1] --> (+ sum, gated) --+--> o
                                                      ^              |
                                                      +--- [sum] <---+

    What the adders give leaves the block with the last event of a group, and the same clock edge
    clears the accumulators.

    Latency and resources
    ---------------------
    A group leaves 2 cycles after its last event; one event a cycle, without a gap between groups
    if ``o`` is taken at once. On ECP5 ``lanes * (time_steps * width + weight_bits + 1)`` LUT4s,
    carry cells included, and a few. ``lanes * (time_steps * width + 6 * weight_bits + 7)``
    flip-flops, and ``2 * time_steps`` and a few.

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
        event, few = self.i.payload, min(self.shift_bits, FEW_BITS)
        # Places between source and accumulators; only the last event of a group waits for the sink.
        adds = stream.Signature(1).create(path=("adds",))
        loads = elastic_stages(m, platform, self.i, adds, 2)
        stages = [Signal(_frame_layout(self.time_steps), name=f"frame{k}") for k in range(2)]
        far = Signal(self.shift_bits - few)
        with m.If(loads[0]):
            m.d.sync += [
                stages[0].gates.eq(event.gates),
                stages[0].last.eq(event.last),
                far.eq(event.shift[few:]),
            ]
        with m.If(loads[1]):
            m.d.sync += stages[1].eq(stages[0])
        m.d.comb += [
            adds.ready.eq(~adds.payload | self.o.ready),
            adds.payload.eq(stages[1].last),
            self.o.valid.eq(adds.valid & adds.payload),
        ]
        for lane in range(self.lanes):
            near = self._near(m, loads[0], event.weights[lane], event.shift[:few], f"w{lane}")
            parts = []
            for place in range(1 << len(far)):
                part = Signal(signed(len(near)), name=f"w{lane}_far{place}", reset_less=True)
                _load_or_clear(m, part, near, loads[1], far == place)
                parts.append(_as_wide((part << (place << few)), self.width))
            low, high = parts[0], reduce(or_, parts[1:], Const(0, self.width))
            for step in range(self.time_steps):
                name = f"sum{lane}_{step}"
                total = Signal(signed(self.width), name=name)
                gate = stages[1].gates[step]
                following = gated_add(m, platform, total, low, high, gate, name=name)
                _load_or_clear(m, total, following, adds.valid & adds.ready, ~adds.payload)
                m.d.comb += self.o.payload.sums[lane][step].eq(following)
        return m

    def _near(self, m: Module, load: Value, weight: Value, shift: Value, name: str) -> Value:
        """Weight shifted by the low bits of the shift."""
        most = (1 << len(shift)) - 1
        sign = Signal(name=f"{name}_sign", reset_less=True)
        with m.If(load):
            m.d.sync += sign.eq(weight[-1])
        shifted = []
        for amount in range(most + 1):
            held = Signal.like(weight, name=f"{name}_near{amount}", reset_less=True)
            _load_or_clear(m, held, weight, load, shift == amount)
            shifted.append(_as_wide(held << amount, len(weight) + most))
        return Cat(reduce(or_, shifted)[:-1], sign).as_signed()


def _frame_layout(time_steps: int) -> data.StructLayout:
    return data.StructLayout({"gates": time_steps, "last": 1})


def _load_or_clear(m: Module, held: Signal, value: Value, load: Value, wanted: Value) -> None:
    """Hold a value, or 0 if it is not wanted, with the flip-flops' own enable and reset."""
    with m.If(load & ~wanted):
        m.d.sync += held.eq(0)
    with m.Elif(load):
        m.d.sync += held.eq(value)


def _as_wide(value: Value, width: int) -> Value:
    """Bits of a signed value, cut or extended."""
    return Cat(value, value[-1].replicate(max(0, width - len(value))))[:width]
