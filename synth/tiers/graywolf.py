"""The placer against graywolf (TimberWolf's annealer, from Debian), on a block of a netlist.

Graywolf chooses the die and places the ports; our placer gets that die and those ports, and both
are measured alike: half-perimeters of the same nets, clock excepted, with the same pins.
"""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from golden.spec import SpecError

from .design import Design
from .placement.engine import place_problem
from .placement.problem import Problem
from .placement.rows import overlaps
from .placement.stack import Crossing, Outline, as_problem
from .verilog import TierPort, tier_netlist, tier_ports

# Units of its files in a micron; sites and rows are whole numbers of them.
UNITS = 1000
# Graywolf asks for layers with widths; it does not route here.
_RULES = """RULES
 layer metal1 0.07 0.030 horizontal
 layer metal2 0.07 0.017 vertical
 via via12 metal1 metal2
 width metal1 70
 width metal2 70
 width via12 70
 spacing metal1 metal1 70
 spacing metal2 metal2 120
 overhang via12 metal1 0
 overhang via12 metal2 0
ENDRULES
*vertical_wire_weight : 1.0
*vertical_path_weight : 1.0
*padspacing : variable
*rowSep : 0.0 0
*track.pitch : {site}
*minimum_pad_space : {site}
*gridX : {site}
*gridY : {row}
*gridOffsetX : 0
*gridOffsetY : 0
*graphics.wait : off
*last_chance.wait : off
*random.seed : 12345
TWMC*chip.aspect.ratio : 1.0
TWSC*feedThruWidth : {site} layer 1
TWSC*do.global.route : off
TWSC*ignore_feeds : true
TWSC*call_row_evener : true
TWSC*even_rows_maximally : true
GENR*row_to_tile_spacing : 1
"""


def block_of(design: Design, path: tuple[str, ...]) -> Design:
    """Cells of one block as a design of its own.

    Raises
    ------
    SpecError
        If the block has no cells, or a macro.
    """
    inside = np.array([one.hier[: len(path)] == path for one in design.netlist.instances])
    name = "/".join(path)
    if not inside.any():
        raise SpecError(f"no block {name} in {design.netlist.name}")
    if design.macro[: design.instances][inside].any():
        raise SpecError(f"block {name} has a memory macro: take one of cells alone")
    sides = np.where(inside, 0, 1)
    members = np.flatnonzero(inside)
    own = {net for cell in members for net in design.netlist.instances[cell].pins.values()}
    # A block has one port a net; what comes in at any of a tier's ports comes in.
    found: dict[int, TierPort] = {}
    for port in tier_ports(design, sides)[0]:
        if port.net in own and (port.net not in found or port.direction == "input"):
            found[port.net] = replace(port, name=found.get(port.net, port).name)
    netlist = tier_netlist(design, sides, 0, list(found.values()))
    order = {net: number for number, net in enumerate(netlist.nets)}
    moved = replace(
        netlist,
        nets=dict(enumerate(netlist.nets.values())),
        ports={
            port: replace(known, nets=tuple(order[net] for net in known.nets))
            for port, known in netlist.ports.items()
        },
        instances=[
            replace(one, pins={pin: order[net] for pin, net in one.pins.items()})
            for one in netlist.instances
        ],
    )
    return Design.of(moved, design.library)


def compare(design: Design) -> dict[str, float]:
    """Wire in um of graywolf's and of our placement, and the die's size.

    Raises
    ------
    SpecError
        If graywolf is not installed or fails.
    """
    outline, theirs_x, theirs_y = _graywolf(design)
    flat = np.zeros(design.instances, np.int64)
    problem = as_problem(design, flat, outline, Crossing.of(design, flat))
    ports = slice(design.instances, None)
    problem.x[ports], problem.y[ports] = theirs_x[ports], theirs_y[ports]
    x, y = place_problem(problem)
    if wrong := overlaps(problem, x, y):
        raise SpecError(f"{wrong} cells of our placement are not legal: a bug")
    return {
        "graywolf_um": _wire(design, problem, theirs_x, theirs_y),
        "ours_um": _wire(design, problem, x, y),
        "cells": design.instances,
        "die_um2": outline.area,
    }


def _wire(design: Design, problem: Problem, x: np.ndarray, y: np.ndarray) -> float:
    return float(problem.net_lengths(x, y)[~design.clock_nets].sum())


def _graywolf(design: Design) -> tuple[Outline, np.ndarray, np.ndarray]:
    """Its die, and the lower left corner of each cell and port from the die's own."""
    if shutil.which("graywolf") is None:
        raise SpecError("no graywolf: the program comes with the package graywolf (apt-get)")
    library = design.library
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "block.cel").write_text(_cells(design))
        site, row = (round(um * UNITS) for um in (library.site_um, library.row_um))
        (folder / "block.par").write_text(_RULES.format(site=site, row=row))
        done = subprocess.run(
            ["graywolf", "-n", "block"],
            cwd=folder,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        placed = folder / "block.pl1"
        if not placed.is_file():
            raise SpecError(f"graywolf failed: {(done.stdout + done.stderr).strip()[-300:]}")
        boxes = {}
        for line in placed.read_text().splitlines():
            name, *numbers = line.split()[:5]
            boxes[name] = [float(number) / UNITS for number in numbers]
    cells = [one.name for one in design.netlist.instances]
    ports = [f"twpin_{name}" for name in design.port_names]
    if lost := [name for name in (*cells, *ports) if name not in boxes]:
        raise SpecError(f"graywolf did not place {lost[0]}")
    inside = np.array([boxes[name] for name in cells])
    low, high = inside[:, :2].min(axis=0), inside[:, 2:].max(axis=0)
    steps = np.array([library.site_um, library.row_um])
    width, height = np.ceil((high - low) / steps - 1e-6) * steps
    at = np.array([boxes[name] for name in (*cells, *ports)])[:, :2] - low
    edge = np.array([width, height])
    at[len(cells) :] = np.clip(at[len(cells) :], 0, edge)
    return Outline(float(width), float(height)), at[:, 0].copy(), at[:, 1].copy()


def _cells(design: Design) -> str:
    """Cells with their pins around the middle, and a pad for each port."""
    names, offsets = design.netlist.nets, design.pin_offsets
    pins: list[list[str]] = [[] for _ in range(design.instances)]
    for index, (net, cell) in enumerate(
        zip(design.net_of_pin.tolist(), design.pin_cell.tolist(), strict=True)
    ):
        if cell < design.instances:
            x = round((offsets[0][index] - design.width[cell] / 2) * UNITS)
            y = round((offsets[1][index] - design.height[cell] / 2) * UNITS)
            pin = re.sub(r"\W", "_", design.pin_name[index])
            pins[cell].append(f"pin name {pin} signal {names[net]} layer 1 {x} {y}")
    lines = []
    for cell, one in enumerate(design.netlist.instances):
        width, height = (round(float(size[cell]) * UNITS) for size in (design.width, design.height))
        left, low = -(width // 2), -(height // 2)
        lines.append(f"cell {cell + 1} {one.name}")
        lines.append(f"left {left} right {left + width} bottom {low} top {low + height}")
        lines += pins[cell]
    for number, name in enumerate(design.port_names):
        lines.append(f"pad {number + 1} name twpin_{name}")
        lines.append("corners 4 -70 -70 -70 70 70 70 70 -70")
        lines.append(f"pin name {name} signal {name} layer 1 0 0")
    return "\n".join([*lines, ""])
