"""Keeps the rows of a request until they may be written."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.storage import Storage

ROW_BYTE = data.StructLayout({"data": 8, "first": 1, "last": 1})


class RowBuffer(wiring.Component):
    """Takes bytes, tells whether they are whole rows, and sends them when asked.

    Overview
    --------
    Part of :class:`hw.host_port.HostPort`: nothing of a request leaves before all of it is good.

    Design
    ------
    A counter wraps at every row while bytes arrive, and again while they leave, so whole rows need
    no division. The owner counts rows with ``row_end``.

    Latency and resources
    ---------------------
    The first byte is valid two cycles after ``send``, then one a cycle if the sink never stalls.
    ``ceil(log2(depth)) + ceil(log2(row_bytes)) + 4`` flip-flops and ``8 * depth`` bits of memory.

    ::

        write_data --> memory --> o
                         ^
        open, send --> address, bytes left in the row --> row_end, partial

    Parameters
    ----------
    depth : bytes that fit
    row_bytes : bytes of the longest row

    Members
    -------
    row_last : In, bytes of a row minus 1; constant from ``open`` on
    open : In, forget everything; high in at least one cycle before bytes come
    write_en : In, take ``write_data``; at most ``depth`` times
    write_data : In 8, byte of a row
    partial : Out, the last byte taken did not end a row
    row_end : Out, the byte being taken or sent ends a row, in the cycle in which it moves
    send : In, high for one cycle to send what was taken, which must be whole rows, at least one
    stop : In, the row being sent is the last
    finished : Out, high in the cycle in which the last byte leaves
    o : Out stream of a byte with marks at the first and the last byte of a row

    Raises
    ------
    ValueError
        If ``row_bytes`` is below 1 or above ``depth``.
    """

    def __init__(self, depth: int, row_bytes: int) -> None:
        if not 1 <= row_bytes <= depth:
            raise ValueError(f"row_bytes is {row_bytes}: must be 1 to the depth, {depth}")
        self.depth, self.row_bytes = depth, row_bytes
        super().__init__(
            {
                "row_last": In(range(row_bytes)),
                "open": In(1),
                "write_en": In(1),
                "write_data": In(8),
                "partial": Out(1),
                "row_end": Out(1),
                "send": In(1),
                "stop": In(1),
                "finished": Out(1),
                "o": Out(stream.Signature(ROW_BYTE)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the memory, its address and the counter within a row."""
        m = Module()
        m.submodules.storage = storage = Storage(self.depth, 8, exclusive=True)
        address = Signal(range(self.depth))
        row_left = Signal(range(self.row_bytes))
        first = Signal()
        ends = Signal()
        moves = Signal()
        m.d.comb += [
            storage.write_addr.eq(address),
            storage.write_data.eq(self.write_data),
            storage.read_addr.eq(address),
            self.o.payload.data.eq(storage.read_data),
            self.o.payload.first.eq(first),
            self.o.payload.last.eq(ends),
            ends.eq(row_left == 0),
            self.row_end.eq(moves & ends),
        ]
        with m.If(moves):
            m.d.sync += [
                address.eq(address + 1),
                row_left.eq(Mux(ends, self.row_last, row_left - 1)),
                first.eq(ends),
            ]

        with m.FSM():
            with m.State("TAKE"):
                m.d.comb += [storage.write_en.eq(self.write_en), moves.eq(self.write_en)]
                with m.If(self.write_en):
                    m.d.sync += self.partial.eq(~ends)
                with m.If(self.open):
                    m.d.sync += [
                        address.eq(0),
                        row_left.eq(self.row_last),
                        self.partial.eq(0),
                    ]
                with m.If(self.send):
                    m.d.sync += address.eq(0)
                    m.next = "PRIME"

            with m.State("PRIME"):
                m.d.comb += storage.read_en.eq(1)
                m.d.sync += [address.eq(address + 1), first.eq(1)]
                m.next = "SEND"

            with m.State("SEND"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.comb += [
                        moves.eq(1),
                        storage.read_en.eq(~self.finished),
                        self.finished.eq(ends & self.stop),
                    ]
                    with m.If(self.finished):
                        m.next = "TAKE"
        return m
