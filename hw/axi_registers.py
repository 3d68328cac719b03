"""Registers behind AXI4-Lite, whatever a register map says."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .axi import DATA_BITS, OKAY, SLVERR, axi_lite
from .register_map import WORD_BYTES, Field, Memory, Register, RegisterMap

WORD_SHIFT = (WORD_BYTES - 1).bit_length()


class AxiRegisters(wiring.Component):
    """Registers and memories of a register map, on AXI4-Lite.

    Overview
    --------
    A field of the map is a port of this block. Where no register is, where a register is not for
    reading or not for writing, the answer is SLVERR and nothing happens.

    Design
    ------
    Address and data of a write are taken as they come, in any order; the write happens when both
    are there and the last response was taken. Byte strobes count. The low two bits of an address
    are ignored. Reads and writes do not wait for each other::

        aw --> [address] --+--> decode --> fields --> [response] --> b
        w  --> [data] -----+
        ar --> [address] --> select, memory --> [data, response] --> r

    Latency and resources
    ---------------------
    A write's response is valid 2 cycles after address and data, a read's data 3 cycles after its
    address; one of each at a time.

    Parameters
    ----------
    map : what there is

    Members
    -------
    bus : In, see :func:`hw.axi.axi_lite`
    <register>_<field> : Out, what software wrote, for fields with a reset value; In for the others;
        constants have none
    <register>_<field>_set : In, sets a field that software clears by writing 1
    <memory>_addr, <memory>_en : Out, word to read
    <memory>_data : In 32, the word, in the cycle after
    """

    def __init__(self, map: RegisterMap) -> None:
        self.map = map
        ports: dict[str, object] = {"bus": In(axi_lite(map.address_bits))}
        for register in map.registers:
            for field in register.fields:
                name = f"{register.name}_{field.name}"
                if field.driven:
                    ports[name] = In(field.width)
                elif not field.constant:
                    ports[name] = Out(field.width, init=field.reset)
                if field.events:
                    ports[f"{name}_set"] = In(field.width)
        for memory in map.memories:
            ports[f"{memory.name}_addr"] = Out(range(memory.words))
            ports[f"{memory.name}_en"] = Out(1)
            ports[f"{memory.name}_data"] = In(DATA_BITS)
        super().__init__(ports)

    def elaborate(self, platform) -> Module:
        """Build the write path and the read path."""
        m = Module()
        self._write(m)
        self._read(m)
        return m

    def _write(self, m: Module) -> None:
        bus = self.bus
        address, held = Signal(self.map.address_bits), Signal()
        data, strobe, filled = Signal(DATA_BITS), Signal(DATA_BITS // 8), Signal()
        write, known = Signal(), Signal()
        m.d.comb += [
            bus.awready.eq(~held),
            bus.wready.eq(~filled),
            write.eq(held & filled & ~bus.bvalid),
        ]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [address.eq(bus.awaddr), held.eq(1)]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [data.eq(bus.wdata), strobe.eq(bus.wstrb), filled.eq(1)]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(write):
            m.d.sync += [
                held.eq(0),
                filled.eq(0),
                bus.bvalid.eq(1),
                bus.bresp.eq(Mux(known, OKAY, SLVERR)),
            ]
        enabled = Cat(bit.replicate(8) for bit in strobe)
        for register in self.map.registers:
            chosen = Signal(name=f"write_{register.name}")
            if register.writable:
                m.d.comb += chosen.eq(_is(address, register))
                with m.If(chosen):
                    m.d.comb += known.eq(1)
            for field in register.fields:
                if not field.driven and not field.constant:
                    part = slice(field.low, field.low + field.width)
                    mask = enabled[part] & (write & chosen).replicate(field.width)
                    self._store(m, register, field, data[part], mask)

    def _store(self, m: Module, register: Register, field: Field, data: Value, mask: Value) -> None:
        """What software's bits, and hardware's, do to a field."""
        name = f"{register.name}_{field.name}"
        value = getattr(self, name)
        if field.pulse:
            m.d.sync += value.eq(data & mask)
        elif field.events:
            m.d.sync += value.eq((value & ~(data & mask)) | getattr(self, f"{name}_set"))
        else:
            m.d.sync += value.eq((value & ~mask) | (data & mask))

    def _read(self, m: Module) -> None:
        bus = self.bus
        address = Signal(self.map.address_bits)
        value, known, stored = Signal(DATA_BITS), Signal(), Signal(len(self.map.memories))
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += bus.arready.eq(1)
                with m.If(bus.arvalid):
                    m.d.sync += address.eq(bus.araddr)
                    m.next = "READ"
            with m.State("READ"):
                m.d.sync += [value.eq(0), known.eq(0), stored.eq(0)]
                for register in self.map.registers:
                    if register.readable:
                        with m.If(_is(address, register)):
                            m.d.sync += [value.eq(self._value(register)), known.eq(1)]
                for index, memory in enumerate(self.map.memories):
                    with m.If(_is(address, memory)):
                        m.d.comb += getattr(self, f"{memory.name}_en").eq(1)
                        m.d.sync += [stored[index].eq(1), known.eq(1)]
                m.next = "DATA"
            with m.State("DATA"):
                m.d.sync += [bus.rdata.eq(value), bus.rresp.eq(Mux(known, OKAY, SLVERR))]
                for index, memory in enumerate(self.map.memories):
                    with m.If(stored[index]):
                        m.d.sync += bus.rdata.eq(getattr(self, f"{memory.name}_data"))
                m.next = "RESPONSE"
            with m.State("RESPONSE"):
                m.d.comb += bus.rvalid.eq(1)
                with m.If(bus.rready):
                    m.next = "IDLE"
        for memory in self.map.memories:
            port = getattr(self, f"{memory.name}_addr")
            word = address[WORD_SHIFT : WORD_SHIFT + len(port)]
            first = (memory.address >> WORD_SHIFT) % (1 << len(port))
            m.d.comb += port.eq(word - first if first else word)

    def _value(self, register: Register) -> Value:
        """Word that software reads."""
        word, at = [], 0
        for field in sorted(register.fields, key=lambda field: field.low):
            word.append(Const(0, field.low - at))
            if not field.readable:
                word.append(Const(0, field.width))
            elif field.constant:
                word.append(Const(field.reset, field.width))
            else:
                word.append(getattr(self, f"{register.name}_{field.name}"))
            at = field.low + field.width
        return Cat(word)


def _is(address: Value, place: Register | Memory) -> Value:
    """Whether a byte address is in a register, or in a memory."""
    word, first = address[WORD_SHIFT:], place.address >> WORD_SHIFT
    if isinstance(place, Register):
        return word == first
    return (word >= first) & (word < first + place.words)
