"""Vias through the silicon of tiers that lie between others: beside macros, and cells beside them.

A bond above a tier that is not the lowest is on that tier's back, so its via goes through where
cells and macros are.
"""

from dataclasses import replace

import numpy as np

from synth.asic.wires import LINER_UM, VIA_UM

from .placement.engine import place_cells
from .placement.problem import Problem
from .placement.rows import to_rows
from .placement.stack import Placement, as_problem

# Side of the square that nothing else may use: copper and the oxide around it.
SIDE_UM = VIA_UM + 2 * LINER_UM


def free_sites(placement: Placement, tier: int, centres: np.ndarray) -> np.ndarray:
    """Which sites are beside the macros of a tier, bool [sites].

    Parameters
    ----------
    centres : of the sites in um, float [sites, 2]
    """
    design, free = placement.design, np.ones(len(centres), bool)
    inside = slice(design.instances)
    half = SIDE_UM / 2
    for cell in np.flatnonzero(design.macro[inside] & (placement.tiers == tier)):
        low = np.array([placement.x[cell], placement.y[cell]]) - half
        high = low + (design.width[cell] + SIDE_UM, design.height[cell] + SIDE_UM)
        free &= ~((centres > low) & (centres < high)).all(axis=1)
    return free


def make_room(placement: Placement) -> Placement:
    """Placement whose cells have moved off the vias, which stay, as macros do.

    Raises
    ------
    SpecError
        If the cells of a tier do not fit.
    """
    x, y = to_rows(*with_vias(placement))
    kept = len(placement.x)
    return replace(placement, x=x[:kept], y=y[:kept])


def settle(placement: Placement, net_weight: np.ndarray) -> Placement:
    """Placement whose cells and other bonds are spread anew, from where they are, around the vias.

    Parameters
    ----------
    placement : with vias at sites
    net_weight : how much the wire of each net counts, float [nets]

    Raises
    ------
    SpecError
        If the cells of a tier do not fit.
    """
    problem, x, y = with_vias(placement, net_weight)
    bonds = slice(len(placement.x), None)
    fixed = problem.fixed.copy()
    fixed[bonds] = placement.crossing.pierced
    x, y = place_cells(problem.at(x, y, fixed=fixed))
    kept, half = len(placement.x), problem.width[bonds] / 2
    return replace(
        placement, x=x[:kept], y=y[:kept], bond_x=x[bonds] + half, bond_y=y[bonds] + half
    )


def with_vias(
    placement: Placement, net_weight: np.ndarray | None = None
) -> tuple[Problem, np.ndarray, np.ndarray]:
    """Problem in which vias are obstacles of their tier, and the corners of all that it has."""
    crossing = placement.crossing
    problem = as_problem(placement.design, placement.tiers, placement.outline, crossing, net_weight)
    bonds = slice(len(placement.x), None)
    width, height = problem.width.copy(), problem.height.copy()
    width[bonds] = height[bonds] = np.where(crossing.pierced, SIDE_UM, 0.0)
    fixed = problem.fixed | problem.macro
    fixed[bonds] = True
    problem = replace(problem, width=width, height=height, fixed=fixed)
    x = np.concatenate([placement.x, placement.bond_x])
    y = np.concatenate([placement.y, placement.bond_y])
    x[bonds] -= width[bonds] / 2
    y[bonds] -= height[bonds] / 2
    return problem, x, y
