"""From a problem to legal places: clusters with macros first, then cells around them, then rows."""

import numpy as np

from .cluster import clusters, coarse
from .macros import legalise_macros
from .problem import Problem
from .rows import to_rows
from .spread import spread
from .starts import best_start

# Free space around a macro, for its pins and for the rounding of its place to the grid.
HALO_UM = 1.4
# Cells may fill the free area locally up to this, which leaves the legaliser room.
LOCAL_DENSITY = 0.9
# Clusters of cells with which macros are placed.
CLUSTERS = 3000


def place_problem(problem: Problem, *, progress: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Legal lower left corners of all cells, float [cells] um each.

    Macros are spread with clusters of cells, made legal and stay; clusters follow them. Of several
    such starts the best counts. Then cells are spread, beginning where their cluster is, and put
    into rows.

    Raises
    ------
    SpecError
        If macros or cells do not fit.
    """
    label, small = clustered(problem)
    x, y = best_start(_arranged, small, progress=progress)
    return place_cells(opened(problem, label, small, x, y), progress=progress)


def _arranged(small: Problem, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Corners of clusters around legal macros."""
    x, y = spread_clusters(small, seed)
    return settle_clusters(small, *legalise_macros(small, x, y, HALO_UM))


def place_cells(problem: Problem, *, progress: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Legal corners of cells that begin at the problem's places, around macros that are fixed."""
    return to_rows(problem, *spread_cells(problem, progress=progress))


def spread_cells(problem: Problem, *, progress: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Corners of cells that begin at the problem's places, with overlaps left."""
    return spread(problem, target=_target(problem), warm=True, progress=progress)


def clustered(problem: Problem) -> tuple[np.ndarray, Problem]:
    """Cluster of each cell, and the problem of the clusters."""
    label = clusters(problem, CLUSTERS)
    return label, coarse(problem, label)


def spread_clusters(small: Problem, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Corners of macros and clusters from a start of their own, with overlaps left."""
    return spread(small, target=_target(small), seed=seed)


def settle_clusters(small: Problem, x, y) -> tuple[np.ndarray, np.ndarray]:
    """Corners of clusters that have followed the macros to their legal places ``x``, ``y``."""
    return spread_cells(small.at(x, y, fixed=small.fixed | small.macro))


def opened(problem: Problem, label: np.ndarray, small: Problem, x, y) -> Problem:
    """Problem in which macros are fixed where they are in ``small``, and cells begin there.

    Parameters
    ----------
    label, small : of :func:`clustered`
    x, y : lower left corners in ``small``, macros legal
    """
    rng = np.random.default_rng(1)
    side = np.sqrt(np.bincount(label, problem.area))[label]
    around = side * rng.uniform(-0.5, 0.5, (2, len(label)))
    middle_x, middle_y = x + small.width / 2, y + small.height / 2
    still = problem.fixed | problem.macro
    start_x = np.where(still, x[label], middle_x[label] + around[0] - problem.width / 2)
    start_y = np.where(still, y[label], middle_y[label] + around[1] - problem.height / 2)
    return problem.at(start_x, start_y, fixed=still)


def _target(problem: Problem) -> float:
    """Local density: what the legaliser can take, but never below what the fullest tier needs."""
    macros = problem.area * (problem.macro | problem.fixed)
    cells = problem.area - macros
    taken = np.bincount(problem.tier, macros) / problem.layers
    room = problem.die_width * problem.die_height - taken
    needed = (np.bincount(problem.tier, cells) / np.maximum(room, 1e-9)).max()
    return max(LOCAL_DENSITY, min(1.0, 1.02 * needed))
