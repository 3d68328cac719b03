"""The register map as compiled from ``registers.rdl``, the one place where addresses come from."""

from dataclasses import dataclass
from pathlib import Path

from systemrdl import RDLCompiler
from systemrdl.node import MemNode, RootNode
from systemrdl.rdltypes import OnWriteType

SOURCE = Path(__file__).with_name("registers.rdl")
WORD_BYTES = 4


@dataclass(frozen=True)
class Field:
    """Adjacent bits of a register.

    Members
    -------
    name : of the field
    low, width : place in the register
    reset : value at reset; None for a field that hardware drives at all times
    readable, writable : by software
    constant : nothing changes it
    pulse : a write of 1 lasts for a cycle
    events : hardware sets it, and a write of 1 clears it
    """

    name: str
    low: int
    width: int
    reset: int | None
    readable: bool
    writable: bool
    constant: bool
    pulse: bool
    events: bool

    @property
    def driven(self) -> bool:
        """Whether hardware gives its value at all times."""
        return self.reset is None


@dataclass(frozen=True)
class Register:
    """A word at a byte address."""

    name: str
    address: int
    fields: tuple[Field, ...]

    @property
    def readable(self) -> bool:
        """Whether software may read any of it."""
        return any(field.readable for field in self.fields)

    @property
    def writable(self) -> bool:
        """Whether software may write any of it."""
        return any(field.writable for field in self.fields)


@dataclass(frozen=True)
class Memory:
    """Words that software reads, from a byte address."""

    name: str
    address: int
    words: int


@dataclass(frozen=True)
class RegisterMap:
    """Registers and memories, in the order of their addresses.

    Members
    -------
    name : of the map
    registers, memories : what it holds
    address_bits : bits of a byte address
    """

    name: str
    registers: tuple[Register, ...]
    memories: tuple[Memory, ...]
    address_bits: int

    def address(self, name: str) -> int:
        """Byte address of a register or memory."""
        return next(each.address for each in self.registers + self.memories if each.name == name)


def compile_source(*, classes: int, fingerprint: int, protocol: int) -> RootNode:
    """Compile and validate the source with the values of a preset."""
    compiler = RDLCompiler()
    compiler.compile_file(str(SOURCE))
    values = {"CLASSES": classes, "FINGERPRINT_VALUE": fingerprint, "PROTOCOL_VALUE": protocol}
    return compiler.elaborate(parameters=values)


def read_map(root: RootNode) -> RegisterMap:
    """Take registers, fields and memories from the compiled source."""
    registers, memories = [], []
    for node in root.top.children():
        if isinstance(node, MemNode):
            words = node.get_property("mementries")
            memories.append(Memory(node.inst_name, node.absolute_address, words))
        else:
            fields = tuple(_field(field) for field in node.fields())
            registers.append(Register(node.inst_name, node.absolute_address, fields))
    bits = (root.top.size - 1).bit_length()
    return RegisterMap(root.top.inst_name, tuple(registers), tuple(memories), bits)


def _field(node) -> Field:
    events = node.get_property("onwrite") is OnWriteType.woclr
    return Field(
        name=node.inst_name,
        low=node.lsb,
        width=node.width,
        reset=node.get_property("reset"),
        readable=node.is_sw_readable,
        writable=node.is_sw_writable,
        constant=not node.is_sw_writable and not node.is_hw_writable,
        pulse=node.get_property("singlepulse"),
        events=events,
    )
