"""Placed DEF of a tier, or of the flat reference."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from golden.sections import BOND_UM
from synth.asic.cells import Library
from synth.asic.netlist import Netlist

from ..placement.stack import Outline, Placement, port_places
from ..verilog import DOWN, EDGE, UP, TierPort, tier_netlist, tier_ports

PIN_LAYER, BOND_LAYER = "metal4", "metal10"
# Half of a pin's side.
_PIN_UM, _BOND_UM = 0.07, BOND_UM / 2


@dataclass(frozen=True)
class PlacedPin:
    """A pin of the DEF: port, direction, centre in um, and whether it is a bond."""

    name: str
    direction: str
    x: float
    y: float
    bond: bool = False


def def_text(
    netlist: Netlist,
    library: Library,
    outline: Outline,
    pins: Iterable[PlacedPin],
    places: dict[str, tuple[float, float]] | None,
    pin_layer: str = PIN_LAYER,
) -> str:
    """Write a DEF; instances have no place if ``places`` is None."""
    units = library.database_units
    rows = int(outline.height / library.row_um + 1e-6)
    sites = int(outline.width / library.site_um + 1e-6)
    lines = [
        "VERSION 5.8 ;",
        'DIVIDERCHAR "/" ;',
        'BUSBITCHARS "[]" ;',
        f"DESIGN {netlist.name} ;",
        f"UNITS DISTANCE MICRONS {units} ;",
        f"DIEAREA ( 0 0 ) {_at(outline.width, outline.height, units)} ;",
    ]
    lines += [
        f"ROW ROW_{row} {library.site} 0 {round(row * library.row_um * units)}"
        f" {'FS' if row % 2 else 'N'} DO {sites} BY 1 STEP {round(library.site_um * units)} 0 ;"
        for row in range(rows)
    ]
    lines.append(f"COMPONENTS {len(netlist.instances)} ;")
    for one in netlist.instances:
        at = ""
        if places is not None:
            x, y = places[one.name]
            # Rows share their rails, so each second one is upside down, and so are its cells.
            turned = not library[one.cell].macro and round(y / library.row_um) % 2
            at = f" + PLACED {_at(x, y, units)} {'FS' if turned else 'N'}"
        lines.append(f"- {one.name} {one.cell}{at} ;")
    lines += ["END COMPONENTS", *_pins(list(pins), netlist, units, pin_layer)]
    joined: dict[int, list[str]] = defaultdict(list)
    for name, (_, net) in netlist.port_bits.items():
        joined[net].append(f"( PIN {name} )")
    for one in netlist.instances:
        for pin, net in one.pins.items():
            joined[net].append(f"( {one.name} {pin} )")
    lines.append(f"NETS {len(joined)} ;")
    for net in sorted(joined):
        lines.append(f"- {netlist.nets[net]} {' '.join(joined[net])} ;")
    return "\n".join([*lines, "END NETS", "END DESIGN", ""])


def _pins(pins: list[PlacedPin], netlist: Netlist, units: int, pin_layer: str) -> list[str]:
    lines = [f"PINS {len(pins)} ;"]
    for pin in pins:
        layer, half = (BOND_LAYER, _BOND_UM) if pin.bond else (pin_layer, _PIN_UM)
        net = netlist.nets[netlist.port_bits[pin.name][1]]
        lines += [
            f"- {pin.name} + NET {net} + DIRECTION {pin.direction.upper()} + USE SIGNAL",
            f"  + LAYER {layer} {_at(-half, -half, units)} {_at(half, half, units)}",
            f"  + PLACED {_at(pin.x, pin.y, units)} N ;",
        ]
    return [*lines, "END PINS"]


def _at(x_um: float, y_um: float, units: int) -> str:
    return f"( {round(x_um * units)} {round(y_um * units)} )"


def flat_pins(placement: Placement) -> list[PlacedPin]:
    """Ports of the flat netlist at the edge of the die."""
    bits = placement.design.netlist.port_bits
    xs, ys = port_places(len(bits), placement.outline)
    return [
        PlacedPin(name, direction, float(x), float(y))
        for (name, (direction, _)), x, y in zip(bits.items(), xs, ys, strict=True)
    ]


def flat_def(placement: Placement, *, placed: bool, pin_layer: str = PIN_LAYER) -> str:
    """Whole netlist as one die; ``placed`` for the 2D reference, else a floorplan with its pins."""
    design = placement.design
    return def_text(
        design.netlist,
        design.library,
        placement.outline,
        flat_pins(placement),
        instance_places(placement) if placed else None,
        pin_layer,
    )


def instance_places(placement: Placement) -> dict[str, tuple[float, float]]:
    """Lower left corner of each instance."""
    names = [one.name for one in placement.design.netlist.instances]
    x, y = placement.x[: len(names)].tolist(), placement.y[: len(names)].tolist()
    return dict(zip(names, zip(x, y, strict=True), strict=True))


def bond_places(placement: Placement) -> dict[tuple[int, int], tuple[float, float]]:
    """Centre of the bond of each net above each tier, by net and lower tier."""
    crossing = placement.crossing
    keys = zip(crossing.net.tolist(), crossing.lower.tolist(), strict=True)
    centres = zip(placement.bond_x.tolist(), placement.bond_y.tolist(), strict=True)
    return dict(zip(keys, centres, strict=True))


def tier_pins(placement: Placement, tier: int, ports: list[TierPort]) -> list[PlacedPin]:
    """Ports of a tier: at their bond, or at the edge of the bottom tier."""
    bonds = bond_places(placement)
    bits = placement.design.netlist.port_bits.values()
    edge = {net: (pin.x, pin.y) for pin, (_, net) in zip(flat_pins(placement), bits, strict=True)}
    lower = {UP: tier, DOWN: tier - 1}
    return [
        PlacedPin(port.name, port.direction, *edge[port.net])
        if port.side == EDGE
        else PlacedPin(port.name, port.direction, *bonds[port.net, lower[port.side]], bond=True)
        for port in ports
    ]


def tier_defs(placement: Placement) -> dict[str, str]:
    """File name and text of each tier's placed DEF."""
    design, tiers = placement.design, placement.tiers
    places = instance_places(placement)
    files = {}
    for tier, ports in enumerate(tier_ports(design, tiers)):
        netlist = tier_netlist(design, tiers, tier, ports)
        pins = tier_pins(placement, tier, ports)
        files[f"tier{tier}.def"] = def_text(
            netlist, design.library, placement.outline, pins, places
        )
    return files
