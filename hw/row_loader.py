"""From the host port's bytes to the write port of one memory."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from hw.frames import Space


def load_layout(spaces: tuple[Space, ...]) -> data.StructLayout:
    """Give the shape of one byte on its way to one of ``spaces``.

    ``first`` and ``last`` mark the first and the last byte of a row.
    """
    return data.StructLayout(
        {
            "space": range(len(spaces)),
            "row": bits_for(max(space.rows for space in spaces) - 1),
            "data": 8,
            "first": 1,
            "last": 1,
        }
    )


class RowLoader(wiring.Component):
    """Assembles the bytes of a row and writes it.

    Overview
    --------
    Every writable space has one; all of them listen to the same byte stream and each takes the
    bytes of its own space.

    Design
    ------
    Bytes enter a shift register at its top, so the first byte ends at the bottom whatever was in it
    before. A row whose first byte was not seen, as after a reset, is not written. Everything that
    leaves is a register: the bytes come from a block RAM, whose output is late in the cycle.

    Latency and resources
    ---------------------
    ``write_en`` is high in the cycle after the last byte of a row. A byte a cycle, never stalls.
    ``8 * ceil(row_bits / 8) + ceil(log2(rows)) + 2`` flip-flops.

    ::

        i --> own space? --> shift register --> write_data
                         +-> row            --> write_addr
                         +-> last byte      --> write_en

    Parameters
    ----------
    space : number of the space
    rows : depth of the memory
    row_bits : bits a row
    layout : layout of the byte stream, see :func:`load_layout`

    Members
    -------
    i : In stream, ``layout``; always ready
    write_addr : Out, row to write
    write_en : Out, high for one cycle a row
    write_data : Out, the row

    Raises
    ------
    ValueError
        If ``rows`` or ``row_bits`` is below 1, or the layout cannot name the space or the row.
    """

    def __init__(self, space: int, rows: int, row_bits: int, *, layout: data.StructLayout) -> None:
        if rows < 1 or row_bits < 1:
            raise ValueError(f"loader of {rows} rows of {row_bits} bits: both must be at least 1")
        spaces, reach = (1 << layout[name].width for name in ("space", "row"))
        if not 0 <= space < spaces:
            raise ValueError(f"space is {space}: the layout has room for 0 to {spaces - 1}")
        if rows > reach:
            raise ValueError(f"rows is {rows}: the layout has room for {reach}")
        self.space, self.rows, self.row_bits, self.layout = space, rows, row_bits, layout
        super().__init__(
            {
                "i": In(stream.Signature(layout)),
                "write_addr": Out(range(rows)),
                "write_en": Out(1),
                "write_data": Out(row_bits),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the shift register and its write strobe."""
        m = Module()
        row = Signal(8 * ((self.row_bits + 7) // 8))
        open_row = Signal()
        byte = self.i.payload
        whole = byte.first | open_row

        m.d.comb += [self.i.ready.eq(1), self.write_data.eq(row)]
        m.d.sync += self.write_en.eq(0)
        with m.If(self.i.valid & (byte.space == self.space)):
            m.d.sync += [
                row.eq(Cat(row, byte.data) >> 8),
                self.write_addr.eq(byte.row),
                self.write_en.eq(byte.last & whole),
                open_row.eq(whole & ~byte.last),
            ]
        return m
