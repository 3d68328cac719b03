"""A flat netlist of cells: what every tool behind synthesis works on."""

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from golden.spec import SpecError

from .cells import Library
from .stored import load_tree, save_tree

_UNSAFE = re.compile(r"[^A-Za-z0-9_]")
_BIT = re.compile(r"^(.*)\[(\d+)\]$")


@dataclass(frozen=True, slots=True)
class Instance:
    """One cell or macro.

    Members
    -------
    name : a plain identifier, the same in Verilog and DEF: path and name joined by ``__``;
        ``top`` stands for an empty path
    cell : its name in the library
    pins : net of each pin that has one, by the pin's name; a bit of a bus is ``name[index]``
    hier : path of the block it comes from, ``()`` for the top
    """

    name: str
    cell: str
    pins: dict[str, int]
    hier: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the netlist.

    Members
    -------
    direction : ``"input"`` or ``"output"``
    nets : a net for each bit, the lowest first
    """

    direction: str
    nets: tuple[int, ...]


class Origin(NamedTuple):
    """A bit of a signal in the RTL.

    Members
    -------
    path : blocks and the signal's own name
    bit : its place; None if the signal has one bit alone
    """

    path: tuple[str, ...]
    bit: int | None


@dataclass(frozen=True)
class Netlist:
    """Instances joined by nets of one bit.

    Members
    -------
    name : of the module
    ports : by name
    instances : in a fixed order
    nets : name of each net; nets are numbers from 0. A net at a port is named as the port's bit
    origins : signal in the RTL of each net that an input, a flip-flop or a macro drives
    """

    name: str
    ports: dict[str, Port]
    instances: list[Instance] = field(repr=False)
    nets: dict[int, str] = field(repr=False)
    origins: dict[int, "Origin"] = field(default_factory=dict, repr=False)

    @cached_property
    def port_bits(self) -> dict[str, tuple[str, int]]:
        """Direction and net of each bit of each port, by its name: that of the net in a vector."""
        return {
            name if len(port.nets) == 1 else self.nets[net]: (port.direction, net)
            for name, port in self.ports.items()
            for net in port.nets
        }

    def cells(self) -> Counter[str]:
        """Number of instances of each cell."""
        return Counter(instance.cell for instance in self.instances)

    def save(self, path: Path) -> None:
        """Write the netlist as JSON, whole or not at all."""
        tree = {
            "name": self.name,
            "ports": {name: [port.direction, port.nets] for name, port in self.ports.items()},
            "nets": list(self.nets.values()),
            "instances": [
                [one.name, one.cell, "/".join(one.hier), one.pins] for one in self.instances
            ],
            "origins": [["/".join(path), bit, net] for net, (path, bit) in self.origins.items()],
        }
        save_tree(path, tree)

    @classmethod
    def load(cls, path: Path) -> "Netlist":
        """Read what :meth:`save` wrote.

        Raises
        ------
        SpecError
            If there is no such file.
        """
        tree = load_tree(path, "netlist")
        return cls(
            tree["name"],
            {name: Port(way, tuple(nets)) for name, (way, nets) in tree["ports"].items()},
            [
                Instance(name, cell, pins, tuple(hier.split("/")) if hier else ())
                for name, cell, hier, pins in tree["instances"]
            ],
            dict(enumerate(tree["nets"])),
            {net: Origin(tuple(path.split("/")), bit) for path, bit, net in tree["origins"]},
        )


def identifier(path: tuple[str, ...]) -> str:
    """Join a path to a name that needs no escape in Verilog or DEF and is no keyword."""
    return "__".join(_UNSAFE.sub("_", part) for part in (path if path[1:] else ("top", *path)))


def from_yosys(tree: dict, top: str, library: Library) -> Netlist:
    """Read Yosys' JSON of a flat, mapped module.

    Yosys' own names change with everything that is synthesised before; here a flip-flop is called
    after the signal it holds, a macro by its name in the source, and gates and clock gates are
    numbered in each block.

    Parameters
    ----------
    tree : the JSON, from ``flatten -scopename``
    top : the module
    library : its cells

    Raises
    ------
    SpecError
        If a cell is not in the library or has a constant at a pin, if two bits of ports share a
        net, or a net has no driver.
    """
    module = tree["modules"][top]
    numbers: dict[int, int] = {}
    nets: dict[int, str] = {}
    used: set[str] = set()
    ports = {}
    for name, port in sorted(module["ports"].items()):
        single = len(port["bits"]) == 1
        for index, bit in enumerate(port["bits"]):
            if isinstance(bit, str) or bit in numbers:
                raise SpecError(f"port {name}[{index}] of {top} has no net of its own")
            numbers[bit] = len(numbers)
            nets[numbers[bit]] = name if single else f"{name}[{index}]"
        used.add(name)
        ports[name] = Port(port["direction"], tuple(numbers[bit] for bit in port["bits"]))
    origins = _origins(module)
    public = {bit: _name(origin) for bit, origin in origins.items()}
    public |= {bit: _UNSAFE.sub("_", nets[number].rstrip("]")) for bit, number in numbers.items()}
    loaded = _loaded(module)
    gates: Counter[tuple[tuple[str, ...], str]] = Counter()
    instances = []
    for raw_name, cell in module["cells"].items():
        hier, own = _place(raw_name, cell["attributes"])
        known = library[cell["type"]].pins
        pins, outputs = {}, []
        for pin, bits in cell["connections"].items():
            for index, bit in enumerate(bits):
                full = pin if pin in known else f"{pin}[{index}]"
                if full not in known:
                    raise SpecError(f"cell {cell['type']} has no pin {full}, used by {raw_name}")
                if isinstance(bit, str):
                    raise SpecError(f"pin {full} of {raw_name} in {top} is the constant {bit}")
                output = known[full].direction == "output"
                if output and full == pin and bit not in loaded:
                    continue
                pins[full] = bit
                if output:
                    outputs.append(bit)
        signal = public.get(outputs[0]) if outputs else None
        if own is not None:
            name = identifier((*hier, own))
        elif "CK" in pins and signal and not library[cell["type"]].enable:
            name = f"{signal}__reg"
        else:
            kind = "clockgate" if library[cell["type"]].enable else "g"
            name = identifier((*hier, f"{kind}{gates[hier, kind]}"))
            gates[hier, kind] += 1
        name = _unused(name, used)
        for position, bit in enumerate(outputs):
            if bit not in numbers:
                numbers[bit] = len(numbers)
                fallback = f"{name}__o" if len(outputs) == 1 else f"{name}__o{position}"
                nets[numbers[bit]] = _unused(public.get(bit, fallback), used)
        instances.append((name, cell["type"], pins, hier))
    undriven = {bit for *_, pins, _ in instances for bit in pins.values() if bit not in numbers}
    if undriven:
        raise SpecError(f"{top} has {len(undriven)} nets that nothing drives")
    driven = {
        bit
        for port in module["ports"].values()
        if port["direction"] == "input"
        for bit in port["bits"]
    }
    driven |= {
        bit
        for _, kind, pins, _ in instances
        if library[kind].sequential and not library[kind].enable
        for pin, bit in pins.items()
        if library[kind].pins[pin].direction == "output"
    }
    kept = {numbers[bit]: origins[bit] for bit in sorted(driven) if bit in origins}
    made = [
        Instance(name, kind, {pin: numbers[bit] for pin, bit in pins.items()}, hier)
        for name, kind, pins, hier in instances
    ]
    return Netlist(top, ports, made, nets, kept)


def verilog(netlist: Netlist, library: Library) -> str:
    """Write the netlist as one structural Verilog module.

    A net may have several ports of one bit; those that do not have its name are joined to it.
    """
    names = ",\n  ".join(netlist.ports)
    lines = [f"module {netlist.name} ({names});"]
    for name, port in netlist.ports.items():
        vector = f"[{len(port.nets) - 1}:0] " if len(port.nets) > 1 else ""
        lines.append(f"  {port.direction} {vector}{name};")
    at_ports = {net for port in netlist.ports.values() for net in port.nets}
    lines += [f"  wire {name};" for net, name in netlist.nets.items() if net not in at_ports]
    for name, port in netlist.ports.items():
        net = netlist.nets[port.nets[0]]
        if len(port.nets) == 1 and name != net:
            target, source = (name, net) if port.direction == "output" else (net, name)
            lines.append(f"  assign {target} = {source};")
    for instance in netlist.instances:
        pins = ", ".join(_connections(instance, netlist.nets, library))
        lines.append(f"  {instance.cell} {instance.name} ({pins});")
    return "\n".join([*lines, "endmodule", ""])


def _connections(instance: Instance, nets: dict[int, str], library: Library) -> list[str]:
    buses: dict[str, dict[int, str]] = {}
    texts = []
    for pin in library[instance.cell].pins:
        net = instance.pins.get(pin)
        if match := _BIT.match(pin):
            bits = buses.setdefault(match[1], {})
            bits[int(match[2])] = nets[instance.pins[pin]]
        elif net is not None:
            texts.append(f".{pin}({nets[net]})")
    for bus, bits in buses.items():
        row = [bits[index] for index in sorted(bits, reverse=True)]
        texts.append(f".{bus}({{{', '.join(row)}}})")
    return texts


def _loaded(module: dict) -> set[int]:
    """Bits that somebody reads."""
    bits = {bit for port in module["ports"].values() for bit in port["bits"]}
    for cell in module["cells"].values():
        for pin, connected in cell["connections"].items():
            if cell["port_directions"][pin] == "input":
                bits.update(connected)
    return bits


def _place(raw: str, attributes: dict) -> tuple[tuple[str, ...], str | None]:
    """Block of a cell, and its own name if the source gave it one."""
    if "hdlname" in attributes:
        *hier, own = attributes["hdlname"].split(" ")
        return tuple(hier), own
    if "scopename" in attributes:
        return tuple(attributes["scopename"].split(" ")), None
    return (), None if raw.startswith("$") else raw


def _origins(module: dict) -> dict[int, Origin]:
    """Signal of each bit that has one in the source: that of the shortest name, then the first."""
    best: dict[int, tuple[tuple[int, str], Origin]] = {}
    for name, net in module["netnames"].items():
        if net["hide_name"]:
            continue
        path = tuple(net["attributes"].get("hdlname", name).split(" "))
        for index, bit in enumerate(net["bits"]):
            if isinstance(bit, str):
                continue
            origin = Origin(path, index if len(net["bits"]) > 1 else None)
            text = _name(origin)
            key = (len(text), text)
            if bit not in best or key < best[bit][0]:
                best[bit] = (key, origin)
    return {bit: origin for bit, (_, origin) in best.items()}


def _name(origin: Origin) -> str:
    plain = identifier(origin.path)
    return plain if origin.bit is None else f"{plain}_{origin.bit}"


def _unused(name: str, used: set[str]) -> str:
    candidate, number = name, 1
    while candidate in used:
        candidate, number = f"{name}_{number}", number + 1
    used.add(candidate)
    return candidate
