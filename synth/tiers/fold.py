"""The style ``folded``: tiers for the shortest wires, not for the fewest bonds.

All cells are placed in one layer of the stack's outline, and each square of it is then divided
among the tiers where it lies. What was near stays near, and every wire becomes shorter, those
within a block too; bonds are many, which hybrid bonding allows.
"""

from dataclasses import dataclass

import numpy as np

from .design import Design
from .local_cut import CELLS, Floor, local_cut
from .placement.density import Density
from .placement.one_layer import Layer, place_layer
from .placement.stack import Crossing, Outline, as_problem, outline_for, outline_of_area

# Steps towards tiers of equal area.
ROUNDS = 20


@dataclass(frozen=True, eq=False)
class Folded:
    """Tiers, and where the cells lie.

    Members
    -------
    tiers : of each instance, int64
    x, y : lower left corner of each instance, then each port, in um; macros are legal
    outline : of every tier
    """

    tiers: np.ndarray
    x: np.ndarray
    y: np.ndarray
    outline: Outline


def fold(design: Design, utilisation: float, tiers: int, *, progress: bool = False) -> Folded:
    """Place a design in one layer and divide it among tiers.

    Raises
    ------
    SpecError
        If the utilisation is impossible, or the macros do not fit.
    """
    flat = np.zeros(design.instances, np.int64)
    area = design.area[: design.instances].sum()
    outline = outline_of_area(design, area / tiers, utilisation)
    problem = as_problem(design, flat, outline, Crossing.of(design, flat))
    layer = place_layer(problem, tiers, progress=progress)
    known = design.cell_tiers(layer.tier[: design.instances])
    parts = local_cut(_floor(design, layer, outline, tiers), known, progress=progress)
    parts = parts[: design.instances]
    # Macros are legal in the outline of equal tiers; the fullest tier may need a larger one.
    full = outline_for(design, parts, utilisation)
    grown = Outline(max(full.width, outline.width), max(full.height, outline.height))
    return Folded(parts, layer.x, layer.y, grown)


def _floor(design: Design, layer: Layer, outline: Outline, tiers: int) -> Floor:
    """Squares with the cells that lie there and the area that macros leave free on each tier."""
    cells = np.flatnonzero(~design.macro[: design.instances])
    side = max(1, round(np.sqrt(len(cells) / CELLS)))
    grid = Density(outline.width, outline.height, side, tiers, 1.0)
    for macro in np.flatnonzero(design.macro):
        corner = layer.x[macro], layer.y[macro]
        grid.add_fixed(layer.tier[macro], *corner, design.width[macro], design.height[macro])
    free = np.maximum(grid.capacity - grid.base, 0).reshape(tiers, -1).T
    column, row = (
        np.clip((low + size / 2)[cells] / step, 0, side - 1).astype(np.int64)
        for low, size, step in (
            (layer.x, design.width, grid.step_x),
            (layer.y, design.height, grid.step_y),
        )
    )
    square = np.full(len(design.area), -1)
    square[cells] = row * side + column
    held = np.bincount(square[cells], design.area[cells], minlength=side * side)
    macros = np.bincount(layer.tier, design.area * design.macro, minlength=tiers)
    wanted = np.maximum(design.area.sum() / tiers - macros, 0)
    return Floor(
        starts=design.starts,
        pins=design.pin_cell,
        square=square,
        weight=design.sites,
        share=balanced(free, held, wanted),
    )


def balanced(free: np.ndarray, held: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Shares of the tiers in each square, as their free area there, but so that tiers fill evenly.

    Parameters
    ----------
    free : um2 of each square and tier, float [squares, tiers]
    held : um2 of cells in each square, float [squares]
    wanted : um2 of cells that each tier should get, float [tiers]
    """
    favour = np.ones(len(wanted))
    for _ in range(ROUNDS):
        weighted = np.maximum(free, 1e-9) * favour
        share = weighted / weighted.sum(axis=1, keepdims=True)
        favour *= wanted / np.maximum(held @ share, 1e-9)
    return share
