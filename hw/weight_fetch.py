"""Weight fetch: gives each event its row of synaptic weights."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import event_layout, weighted_event_layout

SHIFT_BITS = 3

# A register that synthesis must not merge with its equals: each has loads of its own nearby.
COPY = {"keep": 1}


class WeightFetch(wiring.Component):
    """Read the weight row of each event and say by how much to shift it.

    Overview
    --------
    For spikes, the row is the chunk's first row plus the event's index, and the shift is the
    layer's ``align``. For pixels, the index is the bit of the pixel: it becomes the shift, and all
    eight bits share one row, which makes the first layer bit-serial.

    Design
    ------
    ::

        i --> [row + index] --> read_addr ... read_data --> o

    Latency and resources
    ---------------------
    2 cycles; one event a cycle. One adder of ``row_bits`` and about
    ``2 * (time_steps + 5) + row_bits`` flip-flops.

    Parameters
    ----------
    entries, time_steps, row_bits : as :class:`hw.encoder.Encoder`
    lanes : P, weights in a row
    weight_bits : bits of a weight

    Members
    -------
    i : In, stream of :func:`hw.layouts.event_layout`
    o : Out, stream of :func:`hw.layouts.weighted_event_layout`
    pixels : In, events are bits of pixels; constant while events are in flight
    align : In, shift for spikes; constant while events are in flight
    read_addr, read_en, read_data : to the read port of the weight storage
    """

    def __init__(
        self, *, entries: int, time_steps: int, row_bits: int, lanes: int, weight_bits: int
    ) -> None:
        self.entries, self.time_steps, self.row_bits = entries, time_steps, row_bits
        self.lanes, self.weight_bits = lanes, weight_bits
        weighted = weighted_event_layout(lanes, time_steps, weight_bits, SHIFT_BITS)
        super().__init__(
            {
                "i": In(stream.Signature(event_layout(entries, time_steps, row_bits))),
                "o": Out(stream.Signature(weighted)),
                "pixels": In(1),
                "align": In(SHIFT_BITS),
                "read_addr": Out(row_bits),
                "read_en": Out(1),
                "read_data": In(lanes * weight_bits),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the address stage and the read stage."""
        m = Module()
        tag = data.StructLayout({"shift": SHIFT_BITS, "gates": self.time_steps, "last": 1})
        addressed, addressed_valid = Signal(tag), Signal(attrs=COPY)
        fetched, fetched_valid = Signal(tag), Signal(attrs=COPY)
        row = Signal(self.row_bits, attrs=COPY)
        take, read = Signal(), Signal()

        m.d.comb += [
            read.eq(~fetched_valid | self.o.ready),
            take.eq(~addressed_valid | read),
            self.i.ready.eq(take),
            self.read_addr.eq(row),
            self.read_en.eq(read & addressed_valid),
        ]
        event = self.i.payload
        with m.If(take):
            m.d.sync += [
                addressed_valid.eq(self.i.valid),
                row.eq(event.row + Mux(self.pixels, 0, event.index)),
                addressed.shift.eq(Mux(self.pixels, event.index, self.align)),
                addressed.gates.eq(event.gates),
                addressed.last.eq(event.last),
            ]
        with m.If(read):
            m.d.sync += [fetched_valid.eq(addressed_valid), fetched.eq(addressed)]
        m.d.comb += [
            self.o.valid.eq(fetched_valid),
            self.o.payload.weights.eq(self.read_data),
            self.o.payload.shift.eq(fetched.shift),
            self.o.payload.gates.eq(fetched.gates),
            self.o.payload.last.eq(fetched.last),
        ]
        return m
