"""Smooth wirelength and its gradient: the weighted-average model of Hsu, Balabanov and Chang."""

import numpy as np

from .problem import Problem

# Nets of more pins (reset, constants) say nothing about where a cell should be.
MOST_PINS = 1000


class Wirelength:
    """Gradient of the smooth wirelength over the centres of cells.

    Nets are kept in groups of about one size, a group as an array [pins of a net, nets], because
    sums over its first axis are several times faster than sums over segments of one long row.

    Parameters
    ----------
    problem : whose nets of 2 to :data:`MOST_PINS` pins count, by their weight
    """

    def __init__(self, problem: Problem) -> None:
        self.cells = len(problem.width)
        dx = problem.pin_dx - problem.width[problem.pin_cell] / 2
        dy = problem.pin_dy - problem.height[problem.pin_cell] / 2
        sizes = np.diff(problem.net_starts)
        weight = np.ones(len(sizes)) if problem.net_weight is None else problem.net_weight
        self.groups = []
        for least, most in _size_classes():
            nets = np.flatnonzero((sizes >= least) & (sizes <= most))
            if not len(nets):
                continue
            slots = np.arange(most)[:, None]
            real = slots < sizes[nets]
            # A slot too many repeats the net's first pin, without weight.
            pins = problem.net_starts[nets] + np.where(real, slots, 0)
            mask = None if real.all() else real.astype(float)
            self.groups.append((problem.pin_cell[pins], dx[pins], dy[pins], mask, weight[nets]))
        taken = ((sizes > 1) & (sizes <= MOST_PINS))[problem.net_of_pin]
        pins = problem.pin_cell[taken]
        weights = weight[problem.net_of_pin[taken]]
        self.degree = np.bincount(pins, weights, minlength=self.cells)
        self._flat = np.concatenate([cell.ravel() for cell, *_ in self.groups] or [pins])

    def gradient(self, x, y, gamma: float) -> tuple[float, np.ndarray, np.ndarray]:
        """Weighted half-perimeter wirelength, and the smooth one's gradient in x and y."""
        length, found = 0.0, []
        for axis, centre in ((1, x), (2, y)):
            slopes = [np.zeros(0)]
            for group in self.groups:
                at = centre[group[0]] + group[axis]
                more, slope = _net_slopes(at, *group[3:], gamma)
                length += more
                slopes.append(slope.ravel())
            joined = np.concatenate(slopes)
            found.append(np.bincount(self._flat[: len(joined)], joined, minlength=self.cells))
        return length, found[0], found[1]


def _size_classes() -> list[tuple[int, int]]:
    classes = [(size, size) for size in range(2, 9)]
    while classes[-1][1] < MOST_PINS:
        last = classes[-1][1]
        classes.append((last + 1, min(last + last // 2, MOST_PINS)))
    return classes


def _net_slopes(at: np.ndarray, mask, weight, gamma: float) -> tuple[float, np.ndarray]:
    """Weighted length of a group's nets along an axis, and the slope at each pin."""
    high, low = at.max(axis=0), at.min(axis=0)
    slope = _side((at - high) / gamma, mask)
    slope -= _side((low - at) / gamma, mask)
    return float((high - low) @ weight), slope * weight


def _side(back: np.ndarray, mask) -> np.ndarray:
    """Slope of the weighted mean of a net's pins, whose weights fall from its end."""
    weight = np.exp(back)
    if mask is not None:
        weight *= mask
    total = weight.sum(axis=0)
    mean = (weight * back).sum(axis=0) / total
    return weight / total * (1 + back - mean)
