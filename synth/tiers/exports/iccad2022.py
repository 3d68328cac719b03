"""Contest file of ICCAD 2022 problem B, and the placement in the contest's output form.

Lengths are whole numbers of nm. The contest knows no ports, so nets count with their instances
alone, and those of one pin not at all. It has standard cells only: memories, which are higher than
a row, are cells here, where placers for the contest expect none.
"""

import math
from pathlib import Path

import numpy as np

from golden.sections import BOND_UM
from golden.spec import SpecError
from synth.asic.cells import DATABASE_UNITS
from synth.asic.lef import pin_offsets

from ..placement.stack import Placement


def write(placement: Placement, folder: Path, *, utilisation: float, pitch: float) -> None:
    """Write ``case.txt`` and ``placement.txt``.

    Raises
    ------
    SpecError
        If there are not two tiers.
    """
    if placement.count > 2:
        raise SpecError(f"the ICCAD 2022 contest has 2 dies, not {placement.count}")
    (folder / "case.txt").write_text(_case(placement, utilisation, pitch))
    (folder / "placement.txt").write_text(_solution(placement))


def _units(um: float) -> int:
    return round(um * DATABASE_UNITS)


def _case(placement: Placement, utilisation: float, pitch: float) -> str:
    design, outline = placement.design, placement.outline
    netlist, library = design.netlist, design.library
    width, height = _units(outline.width), _units(outline.height)
    row = _units(library.row_um)
    rows = f"0 0 {width} {row} {height // row}"
    used = sorted(netlist.cells())
    lines = ["NumTechnologies 1", f"Tech TA {len(used)}"]
    for name in used:
        cell = library[name]
        offsets = pin_offsets(cell)
        lines.append(
            f"LibCell {name} {_units(cell.width_um)} {_units(cell.height_um)} {len(offsets)}"
        )
        lines += [f"Pin {pin} {_units(x)} {_units(y)}" for pin, (x, y) in offsets.items()]
    # Rounded down, tiers could be fuller than the case allows.
    percent = math.ceil(100 * utilisation - 1e-9)
    lines += [
        f"DieSize 0 0 {width} {height}",
        f"TopDieMaxUtil {percent}",
        f"BottomDieMaxUtil {percent}",
        f"TopDieRows {rows}",
        f"BottomDieRows {rows}",
        "TopDieTech TA",
        "BottomDieTech TA",
        f"TerminalSize {_units(BOND_UM)} {_units(BOND_UM)}",
        f"TerminalSpacing {_units(pitch - BOND_UM)}",
        f"NumInstances {len(netlist.instances)}",
    ]
    lines += [f"Inst {one.name} {one.cell}" for one in netlist.instances]
    nets = _instance_nets(placement)
    lines.append(f"NumNets {len(nets)}")
    for net, pins in nets.items():
        lines.append(f"Net {netlist.nets[net]} {len(pins)}")
        lines += [f"Pin {netlist.instances[cell].name}/{pin}" for cell, pin in pins]
    return "\n".join([*lines, ""])


def _solution(placement: Placement) -> str:
    netlist, lines = placement.design.netlist, []
    for title, tier in (("TopDiePlacement", 1), ("BottomDiePlacement", 0)):
        members = np.flatnonzero(placement.tiers == tier)
        lines.append(f"{title} {len(members)}")
        lines += [
            f"Inst {netlist.instances[cell].name}"
            f" {_units(placement.x[cell])} {_units(placement.y[cell])}"
            for cell in members
        ]
    inside = {
        net
        for net, pins in _instance_nets(placement).items()
        if len({int(placement.tiers[cell]) for cell, _ in pins}) > 1
    }
    crossing = placement.crossing.net.tolist()
    bonds = [index for index, net in enumerate(crossing) if net in inside]
    lines.append(f"NumTerminals {len(bonds)}")
    lines += [
        f"Terminal {netlist.nets[crossing[index]]}"
        f" {_units(placement.bond_x[index])} {_units(placement.bond_y[index])}"
        for index in bonds
    ]
    return "\n".join([*lines, ""])


def _instance_nets(placement: Placement) -> dict[int, list[tuple[int, str]]]:
    """Pins of instances on each net that joins two or more."""
    design, nets = placement.design, {}
    for net, cell, pin in zip(
        design.net_of_pin.tolist(), design.pin_cell.tolist(), design.pin_name, strict=True
    ):
        if cell < design.instances:
            nets.setdefault(net, []).append((cell, pin))
    return {net: pins for net, pins in nets.items() if len(pins) > 1}
