"""Open3DFlow's form: a directory for each die, with ports that meet by name and place.

Only the bottom die reaches the package. A port of the design whose net also has pins on the top
die is at the edge of the bottom die, and passes on through a buffer to a port at the bond. These
buffers are in the dies' netlists alone: the placement and its figures do not have them.
"""

import re
from dataclasses import replace
from pathlib import Path

from golden.spec import SpecError
from synth.asic.buffers import buffers
from synth.asic.cells import Cell, Library
from synth.asic.netlist import Instance, Netlist, Port, verilog

from ..placement.stack import Placement
from ..verilog import plain, tier_name
from .deffile import BOND_LAYER, PIN_LAYER, PlacedPin, bond_places, flat_pins
from .kit import Kit
from .seed import macro_lines, sdc

_SUFFIX = {"output": "o", "input": "i"}


def write(placement: Placement, kit: Kit, folder: Path, *, period_ps: float) -> None:
    """Write ``bottom`` and ``top``, each with netlist, constraints and places of ports.

    A crossing net is ``<net>_o`` on the die that drives it and ``<net>_i`` on the other one. Lines
    of ``pins.txt`` are x and y in um, in the natural order of the ports' names; ``io.tcl`` places
    the ports there. The platform has the cells; the memories' LEF and Liberty are written beside
    ``config.mk``.

    Raises
    ------
    SpecError
        If there are not two tiers, or a port needs a buffer and the library has none.
    """
    design = placement.design
    if placement.count != 2:
        raise SpecError(f"Open3DFlow stacks 2 dies, not {placement.count}")
    macros = kit.macros() if design.macro.any() else {}
    clocked = design.clock_nets
    for name, (netlist, pins) in zip(("bottom", "top"), dies(placement), strict=True):
        die = folder / name
        die.mkdir()
        clocks = [
            port
            for port, (direction, net) in netlist.port_bits.items()
            if direction == "input" and net < design.nets and clocked[net]
        ]
        (die / "netlist.v").write_text(verilog(netlist, design.library))
        (die / "constraint.sdc").write_text(sdc(netlist.name, period_ps, clocks))
        pins = sorted(pins, key=lambda pin: natural(pin.name))
        (die / "pins.txt").write_text("".join(f"{pin.x:.3f} {pin.y:.3f}\n" for pin in pins))
        (die / "io.tcl").write_text("".join(_place(pin) for pin in pins))
        for file, text in macros.items():
            (die / file).write_text(text)
        (die / "config.mk").write_text(_config(netlist.name, placement, list(macros)))


def dies(placement: Placement) -> list[tuple[Netlist, list[PlacedPin]]]:
    """Netlist of the bottom and of the top die, each with the places of its ports.

    The bottom die has all ports of the design.
    """
    design = placement.design
    flat, tiers = design.netlist, placement.tiers
    made = [
        _Die(flat, [one for one, at in zip(flat.instances, tiers, strict=True) if at == tier])
        for tier in (0, 1)
    ]
    at_ports = {net for _, net in flat.port_bits.values()}
    taken = {name for net, name in flat.nets.items() if net not in at_ports}
    bottom, top = made
    for pin, (_, net) in zip(flat_pins(placement), flat.port_bits.values(), strict=True):
        name = plain(pin.name)
        while name in taken:
            name += "_"
        taken.add(name)
        bottom.add(replace(pin, name=name), net)
    sides = design.cell_tiers(tiers)[design.pin_cell[design.driver_pin]]
    for (net, _), (x, y) in bond_places(placement).items():
        stem = plain(flat.nets[net])
        while taken & {f"{stem}_o", f"{stem}_i"}:
            stem += "_"
        taken |= {f"{stem}_o", f"{stem}_i"}
        ways = ("input", "output") if sides[net] else ("output", "input")
        low, high = (PlacedPin(f"{stem}_{_SUFFIX[way]}", way, x, y, bond=True) for way in ways)
        top.add(high, net)
        if net in at_ports:
            bottom.feed_through(low, net, _buffer(design.library))
        else:
            bottom.add(low, net)
    return [(die.netlist(tier_name(flat.name, tier)), die.pins) for tier, die in enumerate(made)]


class _Die:
    """A die as it is built: instances, names of nets, and ports with their places."""

    def __init__(self, flat: Netlist, instances: list[Instance]) -> None:
        self.instances = instances
        self.nets = dict(flat.nets)
        self.ports: dict[str, Port] = {}
        self.pins: list[PlacedPin] = []

    def add(self, pin: PlacedPin, net: int) -> None:
        """Add a port of a net, which takes its name."""
        self.nets[net] = pin.name
        self.ports[pin.name] = Port(pin.direction, (net,))
        self.pins.append(pin)

    def feed_through(self, pin: PlacedPin, net: int, buffer: Cell) -> None:
        """Add a port that a buffer joins to a net that has a port already."""
        far = len(self.nets)
        self.add(pin, far)
        source, sink = (net, far) if pin.direction == "output" else (far, net)
        joined = {
            name: source if described.direction == "input" else sink
            for name, described in buffer.pins.items()
        }
        self.instances.append(Instance(f"{pin.name}__feed", buffer.name, joined, ()))

    def netlist(self, name: str) -> Netlist:
        """All of it, with the nets that have a pin or a port here."""
        kept = {net for one in self.instances for net in one.pins.values()}
        kept |= {net for port in self.ports.values() for net in port.nets}
        nets = {net: self.nets[net] for net in sorted(kept)}
        return Netlist(name, self.ports, self.instances, nets)


def natural(name: str) -> list:
    """Sort key in which numbers within a name count as numbers."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _buffer(library: Library) -> Cell:
    """Smallest buffer of a library."""
    found = buffers(library)
    if not found:
        raise SpecError("the library has no buffer for ports that pass through the bottom die")
    return found[0]


def _place(pin: PlacedPin) -> str:
    layer = BOND_LAYER if pin.bond else PIN_LAYER
    at = f"{{{pin.x:.3f} {pin.y:.3f}}}"
    return f"place_pin -pin_name {pin.name} -layer {layer} -location {at}\n"


def _config(name: str, placement: Placement, macros: list[str]) -> str:
    area = f"0 0 {placement.outline.width:.3f} {placement.outline.height:.3f}"
    lines = [
        f"export DESIGN_NAME = {name}",
        "export PLATFORM = nangate45",
        "export SYNTH_NETLIST_FILES = $(DESIGN_DIR)/netlist.v",
        "export SDC_FILE = $(DESIGN_DIR)/constraint.sdc",
        f"export DIE_AREA = {area}",
        f"export CORE_AREA = {area}",
        "export IO_CONSTRAINTS = $(DESIGN_DIR)/io.tcl",
        *macro_lines(macros),
    ]
    return "\n".join([*lines, ""])
