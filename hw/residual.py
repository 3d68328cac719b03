"""Residual stream: membrane-domain shortcuts, kept in one memory."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import NeuronKind, neuron_input_layout, sums_layout


class ResidualMode(enum.Enum, shape=2):
    """What a layer does with the residual stream."""

    NONE = 0
    SET = 1
    ADD = 2


class Residual(wiring.Component):
    """Add the residual stream to a slice and keep the result, and say which neuron comes next.

    Overview
    --------
    A layer leaves the stream alone, starts it (patch splitting) or adds to it (position embedding,
    attention, MLP); ``U' = A2OS2A(S) + U`` and ``U = MLP(S') + U'`` of the paper's equations 15
    and 16. Slices of a K, V, Q projection get the neuron kind of their place in the head.

    Design
    ------
    Slices come in the order of the memory's rows, so the address only counts up, and a row is read
    when the slice before it is taken. It is registered with its own slice: a block RAM's output is
    late in the cycle::

        i ----> [slice] --> + --> [potential] --> o
                            ^          |
        read -> [row] ------+          +--> write

    Latency and resources
    ---------------------
    2 cycles, a slice a cycle. ``lanes * time_steps`` adders of ``width`` bits, and registers of two
    slices and a row.

    Parameters
    ----------
    lanes : channels in a slice
    time_steps : T
    in_width : bits of an incoming sum, signed
    stored_width : bits of a residual in memory, signed
    width : bits of a potential, signed
    rows : depth of the residual storage
    head_slices : slices of a head, d / lanes
    kinds : neurons of K, V and Q

    Members
    -------
    i : In, stream of :func:`hw.layouts.sums_layout`
    o : Out, stream of :func:`hw.layouts.neuron_input_layout`
    start : In, a layer begins; before its first slice
    mode : In, :class:`ResidualMode`
    qkv : In, slices are K, V and Q in turn; else all binary
    read_addr, read_en, read_data, write_addr, write_en, write_data : to the residual storage
    """

    def __init__(
        self,
        *,
        lanes: int,
        time_steps: int,
        in_width: int,
        stored_width: int,
        width: int,
        rows: int,
        head_slices: int,
        kinds: tuple[NeuronKind, NeuronKind, NeuronKind],
    ) -> None:
        self.lanes, self.time_steps, self.in_width = lanes, time_steps, in_width
        self.stored_width, self.width, self.rows = stored_width, width, rows
        self.head_slices, self.kinds = head_slices, kinds
        stored_bits = lanes * time_steps * stored_width
        super().__init__(
            {
                "i": In(stream.Signature(sums_layout(lanes, time_steps, in_width))),
                "o": Out(stream.Signature(neuron_input_layout(lanes, time_steps, width))),
                "start": In(1),
                "mode": In(ResidualMode),
                "qkv": In(1),
                "read_addr": Out(range(rows)),
                "read_en": Out(1),
                "read_data": In(stored_bits),
                "write_addr": Out(range(rows)),
                "write_en": Out(1),
                "write_data": Out(stored_bits),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the read stage and the add stage."""
        m = Module()
        taken, taken_valid = Signal.like(self.i.payload), Signal()
        row, next_row, taken_row, written_row = (Signal(range(self.rows)) for _ in range(4))
        residual = Signal(sums_layout(self.lanes, self.time_steps, self.stored_width))
        add = Signal()
        m.d.comb += [
            add.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(~taken_valid | add),
            next_row.eq(row),
            self.read_addr.eq(next_row),
            self.read_en.eq(1),
        ]
        m.d.sync += row.eq(next_row)
        with m.If(self.i.ready):
            m.d.sync += taken_valid.eq(self.i.valid)
            with m.If(self.i.valid):
                m.d.comb += next_row.eq(row + 1)
                m.d.sync += [
                    taken.eq(self.i.payload),
                    taken_row.eq(row),
                    residual.as_value().eq(self.read_data),
                ]

        kind = Signal(NeuronKind)
        part, part_slice = Signal(range(3)), Signal(range(self.head_slices))
        with m.Switch(part):
            for index, value in enumerate(self.kinds):
                with m.Case(index):
                    m.d.comb += kind.eq(value)

        write = Signal()
        m.d.sync += write.eq(0)
        with m.If(add):
            m.d.sync += self.o.valid.eq(taken_valid)
            with m.If(taken_valid):
                m.d.sync += [
                    self.o.payload.kind.eq(Mux(self.qkv, kind, NeuronKind.BINARY)),
                    written_row.eq(taken_row),
                    write.eq(self.mode != ResidualMode.NONE),
                ]
                last_slice = part_slice == self.head_slices - 1
                m.d.sync += part_slice.eq(Mux(last_slice, 0, part_slice + 1))
                with m.If(last_slice):
                    m.d.sync += part.eq(Mux(part == 2, 0, part + 1))
                for lane in range(self.lanes):
                    for step in range(self.time_steps):
                        base = Mux(self.mode == ResidualMode.ADD, residual.sums[lane][step], 0)
                        m.d.sync += self.o.payload.sums[lane][step].eq(
                            taken.sums[lane][step] + base
                        )
        with m.If(self.start):
            m.d.comb += next_row.eq(0)
            m.d.sync += [part.eq(0), part_slice.eq(0)]

        kept = Signal.like(residual)
        for lane in range(self.lanes):
            for step in range(self.time_steps):
                m.d.comb += kept.sums[lane][step].eq(self.o.payload.sums[lane][step])
        m.d.comb += [
            self.write_addr.eq(written_row),
            self.write_en.eq(write),
            self.write_data.eq(kept.as_value()),
        ]
        return m
