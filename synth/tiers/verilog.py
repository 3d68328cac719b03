"""Verilog of a stack: a module for each tier, and a top that joins them."""

import re
from dataclasses import dataclass

import numpy as np

from synth.asic.netlist import Netlist, Port, verilog

from .design import PORT_TIER, Design

EDGE, DOWN, UP = "edge", "down", "up"
_UNSAFE = re.compile(r"[^A-Za-z0-9_]+")


@dataclass(frozen=True)
class TierPort:
    """A place at which a net enters or leaves a tier.

    Members
    -------
    name : of the tier's port, one bit, a plain identifier
    direction : ``"input"`` or ``"output"``
    net : number of the net
    side : :data:`EDGE` of the bottom tier, or the bond :data:`DOWN` or :data:`UP`
    joint : net of the top that the port is at
    """

    name: str
    direction: str
    net: int
    side: str
    joint: str


def tier_name(top: str, tier: int) -> str:
    """Module of a tier; its instance in the top is ``tier<number>``."""
    return f"{top}_tier{tier}"


def plain(name: str) -> str:
    """Name of a net as an identifier: ``i__payload[3]`` becomes ``i__payload_3``."""
    return _UNSAFE.sub("_", name).strip("_")


def tier_ports(design: Design, tiers: np.ndarray) -> list[list[TierPort]]:
    """Ports of each tier: one for each bond of a net there, and one for its port of the design.

    Flows take a port for one bump. The first of a net's ports on a tier has the net's name, so a
    flip-flop's output is called alike in the flat netlist and in its tier; the others end in their
    side. A net that only passes a tier, as from a port of the design to a cell on top, has two.
    """
    netlist = design.netlist
    low, high = design.span(tiers)
    at_ports = {net for _, net in netlist.port_bits.values()}
    used = {name for net, name in netlist.nets.items() if net not in at_ports}
    used |= {name for name, port in netlist.ports.items() if len(port.nets) > 1}

    def fresh(name: str) -> str:
        while name in used:
            name += "_"
        used.add(name)
        return name

    ports: list[list[TierPort]] = [[] for _ in range(int(tiers.max(initial=0)) + 1)]
    for net in range(design.nets):
        if low[net] == high[net] and net not in at_ports:
            continue
        name = plain(netlist.nets[net])
        if net in at_ports:
            name = fresh(name)
        joints = [fresh(f"{name}__bond{lower}") for lower in range(low[net], high[net])]
        if net not in at_ports:
            joints[0] = name
        for tier in range(low[net], high[net] + 1):
            found = [(EDGE, netlist.nets[net])] if tier == PORT_TIER and net in at_ports else []
            found += [(DOWN, joints[tier - 1 - low[net]])] if tier > low[net] else []
            found += [(UP, joints[tier - low[net]])] if tier < high[net] else []
            way_in = _way_in(design, tiers, net, tier)
            for order, (side, joint) in enumerate(found):
                own = fresh(f"{name}__{side}") if order else name
                direction = "input" if side == way_in else "output"
                ports[tier].append(TierPort(own, direction, net, side, joint))
    return ports


def _way_in(design: Design, tiers: np.ndarray, net: int, tier: int) -> str | None:
    """Side of a tier at which a net comes from its driver; None where that is on the tier."""
    pin = design.driver_pin[net]
    cell = design.pin_cell[pin]
    if pin < 0 or cell >= design.instances:
        return EDGE if tier == PORT_TIER else DOWN
    return None if tiers[cell] == tier else DOWN if tiers[cell] < tier else UP


def tier_netlist(design: Design, tiers: np.ndarray, tier: int, ports: list[TierPort]) -> Netlist:
    """Instances of one tier as a netlist of its own; nets keep their numbers' order."""
    netlist = design.netlist
    chosen = [one for one, at in zip(netlist.instances, tiers, strict=True) if at == tier]
    names = dict(netlist.nets)
    # The first port of a net gives it its name.
    names |= {port.net: port.name for port in reversed(ports)}
    kept = {net for one in chosen for net in one.pins.values()} | {port.net for port in ports}
    return Netlist(
        tier_name(netlist.name, tier),
        {port.name: Port(port.direction, (port.net,)) for port in ports},
        chosen,
        {net: names[net] for net in sorted(kept)},
    )


def tier_verilog(design: Design, tiers: np.ndarray) -> dict[str, str]:
    """File name and text of each tier and of the top."""
    ports = tier_ports(design, tiers)
    files = {}
    for tier, mine in enumerate(ports):
        part = tier_netlist(design, tiers, tier, mine)
        files[f"tier{tier}.v"] = verilog(part, design.library)
    files["top.v"] = top_verilog(design, ports)
    return files


def top_verilog(design: Design, ports: list[list[TierPort]], *, stubs: bool = False) -> str:
    """Top module; with ``stubs``, the tiers' modules too, with ports alone."""
    netlist = design.netlist
    lines = []
    if stubs:
        for tier, mine in enumerate(ports):
            lines.append(f"module {tier_name(netlist.name, tier)} ({_names(mine)});")
            lines += [f"  {port.direction} {port.name};" for port in mine]
            lines += ["endmodule", ""]
    lines.append(f"module {netlist.name} ({', '.join(netlist.ports)});")
    for name, port in netlist.ports.items():
        vector = f"[{len(port.nets) - 1}:0] " if len(port.nets) > 1 else ""
        lines.append(f"  {port.direction} {vector}{name};")
    inner = {port.joint: None for mine in ports for port in mine if port.side != EDGE}
    lines += [f"  wire {joint};" for joint in inner]
    for tier, mine in enumerate(ports):
        # A pin a line: there are thousands, and Verilator takes no line of so many words.
        pins = ",\n    ".join(f".{port.name}({port.joint})" for port in mine)
        lines.append(f"  {tier_name(netlist.name, tier)} tier{tier} (\n    {pins}\n  );")
    return "\n".join([*lines, "endmodule", ""])


def _names(ports: list[TierPort]) -> str:
    return ",\n  ".join(port.name for port in ports)
