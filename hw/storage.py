"""A memory as a module of its own, so that netlists can be cut at its ports."""

from amaranth.hdl import Module
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out


class Storage(wiring.Component):
    """One write port and one synchronous read port on a memory without initial contents.

    Overview
    --------
    Every memory of the accelerator is one of these: tier partitions cut at its ports, and macro
    mapping replaces it whole.

    Latency and resources
    ---------------------
    Read data follow the address by one cycle and hold while ``read_en`` is low. A read and a write
    of the same row in one cycle give the old contents. ``rows * width`` bits.

    Parameters
    ----------
    rows : depth, at least 1
    width : bits a row
    granularity : bits that one bit of ``write_en`` covers; the whole row by default
    exclusive : the owner never reads and writes in one cycle, so one port of a macro serves both

    Members
    -------
    read_addr : In, row to read
    read_en : In, take the address in this cycle
    read_data : Out, the row, one cycle later
    write_addr : In, row to write
    write_en : In, a bit for each ``granularity`` bits of the row
    write_data : In, the row

    Raises
    ------
    ValueError
        If ``rows`` or ``width`` is below 1, or ``granularity`` does not divide ``width``.
    """

    def __init__(
        self, rows: int, width: int, *, granularity: int | None = None, exclusive: bool = False
    ) -> None:
        if rows < 1 or width < 1:
            raise ValueError(f"storage of {rows} rows of {width} bits: both must be at least 1")
        granularity = width if granularity is None else granularity
        if granularity < 1 or width % granularity:
            raise ValueError(f"granularity is {granularity}: must divide the width, {width}")
        self.rows, self.width, self.granularity = rows, width, granularity
        self.exclusive = exclusive
        super().__init__(
            {
                "read_addr": In(range(rows)),
                "read_en": In(1),
                "read_data": Out(width),
                "write_addr": In(range(rows)),
                "write_en": In(width // granularity),
                "write_data": In(width),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the memory and its two ports."""
        m = Module()
        attrs = {"exclusive": 1} if self.exclusive else {}
        m.submodules.memory = mem = memory.Memory(
            shape=self.width, depth=self.rows, init=[], attrs=attrs
        )
        read = mem.read_port()
        write = mem.write_port(granularity=self.granularity)
        m.d.comb += [
            read.addr.eq(self.read_addr),
            read.en.eq(self.read_en),
            self.read_data.eq(read.data),
            write.addr.eq(self.write_addr),
            write.en.eq(self.write_en),
            write.data.eq(self.write_data),
        ]
        return m


def write_port(rows: int, width: int) -> wiring.Signature:
    """Write port of a :class:`Storage`, seen from what writes."""
    return wiring.Signature(
        {"write_addr": Out(range(rows)), "write_en": Out(1), "write_data": Out(width)}
    )


def connect_write(m: Module, memory: Storage, writer) -> None:
    """Let ``writer``, which has the members of :func:`write_port`, write ``memory``."""
    m.d.comb += [
        memory.write_addr.eq(writer.write_addr),
        memory.write_en.eq(writer.write_en),
        memory.write_data.eq(writer.write_data),
    ]
