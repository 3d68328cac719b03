"""Buffer of the attention core's Q, read back as events."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .attention_shape import AttentionShape
from .find_first import one_hot_index
from .layouts import bundles_layout
from .step_scan import StepScan
from .storage import Storage


class QueryScan(wiring.Component):
    """Holds Q of all tokens and emits one event for each Q of 1.

    Overview
    --------
    Slices of Q are stored as they come. ``start`` reads them back in the same order; ``o`` carries
    the ones of each head, time step by time step. A silent step is one event not ``present``.

    Design
    ------
    Slices of the next head are read into registers while the events of this head go out. The
    memory's own output register is the first place of that queue. It waits for the registers to be
    free and not for ``o``, so that no ready of the blocks behind reaches the memory.

    Latency and throughput
    ----------------------
    With s = d / NL: the first event is offered ``s + 3`` cycles after ``start``. A head takes
    ``max(s + 1, events)`` cycles, where a silent time step counts as one event.

    Resources
    ---------
    A memory of ``N * H * s`` rows of ``NL * T`` bits, ``d * T`` registers and a scanner.

    ::

        i --> Storage --> head j+1 --> StepScan (head j) --> o

    Parameters
    ----------
    shape : sizes of the core

    Members
    -------
    i : In, slices of Q; always ready
    o : Out, events
    start : In, read the buffer; only while ``idle``
    idle : Out, nothing is being read and all events are out
    """

    def __init__(self, shape: AttentionShape) -> None:
        self.shape = shape
        slices = bundles_layout(shape.lanes, shape.time_steps)
        super().__init__(
            {
                "i": In(stream.Signature(slices, always_ready=True)),
                "o": Out(stream.Signature(shape.query_layout())),
                "start": In(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the buffer, the prefetch and the scanner."""
        m = Module()
        shape = self.shape
        steps, channels = shape.time_steps, shape.head_channels
        rows, width = shape.jobs * shape.slices, shape.lanes * steps
        m.submodules.buffer = buffer = Storage(rows, width)
        m.submodules.scan = scan = StepScan(channels, steps)

        write_row = Signal(range(rows))
        m.d.comb += [
            buffer.write_addr.eq(write_row),
            buffer.write_data.eq(self.i.payload),
            buffer.write_en.eq(self.i.valid),
        ]
        with m.If(self.i.valid):
            m.d.sync += write_row.eq(Mux(write_row == rows - 1, 0, write_row + 1))

        read_row = Signal(range(rows))
        reading, fetched, full = Signal(), Signal(), Signal()
        slot = Signal(range(shape.slices))
        spikes = Signal(data.ArrayLayout(steps, channels), reset_less=True)
        take = fetched & ~full
        m.d.comb += [
            buffer.read_addr.eq(read_row),
            buffer.read_en.eq(reading & (~fetched | take)),
        ]
        with m.If(self.start):
            m.d.sync += reading.eq(1)
        with m.If(buffer.read_en):
            m.d.sync += fetched.eq(1)
            with m.If(read_row == rows - 1):
                m.d.sync += [read_row.eq(0), reading.eq(0)]
            with m.Else():
                m.d.sync += read_row.eq(read_row + 1)
        with m.Elif(take):
            m.d.sync += fetched.eq(0)

        with m.If(scan.i.ready):
            m.d.sync += full.eq(0)
        with m.If(take):
            m.d.sync += spikes.as_value().eq(Cat(spikes.as_value(), buffer.read_data)[width:])
            with m.If(slot == shape.slices - 1):
                m.d.sync += [slot.eq(0), full.eq(1)]
            with m.Else():
                m.d.sync += slot.eq(slot + 1)

        next_head = Signal(range(shape.heads))
        head = Signal(range(shape.heads), reset_less=True)
        m.d.comb += [
            scan.i.valid.eq(full),
            scan.i.p.visit.eq(~0),
            self.idle.eq(~reading & ~fetched & ~full & ~scan.o.valid),
        ]
        for t in range(steps):
            m.d.comb += scan.i.p.masks[t].eq(Cat(spikes[c][t] for c in range(channels)))
        with m.If(scan.i.valid & scan.i.ready):
            m.d.sync += [
                head.eq(next_head),
                next_head.eq(Mux(next_head == shape.heads - 1, 0, next_head + 1)),
            ]

        event = scan.o.p
        m.d.comb += [
            self.o.valid.eq(scan.o.valid),
            scan.o.ready.eq(self.o.ready),
            self.o.p.head.eq(head),
            self.o.p.step.eq(event.step),
            self.o.p.index.eq(one_hot_index(event.select)),
            self.o.p.present.eq(event.select.any()),
            self.o.p.last.eq(event.last),
        ]
        return m
