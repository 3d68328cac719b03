"""Amaranth's memory hook: memories of the accelerator as macros of :mod:`synth.asic.fakeram`."""

from dataclasses import dataclass

from amaranth.hdl import (
    Array,
    Cat,
    ClockSignal,
    Const,
    Elaboratable,
    Instance,
    Module,
    Mux,
    Shape,
    Signal,
    Value,
)
from amaranth.lib import memory

from .fakeram import macro, macro_name

# A macro row may hold so many rows of the memory.
FOLDS = (1, 2, 4, 8)
# A last bank of less than this part of the others' rows joins the one before it.
LEAST_BANK = 1 / 8


@dataclass(frozen=True)
class MacroPlatform:
    """Platform that turns memories above a size into macros; smaller ones become flip-flops.

    Parameters
    ----------
    flop_bits : memories of so many bits, or with contents, stay with Yosys
    bank_rows : a power of two; a deeper memory is split into banks of so many rows, the last one of
        fewer, or of up to an eighth more
    bank_bits : a wider memory is split into equal parts of at most so many bits
    clock_gates : clocks can rest, so registers load only what is offered
    """

    flop_bits: int = 256
    bank_rows: int = 512
    bank_bits: int = 128
    clock_gates: bool = True

    def get_memory(self, mem: memory.Memory) -> Elaboratable:
        """Build a memory with one read and one write port, as Amaranth asks."""
        bits = mem.depth * Shape.cast(mem.shape).width
        if bits <= self.flop_bits or _has_contents(mem):
            return mem.elaborate(None)
        return Banks(mem, self)


@dataclass(frozen=True)
class Plan:
    """How a memory is cut.

    Members
    -------
    fold : rows of the memory in a row of a macro, the lowest address bits choose
    part_bits : bits of a row in each macro of a bank; the last may have fewer
    depths : rows of each bank's macros
    two_ports : macros have a read and a write port
    """

    fold: int
    part_bits: int
    depths: tuple[int, ...]
    two_ports: bool

    def macros(self, width: int) -> list[str]:
        """Names of all macros of a memory of ``width`` bits a row."""
        parts = [min(self.part_bits, width - low) for low in range(0, width, self.part_bits)]
        return [
            macro_name(depth, part * self.fold, two_ports=self.two_ports)
            for depth in self.depths
            for part in parts
        ]


def plan(rows: int, width: int, platform: MacroPlatform, *, two_ports: bool) -> Plan:
    """Choose the cut of least area.

    A deep and narrow macro is mostly row decoders, so several rows share one row of the macro; the
    write mask picks the one to write.
    """
    best = None
    for fold in FOLDS:
        if fold > 1 and width * fold > platform.bank_bits:
            break
        parts = -(-width * fold // platform.bank_bits)
        depth = -(-rows // fold)
        depths = bank_depths(depth, platform.bank_rows)
        found = Plan(fold, -(-width // parts), depths, two_ports)
        area = sum(macro(name).area_um2 for name in found.macros(width))
        if best is None or area < best[0]:
            best = (area, found)
    return best[1]


def bank_depths(rows: int, bank_rows: int) -> tuple[int, ...]:
    """Rows of each bank of a memory; the last one may have fewer, or a few more."""
    depths = [min(bank_rows, rows - start) for start in range(0, rows, bank_rows)]
    if len(depths) > 1 and depths[-1] < LEAST_BANK * bank_rows:
        depths[-2:] = [sum(depths[-2:])]
    return tuple(depths)


class Banks(Elaboratable):
    """Macros side by side, the banks' read data chosen by the address that was read last.

    With one port, a write takes the address; the owner never reads in the same cycle.
    """

    def __init__(self, mem: memory.Memory, platform: MacroPlatform) -> None:
        self._mem = mem
        self._width = Shape.cast(mem.shape).width
        two_ports = not mem.attrs.get("exclusive")
        self._plan = plan(mem.depth, self._width, platform, two_ports=two_ports)
        self._bank_bits = (platform.bank_rows - 1).bit_length()

    def elaborate(self, platform: object) -> Module:
        """Build macros, their enables, and the choice of what was read."""
        m = Module()
        (read,), (write,) = self._mem.read_ports, self._mem.write_ports
        cut, banks = self._plan, len(self._plan.depths)
        fold_bits = (cut.fold - 1).bit_length()
        rows = [port.addr[fold_bits:] for port in (read, write)]
        chosen_column = Signal(range(cut.fold))
        # What a longer last bank has more than the others counts as one bank more.
        chosen_bank = Signal(range(banks + 1))
        with m.If(read.en):
            m.d.sync += chosen_column.eq(read.addr[:fold_bits])
            if banks > 1:
                m.d.sync += chosen_bank.eq(rows[0][self._bank_bits :])
        mask = self._mask(write)
        found = []
        for bank, depth in enumerate(cut.depths):
            reads, writes = Signal(), Signal()
            mine = [self._in_bank(row, bank) for row in rows]
            m.d.comb += [reads.eq(read.en & mine[0]), writes.eq(write.en.any() & mine[1])]
            data = []
            for low in range(0, self._width, cut.part_bits):
                columns = slice(low, min(low + cut.part_bits, self._width))
                ports, row = self._macro(bank, depth, columns, (reads, writes), rows, mask)
                m.submodules[f"bank{bank}_part{low // cut.part_bits}"] = ports
                data.append(row)
            folds = [Cat(row[fold] for row in data) for fold in range(cut.fold)]
            found.append(Array(folds)[chosen_column] if cut.fold > 1 else folds[0])
        result = Array([*found, found[-1]])[chosen_bank] if banks > 1 else found[0]
        m.d.comb += Value.cast(read.data).eq(result)
        return m

    def _in_bank(self, row: Value, bank: int) -> Value | int:
        """Whether a row is one of a bank's; the last bank has all that follow."""
        banks = len(self._plan.depths)
        if banks == 1:
            return 1
        number = row[self._bank_bits :]
        return number == bank if bank < banks - 1 else number >= bank

    def _mask(self, write: memory.WritePort) -> list[Value]:
        """Bits to write of each fold of a row."""
        fold = self._plan.fold
        fold_bits = (fold - 1).bit_length()
        if len(write.en) == 1:
            enables = Const(-1, self._width)
        else:
            enables = Cat(bit.replicate(self._width // len(write.en)) for bit in write.en)
        if fold == 1:
            return [enables]
        return [
            Mux(write.addr[:fold_bits] == index, enables, Const(0, self._width))
            for index in range(fold)
        ]

    def _macro(self, bank, depth, columns, enables, rows, mask) -> tuple[Instance, list[Value]]:
        """One macro, and its read data for each fold."""
        cut, (reads, writes), (write,) = self._plan, enables, self._mem.write_ports
        part = columns.stop - columns.start
        row = Signal(part * cut.fold, name=f"row{bank}")
        bits = max(1, (depth - 1).bit_length())
        read_row, write_row = (
            Cat(address[: self._bank_bits], address[self._bank_bits :] != bank, Const(0, 1))[:bits]
            for address in rows
        )
        if cut.two_ports:
            ports = {
                "i_r_ce_in": reads,
                "i_w_ce_in": writes,
                "i_r_addr_in": read_row,
                "i_w_addr_in": write_row,
            }
        else:
            ports = {
                "i_ce_in": reads | writes,
                "i_we_in": writes,
                "i_addr_in": Mux(writes, write_row, read_row),
            }
        instance = Instance(
            macro_name(depth, part * cut.fold, two_ports=cut.two_ports),
            i_clk=ClockSignal(),
            i_w_mask_in=Cat(fold[columns] for fold in mask),
            i_wd_in=Value.cast(write.data)[columns].replicate(cut.fold),
            o_rd_out=row,
            **ports,
        )
        return instance, [row[part * fold : part * (fold + 1)] for fold in range(cut.fold)]


def _has_contents(mem: memory.Memory) -> bool:
    # Rows of a layout are no plain numbers; only constant tables are made of them.
    return any(not isinstance(row, int) or row for row in mem.init)
