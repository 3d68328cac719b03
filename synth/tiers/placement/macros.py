"""Legal macros: none on another, all inside, close to where global placement wants them.

Macros are kept apart by a sequence pair (Murata et al.): of two macros, the orders in two sequences
say which is left of, or below, the other. Simulated annealing looks for a pair that fits the die
with little movement; a linear programme then finds the positions.
"""

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_matrix

from golden.spec import SpecError

from .problem import Problem

# Steps of an annealing: for each macro, and at most.
STEPS, MOST_STEPS = 300, 3000
# Annealings, of which the one that moves macros least counts.
STARTS = 3


def legalise_macros(
    problem: Problem, x: np.ndarray, y: np.ndarray, halo: float
) -> tuple[np.ndarray, np.ndarray]:
    """Move the macros to legal places; every other position is as it was.

    Parameters
    ----------
    problem : its free macros move
    x, y : lower left corners, float [cells] um
    halo : um that stay free around a macro

    Raises
    ------
    SpecError
        If no arrangement was found in which the macros of a tier fit.
    """
    x, y = x.copy(), y.copy()
    for tier in range(problem.tiers):
        macros = np.flatnonzero(problem.macro & ~problem.fixed & (problem.tier == tier))
        if not len(macros):
            continue
        sizes = np.stack([problem.width[macros], problem.height[macros]]) + 2 * halo
        # With the free margin around the die as well, a macro's corner has the same coordinates.
        die = np.array([problem.die_width, problem.die_height]) + 2 * halo
        placed = _arrange(sizes, np.stack([x[macros], y[macros]]), die)
        if placed is None:
            area = problem.area[macros].sum()
            raise SpecError(
                f"the {len(macros)} macros of tier {tier}, {area:.0f} um2, do not fit a die of"
                f" {problem.die_width:.1f} x {problem.die_height:.1f} um; take a lower utilisation"
            )
        x[macros] = np.round(placed[0] / problem.site_um) * problem.site_um
        y[macros] = np.round(placed[1] / problem.row_um) * problem.row_um
    return x, y


def _arrange(sizes: np.ndarray, wish: np.ndarray, die: np.ndarray) -> np.ndarray | None:
    """Positions of macros [2, macros] in a die, or None."""
    centre = wish + sizes / 2
    # Left of or above comes first in one sequence, left of or below in the other.
    pair = np.stack([np.argsort(centre[0] - centre[1]), np.argsort(centre[0] + centre[1])])
    weight = sizes[0] * sizes[1] / (sizes[0] * sizes[1]).mean()
    found = [
        _anneal(pair, sizes, wish, die, weight, np.random.default_rng(seed))
        for seed in range(STARTS)
    ]
    fitting = [one for one in found if one is not None]
    if not fitting:
        return None
    best = min(fitting, key=lambda one: _cost(one, sizes, wish, die, weight)[1])
    return _positions(best, sizes, wish, die, weight)


def _relations(pair: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether macro i is left of j, and whether it is below j, bool [macros, macros] each."""
    rank = np.empty_like(pair)
    for sequence, order in zip(pair, rank, strict=True):
        order[sequence] = np.arange(len(sequence))
    first = rank[0][:, None] < rank[0][None, :]
    second = rank[1][:, None] < rank[1][None, :]
    return first & second, ~first & second & ~np.eye(len(pair[0]), dtype=bool)


def _cost(pair, sizes, wish, die, weight) -> tuple[float, float]:
    """How far the packing leaves the die, and how far macros must move at least, both in um."""
    relations = _relations(pair)
    outside = moved = 0.0
    for axis in (0, 1):
        before = relations[axis]
        size = sizes[axis]
        low, high = np.zeros(len(size)), np.full(len(size), die[axis]) - size
        # The second sequence puts whatever is left of, or below, a macro before it.
        order = pair[1]
        for macro in order:
            ahead = before[:, macro]
            if ahead.any():
                low[macro] = (low[ahead] + size[ahead]).max()
        for macro in order[::-1]:
            behind = before[macro]
            if behind.any():
                high[macro] = high[behind].min() - size[macro]
        outside += max(0.0, float((low + size).max() - die[axis]))
        at = np.clip(wish[axis], low, np.maximum(low, high))
        moved += float((np.abs(at - wish[axis]) * weight).sum())
    return outside, moved


def _anneal(pair, sizes, wish, die, weight, rng) -> np.ndarray | None:
    """Best sequence pair that fits, or None."""
    count = len(weight)
    pair = pair.copy()

    def total(outside: float, moved: float) -> float:
        return 20 * count * outside + moved

    parts = _cost(pair, sizes, wish, die, weight)
    cost = total(*parts)
    best, best_cost = (pair.copy(), cost) if parts[0] <= 0 else (None, np.inf)
    steps = min(STEPS * count, MOST_STEPS) if count > 1 else 0
    hot = 0.02 * count * die.mean()
    for step in range(steps):
        heat = hot * 0.001 ** (step / steps)
        kept = pair.copy()
        a, b = rng.choice(count, 2, replace=False)
        kind = rng.integers(3)
        for sequence in pair if kind == 2 else (pair[kind],):
            i, j = np.flatnonzero(sequence == a)[0], np.flatnonzero(sequence == b)[0]
            sequence[i], sequence[j] = sequence[j], sequence[i]
        parts = _cost(pair, sizes, wish, die, weight)
        new = total(*parts)
        if new <= cost or rng.random() < np.exp((cost - new) / heat):
            cost = new
            if parts[0] <= 0 and new < best_cost:
                best, best_cost = pair.copy(), new
        else:
            pair = kept
    return best


def _positions(pair, sizes, wish, die, weight) -> np.ndarray:
    """Positions of least weighted movement that keep to a sequence pair, [2, macros]."""
    count, found = len(weight), []
    for axis, before in enumerate(_relations(pair)):
        i, j = np.nonzero(before)
        rows = np.arange(len(i))
        # Unknowns: positions, then how far each is from its wish.
        apart = coo_matrix(
            (
                np.concatenate([np.ones(len(i)), -np.ones(len(j))]),
                (np.concatenate([rows, rows]), np.concatenate([i, j])),
            ),
            shape=(len(i), 2 * count),
        ).toarray()
        one = np.eye(count)
        distance = np.block([[one, -one], [-one, -one]])
        solved = linprog(
            np.concatenate([np.zeros(count), weight]),
            A_ub=np.vstack([apart, distance]),
            b_ub=np.concatenate([-sizes[axis][i], wish[axis], -wish[axis]]),
            bounds=[(0, die[axis] - size) for size in sizes[axis]] + [(0, None)] * count,
            method="highs-ds",
        )
        found.append(solved.x[:count])
    return np.stack(found)
