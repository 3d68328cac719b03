"""Verilog of a stack: a module for each tier, and a top that joins them."""

import re
from dataclasses import dataclass

import numpy as np

from synth.asic.netlist import Netlist, Port, verilog

from .design import Design

_UNSAFE = re.compile(r"[^A-Za-z0-9_]+")


@dataclass(frozen=True)
class TierPort:
    """A net that enters or leaves a tier.

    Members
    -------
    name : of the tier's port, one bit, a plain identifier
    direction : ``"input"`` or ``"output"``
    net : number of the net
    """

    name: str
    direction: str
    net: int


def tier_name(top: str, tier: int) -> str:
    """Module of a tier; its instance in the top is ``tier<number>``."""
    return f"{top}_tier{tier}"


def plain(name: str) -> str:
    """Name of a net as an identifier: ``i__payload[3]`` becomes ``i__payload_3``."""
    return _UNSAFE.sub("_", name).strip("_")


def tier_ports(design: Design, tiers: np.ndarray) -> list[list[TierPort]]:
    """Ports of each tier: the nets that leave it for another tier or for the package.

    A net that only passes a tier, as from a port of the design to a cell on top, is an input there
    that nothing reads: bonds, or a bond and the edge, join at it. Nets that have no port keep their
    names, so a flip-flop's output is called alike in the flat netlist and in its tier.
    """
    netlist = design.netlist
    low, high = design.span(tiers)
    side = design.cell_tiers(tiers)
    # What a port of the design drives comes to every tier from outside.
    driven_by = [
        int(side[design.pin_cell[pin]])
        if pin >= 0 and design.pin_cell[pin] < design.instances
        else None
        for pin in design.driver_pin
    ]
    at_ports = {net for _, net in netlist.port_bits.values()}
    used = {netlist.nets[net] for net in range(design.nets) if net not in at_ports}
    ports: list[list[TierPort]] = [[] for _ in range(int(tiers.max(initial=0)) + 1)]
    for net in range(design.nets):
        if low[net] == high[net] and net not in at_ports:
            continue
        name = plain(netlist.nets[net])
        if net in at_ports:
            while name in used:
                name += "_"
            used.add(name)
        for tier in range(low[net], high[net] + 1):
            direction = "output" if driven_by[net] == tier else "input"
            ports[tier].append(TierPort(name, direction, net))
    return ports


def tier_netlist(design: Design, tiers: np.ndarray, tier: int, ports: list[TierPort]) -> Netlist:
    """Instances of one tier as a netlist of its own; nets keep their numbers' order."""
    netlist = design.netlist
    chosen = [one for one, at in zip(netlist.instances, tiers, strict=True) if at == tier]
    names = dict(netlist.nets)
    names |= {port.net: port.name for port in ports}
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
    at_ports = {net for _, net in netlist.port_bits.values()}
    crossing = sorted({port.net for mine in ports for port in mine} - at_ports)
    lines += [f"  wire {netlist.nets[net]};" for net in crossing]
    for tier, mine in enumerate(ports):
        pins = ", ".join(f".{port.name}({netlist.nets[port.net]})" for port in mine)
        lines.append(f"  {tier_name(netlist.name, tier)} tier{tier} ({pins});")
    return "\n".join([*lines, "endmodule", ""])


def _names(ports: list[TierPort]) -> str:
    return ", ".join(port.name for port in ports)
