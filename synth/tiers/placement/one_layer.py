"""All tiers of a stack as one layer: where cells go before they have a tier.

As in the pseudo-3D flow Shrunk-2D (Panth et al., IEEE TCAD 2017), the outline is that of the
stack and a cell has its share of its area, one over the number of tiers, so all wires become
shorter alike. Macros get tiers on the way: those that lie on each other go to different ones.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix

from golden.spec import SpecError

from .engine import HALO_UM, clustered, opened, settle_clusters, spread_cells, spread_clusters
from .macros import legalise_macros
from .problem import Problem
from .starts import best_start

# Nodes of the search after which the best tiers of macros that were found are taken.
MOST_NODES = 300


@dataclass(frozen=True, eq=False)
class Layer:
    """Places in one layer.

    Members
    -------
    x, y : lower left corner of each cell at its full size, float [cells] um; macros are legal
    tier : of each macro, int64 [cells]; 0 for all others
    """

    x: np.ndarray
    y: np.ndarray
    tier: np.ndarray


def place_layer(problem: Problem, tiers: int, *, progress: bool = False) -> Layer:
    """Place the cells of all tiers as if they shared one.

    Parameters
    ----------
    problem : all cells on tier 0, in the outline of the stack
    tiers : number of tiers

    Raises
    ------
    SpecError
        If the macros do not fit.
    """
    label, small = clustered(_shrunk(problem, np.ones(len(problem.width), bool), tiers))
    full = _full_macros(small, tiers)
    x, y, tier = best_start(partial(_arranged, small), full, progress=progress)
    cells = replace(_shrunk(problem, ~problem.macro, tiers), layers=tiers)
    start = opened(cells, label, full, x, y)
    x, y = spread_cells(start, progress=progress)
    grown_x, grown_y = problem.width - cells.width, problem.height - cells.height
    return Layer(x - grown_x / 2, y - grown_y / 2, np.where(problem.macro, tier[label], 0))


def _arranged(small: Problem, full: Problem, seed: int):
    """Corners of clusters around legal macros of full size, and the tier of each macro."""
    tiers = full.layers
    x, y = spread_clusters(small, seed)
    macro = np.flatnonzero(full.macro & ~full.fixed)
    for at, sizes, smaller, die in (
        (x, full.width, small.width, full.die_width),
        (y, full.height, small.height, full.die_height),
    ):
        at[macro] = np.clip(at[macro] - (sizes - smaller)[macro] / 2, 0, die - sizes[macro])
    tier = np.zeros(len(full.width), np.int64)
    tier[macro] = macro_tiers(x[macro], y[macro], full.width[macro], full.height[macro], tiers)
    stacked = replace(full, tier=tier, tiers=tiers, layers=1)
    x, y = settle_clusters(full, *legalise_macros(stacked, x, y, HALO_UM))
    return x, y, tier


def macro_tiers(x, y, width, height, tiers: int) -> np.ndarray:
    """Tier of each macro with the least area of overlaps and of imbalance, int64 [macros].

    Parameters
    ----------
    x, y, width, height : rectangles in um, float [macros] each
    """
    count = len(x)
    if not count:
        return np.zeros(0, np.int64)
    first, second = np.triu_indices(count, 1)
    across = np.minimum((x + width)[first], (x + width)[second]) - np.maximum(x[first], x[second])
    along = np.minimum((y + height)[first], (y + height)[second]) - np.maximum(y[first], y[second])
    shared = np.maximum(across, 0) * np.maximum(along, 0)
    pairs = np.flatnonzero(shared)
    # Unknowns: whether macro i is on tier t, whether a pair shares one, a tier's excess of area.
    pair_at, excess_at = count * tiers, count * tiers + len(pairs)
    rows, columns, values, low, high = [], [], [], [], []

    def limit(terms: list[tuple[int, float]], least: float, most: float) -> None:
        rows.extend([len(low)] * len(terms))
        columns.extend(column for column, _ in terms)
        values.extend(value for _, value in terms)
        low.append(least)
        high.append(most)

    for macro in range(count):
        limit([(macro * tiers + tier, 1.0) for tier in range(tiers)], 1.0, 1.0)
    area = width * height
    for tier in range(tiers):
        for number, pair in enumerate(pairs):
            both = [(one[pair] * tiers + tier, 1.0) for one in (first, second)]
            limit([*both, (pair_at + number, -1.0)], -np.inf, 1.0)
        held = [(macro * tiers + tier, area[macro]) for macro in range(count)]
        limit([*held, (excess_at + tier, -1.0)], -np.inf, area.sum() / tiers)
    unknowns = excess_at + tiers
    whole, most = np.zeros(unknowns), np.full(unknowns, np.inf)
    whole[:pair_at], most[:pair_at] = 1, 1
    solved = milp(
        np.concatenate([np.zeros(pair_at), shared[pairs], np.ones(tiers)]),
        constraints=LinearConstraint(
            coo_matrix((values, (rows, columns)), shape=(len(low), unknowns)).tocsr(), low, high
        ),
        integrality=whole,
        bounds=Bounds(0, most),
        options={"node_limit": MOST_NODES},
    )
    if solved.x is None:
        raise SpecError(f"no tiers found for {count} macros: {solved.message}")
    return solved.x[:pair_at].reshape(count, tiers).argmax(axis=1)


def _shrunk(problem: Problem, which: np.ndarray, tiers: int) -> Problem:
    """Problem in which the cells of a mask have one over ``tiers`` of their area."""
    return _scaled(problem, np.where(which, 1 / np.sqrt(tiers), 1.0))


def _full_macros(small: Problem, tiers: int) -> Problem:
    """Problem of clusters in which macros have their size again, each on one of the tiers."""
    grown = np.where(small.macro & ~small.fixed, np.sqrt(tiers), 1.0)
    return replace(_scaled(small, grown), layers=tiers)


def _scaled(problem: Problem, scale: np.ndarray) -> Problem:
    """Problem in which each cell is so many times as wide and high, its pins at the same parts."""
    pins = scale[problem.pin_cell]
    return replace(
        problem,
        width=problem.width * scale,
        height=problem.height * scale,
        pin_dx=problem.pin_dx * pins,
        pin_dy=problem.pin_dy * pins,
    )
