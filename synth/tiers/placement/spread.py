"""Global placement: wirelength against a growing weight of density, by Nesterov's method."""

from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from .density import Density
from .problem import Problem
from .wirelength import Wirelength

MOST_STEPS = 900
# Weight of density at the first step, where a coarser placement has spread the cells already.
WARM_WEIGHT = 10.0
LEAST_STEPS = 30
DONE_OVERFLOW = 0.08
# Steps without less overflow after which more weight would only lengthen wires.
PATIENCE = 60
# Once there is little overflow, wires that grow by more without less of it: cells that are shut in
# between macros stay there, whatever the weight, and all others would be thrown about.
LITTLE_OVERFLOW, GROWN = 0.3, 1.1
# A step is shortened until the slope at its end would have allowed it, so often at most.
BACKTRACKS = 4
# Mean bins a cell, and the finest grid.
CELLS_A_BIN = 3.0
MOST_BINS = 256


@dataclass
class _Movables:
    """Free cells, then fillers that keep the rest of the free area filled."""

    cell: np.ndarray
    width: np.ndarray
    height: np.ndarray
    tier: np.ndarray
    area: np.ndarray
    large: list

    @property
    def cells(self) -> int:
        return len(self.cell)


def spread(
    problem: Problem, *, target: float, seed: int = 1, warm: bool = False, progress: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Place everything that is not fixed, with overlaps left for a legaliser.

    Parameters
    ----------
    problem : positions of fixed cells, and where to begin
    target : share of the free area that cells may fill locally, at least the utilisation
    seed : of where movables begin
    warm : begin at the problem's positions; otherwise in the middle of the die
    progress : show a bar

    Returns
    -------
    tuple of np.ndarray
        Lower left corners, x and y of every cell in um.
    """
    bins = _bins(problem)
    density = Density(problem.die_width, problem.die_height, bins, problem.tiers, target)
    for cell in np.flatnonzero(problem.fixed & (problem.area > 0)):
        density.add_fixed(
            problem.tier[cell],
            *(problem.x[cell], problem.y[cell], problem.width[cell], problem.height[cell]),
            1 / problem.layers,
        )
    rng = np.random.default_rng(seed)
    movables = _movables(problem, density, rng)
    x, y = problem.x + problem.width / 2, problem.y + problem.height / 2
    free = movables.cell
    if not warm:
        x[free] = problem.die_width / 2 + rng.normal(0, 0.01 * problem.die_width, len(free))
        y[free] = problem.die_height / 2 + rng.normal(0, 0.01 * problem.die_height, len(free))
    begin = np.hstack([[x[free], y[free]], _filler_places(density, movables, rng)])
    first_weight = WARM_WEIGHT if warm else 1.0
    found = _descend(problem, density, movables, begin, (x, y), first_weight, progress)
    x[free], y[free] = found[:, : len(free)]
    return x - problem.width / 2, y - problem.height / 2


def _filler_places(density: Density, movables: _Movables, rng) -> np.ndarray:
    """Random places in free bins, [2, fillers]."""
    found = [np.zeros((2, 0))]
    fillers = movables.tier[movables.cells :]
    for tier in range(density.tiers):
        bins, count = density.free_bins(tier), int((fillers == tier).sum())
        if not count:
            continue
        row, column = np.divmod(rng.choice(bins, count), density.bins)
        steps = np.array([[density.step_x], [density.step_y]])
        found.append((np.stack([column, row]) + rng.uniform(size=(2, count))) * steps)
    return np.hstack(found)


def _bins(problem: Problem) -> int:
    cells = max(1, int((~problem.fixed).sum()))
    share = problem.area[~problem.fixed & ~problem.macro].sum() / (
        problem.die_width * problem.die_height * problem.tiers
    )
    wanted = np.sqrt(cells / problem.tiers / max(share, 0.05) / CELLS_A_BIN)
    return int(np.clip(2 ** round(np.log2(max(wanted, 1))), 16, MOST_BINS))


def _movables(problem: Problem, density: Density, rng) -> _Movables:
    cell = np.flatnonzero(~problem.fixed)
    width, height = problem.width[cell], problem.height[cell]
    tier, area = problem.tier[cell], width * height
    macro = np.flatnonzero(problem.macro[cell])
    # Density counts macros as full at the target, so that they do not push each other apart.
    area = np.where(problem.macro[cell], area * density.target, area)
    large = [(int(index), width[index], height[index]) for index in macro]
    sizes = [width], [height], [tier], [area]
    small = area[~problem.macro[cell]]
    side = np.sqrt(small.mean()) * 1.5 if len(small) else density.step_x
    capacity = density.target * problem.die_width * problem.die_height
    for level in range(problem.tiers):
        spare = capacity - density.base[level].sum() - area[tier == level].sum()
        count = max(0, int(spare / side**2))
        for kept, value in zip(sizes, (side, side, level, side**2), strict=True):
            kept.append(np.full(count, value))
    joined = [np.concatenate(kept) for kept in sizes]
    return _Movables(cell, joined[0], joined[1], joined[2].astype(np.int64), joined[3], large)


def _descend(
    problem, density, movables: _Movables, begin, others, first_weight: float, progress
) -> np.ndarray:
    """Nesterov's method; the step is the inverse of the slope's change over the last move."""
    wirelength = Wirelength(problem)
    half = np.stack([movables.width, movables.height]) / 2
    low, high = half, np.array([[problem.die_width], [problem.die_height]]) - half
    high = np.maximum(low, high)
    free = movables.cell
    degree = np.zeros(len(movables.area))
    degree[: len(free)] = wirelength.degree[free]
    bin_um = (density.step_x + density.step_y) / 2
    weight, gamma = None, 80.0 * bin_um

    def slopes(at):
        x, y = others[0].copy(), others[1].copy()
        x[free], y[free] = at[:, : len(free)]
        length, wire_x, wire_y = wirelength.gradient(x, y, gamma)
        wires = np.zeros_like(at)
        wires[:, : len(free)] = wire_x[free], wire_y[free]
        push_x, push_y, overflow = density.field(
            at[0], at[1], movables.tier, movables.area, movables.large, movables.cells
        )
        return length, wires, np.stack([push_x, push_y]), overflow

    major = ahead = np.clip(begin, low, high)
    length, wires, push, overflow = slopes(ahead)
    weight = first_weight * np.abs(wires).sum() / max(np.abs(push).sum(), 1e-12)

    def conditioned():
        return (wires + weight * push) / np.maximum(degree + weight * movables.area, 1e-9)

    momentum, last_length, step = 1.0, length, None
    best, best_overflow, best_length, best_index = ahead, np.inf, np.inf, 0
    worst_overflow = 0.0
    bar = tqdm(total=MOST_STEPS, desc="place", disable=not progress, leave=False)
    for index in range(MOST_STEPS):
        slope = conditioned()
        if step is None:
            step = 0.1 * bin_um / max(np.abs(slope).mean(), 1e-12)
        following = (1 + np.sqrt(4 * momentum**2 + 1)) / 2
        for _ in range(BACKTRACKS):
            moved = np.clip(ahead - step * slope, low, high)
            onward = np.clip(moved + (momentum - 1) / following * (moved - major), low, high)
            length, wires, push, overflow = slopes(onward)
            allowed = _size(onward - ahead) / max(_size(conditioned() - slope), 1e-12)
            if allowed >= 0.95 * step:
                break
            step = allowed
        # Momentum that runs uphill throws cells about: it starts anew (O'Donoghue and Candes).
        if (slope * (moved - major)).sum() > 0:
            following = 1.0
        major, ahead, momentum, step = moved, onward, following, allowed
        gamma = 8.0 * bin_um * 10 ** ((min(overflow, 1.0) - 0.1) * 20 / 9 - 1)
        bar.update()
        bar.set_postfix_str(f"overflow {overflow:.2f}, {length / 1000:.0f} mm", refresh=False)
        # Cells that begin spread draw together at first: what counts comes after the peak.
        if overflow > worst_overflow:
            best_overflow, worst_overflow = np.inf, overflow
        if overflow < 0.99 * best_overflow:
            best, best_overflow, best_length, best_index = ahead, overflow, length, index
        elif best_overflow < LITTLE_OVERFLOW and length > GROWN * best_length:
            break
        if index > LEAST_STEPS and (overflow < DONE_OVERFLOW or index - best_index > PATIENCE):
            break
        weight *= _growth(length - last_length, problem, index)
        last_length = length
    bar.close()
    return best


def _size(vector: np.ndarray) -> float:
    return float(np.sqrt((vector * vector).sum()))


def _growth(longer: float, problem: Problem, index: int) -> float:
    """Factor of the density weight: slower where the last step cost much wire."""
    unit = 0.005 * (problem.die_width + problem.die_height) * np.sqrt(len(problem.net_starts))
    if longer < 0:
        return 1.05 * max(0.9999**index, 0.98)
    return 1.05 * max(1.05 ** (-longer / unit), 0.95)
