"""Residual stream: membrane-domain shortcuts, kept in one memory."""

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import NeuronKind, neuron_input_layout, sums_layout
from .relay import Relay


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
    Slices come in the order of the memory's rows, so rows are read ahead of them, into a relay: a
    block RAM's output is late in the cycle, and its address comes from a register::

        i -----------------------> + --> [potential] --> o
                                   ^          |
        [address] --> read ==> [row]          +--> write

    Latency and resources
    ---------------------
    1 cycle, a slice a cycle, from 3 cycles after ``start`` on. ``lanes * time_steps`` adders of
    ``width`` bits, and registers of a slice and two rows.

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
    start : In, a layer begins, before its first slice: read from row 0 again
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
        """Build the reader and the adders."""
        m = Module()
        m.submodules.rows = rows = ResetInserter(self.start)(Relay(len(self.read_data)))
        self._read(m, rows)
        residual = Signal(sums_layout(self.lanes, self.time_steps, self.stored_width))
        row, written_row = Signal(range(self.rows)), Signal(range(self.rows))
        add = Signal()
        m.d.comb += [
            residual.as_value().eq(rows.o.payload),
            add.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(add & rows.o.valid),
            rows.o.ready.eq(add & self.i.valid),
        ]
        taken = self.i.valid & rows.o.valid

        kind = Signal(NeuronKind)
        part, part_slice = Signal(range(3)), Signal(range(self.head_slices))
        with m.Switch(part):
            for index, value in enumerate(self.kinds):
                with m.Case(index):
                    m.d.comb += kind.eq(value)

        write = Signal()
        m.d.sync += write.eq(0)
        with m.If(add):
            m.d.sync += self.o.valid.eq(taken)
            with m.If(taken):
                m.d.sync += [
                    self.o.payload.kind.eq(Mux(self.qkv, kind, NeuronKind.BINARY)),
                    row.eq(row + 1),
                    written_row.eq(row),
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
                            self.i.payload.sums[lane][step] + base
                        )
        with m.If(self.start):
            m.d.sync += [row.eq(0), part.eq(0), part_slice.eq(0)]

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

    def _read(self, m: Module, rows: Relay) -> None:
        """Read row after row, as long as the relay takes them."""
        address, fetched = Signal(range(self.rows)), Signal()
        m.d.comb += [
            self.read_addr.eq(address),
            self.read_en.eq(~fetched | rows.i.ready),
            rows.i.valid.eq(fetched),
            rows.i.payload.eq(self.read_data),
        ]
        with m.If(self.read_en):
            m.d.sync += [fetched.eq(1), address.eq(address + 1)]
        with m.If(self.start):
            m.d.sync += [fetched.eq(0), address.eq(0)]
