"""Amaranth's memory hook: memories of the accelerator as macros of :mod:`synth.asic.fakeram`."""

from dataclasses import dataclass

from amaranth.hdl import (
    Cat,
    ClockSignal,
    Const,
    Elaboratable,
    Instance,
    Module,
    Shape,
    Signal,
    Value,
)
from amaranth.lib import memory

from .fakeram import macro_name


@dataclass(frozen=True)
class MacroPlatform:
    """Platform that turns memories above a size into macros; smaller ones become flip-flops.

    Parameters
    ----------
    flop_bits : memories of so many bits, or with contents, stay with Yosys
    bank_rows : a power of two; a deeper memory is split into banks of so many rows
    bank_bits : a wider memory is split into equal parts of at most so many bits
    """

    flop_bits: int = 256
    bank_rows: int = 512
    bank_bits: int = 256

    def get_memory(self, mem: memory.Memory) -> Elaboratable:
        """Build a memory with one read and one write port, as Amaranth asks."""
        bits = mem.depth * Shape.cast(mem.shape).width
        if bits <= self.flop_bits or _has_contents(mem):
            return mem.elaborate(None)
        return _Banks(mem, self)


def _has_contents(mem: memory.Memory) -> bool:
    # Rows of a layout are no plain numbers; only constant tables are made of them.
    return any(not isinstance(row, int) or row for row in mem.init)


class _Banks(Elaboratable):
    """Macros side by side, the banks' read data chosen by the address that was read last."""

    def __init__(self, mem: memory.Memory, platform: MacroPlatform) -> None:
        self._mem = mem
        self._rows = platform.bank_rows
        self._width = Shape.cast(mem.shape).width
        parts = -(-self._width // platform.bank_bits)
        self._part_bits = -(-self._width // parts)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        mem, (read,), (write,) = self._mem, self._mem.read_ports, self._mem.write_ports
        banks = -(-mem.depth // self._rows)
        low = (self._rows - 1).bit_length() if banks > 1 else len(read.addr)
        mask = Cat(enable.replicate(self._width // len(write.en)) for enable in write.en)
        if len(write.en) == 1:
            mask = Const(-1, self._width)
        chosen = Signal(range(banks))
        if banks > 1:
            with m.If(read.en):
                m.d.sync += chosen.eq(read.addr[low:])
        for bank in range(banks):
            depth = min(self._rows, mem.depth - bank * self._rows)
            r_ce, w_ce, data = Signal(), Signal(), Signal(self._width)
            mine = [port.addr[low:] == bank if banks > 1 else 1 for port in (read, write)]
            m.d.comb += [r_ce.eq(read.en & mine[0]), w_ce.eq(write.en.any() & mine[1])]
            for part, start in enumerate(range(0, self._width, self._part_bits)):
                columns = slice(start, min(start + self._part_bits, self._width))
                width = columns.stop - columns.start
                # A macro has at least one address bit, and a short bank fewer than the others.
                bits = max(1, (depth - 1).bit_length())
                addresses = [(Cat(port.addr[:low], Const(0, 1)))[:bits] for port in (read, write)]
                m.submodules[f"bank{bank}_part{part}"] = Instance(
                    macro_name(depth, width, two_ports=True),
                    i_clk=ClockSignal(),
                    i_r_ce_in=r_ce,
                    i_w_ce_in=w_ce,
                    i_r_addr_in=addresses[0],
                    i_w_addr_in=addresses[1],
                    i_w_mask_in=mask[columns],
                    i_wd_in=Value.cast(write.data)[columns],
                    o_rd_out=data[columns],
                )
            with m.If(chosen == bank):
                m.d.comb += Value.cast(read.data).eq(data)
        return m
