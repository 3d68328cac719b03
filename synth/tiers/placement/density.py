"""Density of the tiers as charge: cells repel each other until they fill the free area evenly.

The model of Lu et al. (ePlace): each tier is a grid of bins, the charge of a bin is the area that
lies in it, and the force on a cell is the field of Poisson's equation with closed borders, solved
by cosine transforms.
"""

import numpy as np
from scipy.fft import dctn, idctn


class Density:
    """Field of everything on the tiers of a stack.

    Parameters
    ----------
    die_width, die_height : um
    bins : on each side of a tier's grid
    tiers : number of tiers
    target : share of a bin that may be filled
    """

    def __init__(self, die_width, die_height, bins: int, tiers: int, target: float) -> None:
        self.bins, self.tiers, self.target = bins, tiers, target
        self.die = (die_width, die_height)
        self.step_x, self.step_y = die_width / bins, die_height / bins
        self.capacity = target * self.step_x * self.step_y
        self.base = np.zeros((tiers, bins, bins))
        wave_x = np.pi * np.arange(bins) / die_width
        wave_y = np.pi * np.arange(bins) / die_height
        square = wave_y[:, None] ** 2 + wave_x[None, :] ** 2
        square[0, 0] = 1.0
        self.inverse = 1.0 / square
        self.inverse[0, 0] = 0.0

    def add_fixed(self, tier: int, x, y, width, height, share: float = 1.0) -> None:
        """Let a rectangle take a share of its place for good."""
        self._stamp(self.base, tier, x, y, width, height, self.target * share)

    def _stamp(self, grid, tier, x, y, width, height, weight: float) -> None:
        rows, columns = self._overlap(x, y, width, height)
        grid[tier][rows[0], columns[0]] += weight * np.outer(rows[1], columns[1])

    def _overlap(self, x, y, width, height):
        """Bins under a rectangle, and how much of each it covers, in y and in x."""
        spans = []
        for low, size, step in ((y, height, self.step_y), (x, width, self.step_x)):
            first = max(0, int(low / step))
            last = min(self.bins, int(np.ceil((low + size) / step)))
            edges = np.arange(first, last + 1) * step
            covered = np.minimum(edges[1:], low + size) - np.maximum(edges[:-1], low)
            spans.append((slice(first, last), covered))
        return spans

    def field(self, x, y, tier, area, large, cells: int):
        """Forces and overflow.

        Parameters
        ----------
        x, y : centres of all movables
        tier, area : of each
        large : list of (index, width, height) of those larger than a bin
        cells : the first so many are cells, the rest fillers

        Returns
        -------
        tuple
            Slope of the energy in x and y for each movable, and the share of the cells' area that
            lies above the target.
        """
        spots, shares = self._spots(x, y, tier)
        small = area.copy()
        small[[index for index, _, _ in large]] = 0.0
        moving = self._collect(spots, shares, small, slice(cells))
        for index, width, height in large:
            left, low = x[index] - width / 2, y[index] - height / 2
            self._stamp(moving, tier[index], left, low, width, height, self.target)
        filled = moving + self.base
        excess = np.maximum(filled - self.capacity, 0.0).sum()
        overflow = excess / max(area[:cells].sum(), 1e-9)
        filled += self._collect(spots, shares, small, slice(cells, None))
        charge = filled / self.capacity
        charge -= charge.mean(axis=(1, 2), keepdims=True)
        modes = dctn(charge, axes=(1, 2), norm="ortho") * self.inverse
        potential = idctn(modes, axes=(1, 2), norm="ortho")
        slope_y = np.gradient(potential, self.step_y, axis=1)
        slope_x = np.gradient(potential, self.step_x, axis=2)
        forces = []
        for slope in (slope_x, slope_y):
            near = slope.ravel()
            gathered = sum(near[s] * w for s, w in zip(spots, shares, strict=True))
            forces.append(gathered * area)
        for index, width, height in large:
            left, low = x[index] - width / 2, y[index] - height / 2
            rows, columns = self._overlap(left, low, width, height)
            cover = np.outer(rows[1], columns[1])
            for force, slope in zip(forces, (slope_x, slope_y), strict=True):
                force[index] = (slope[tier[index]][rows[0], columns[0]] * cover).sum()
        return forces[0], forces[1], float(overflow)

    def _collect(self, spots, shares, area, part: slice) -> np.ndarray:
        """Charge of some movables in each bin."""
        flat = np.zeros(self.base.size)
        for spot, share in zip(spots, shares, strict=True):
            flat += np.bincount(spot[part], share[part] * area[part], minlength=flat.size)
        return flat.reshape(self.base.shape)

    def free_bins(self, tier: int) -> np.ndarray:
        """Bins of a tier that are at least half free, as flat numbers within the tier."""
        return np.flatnonzero(self.base[tier] < self.capacity / 2)

    def _spots(self, x, y, tier):
        """The four bins among which each movable's charge is shared, and the shares."""
        column = np.clip(x / self.step_x - 0.5, 0, self.bins - 1.000001)
        row = np.clip(y / self.step_y - 0.5, 0, self.bins - 1.000001)
        left, low = column.astype(np.int64), row.astype(np.int64)
        right, high = column - left, row - low
        spot = (tier * self.bins + low) * self.bins + left
        spots = (spot, spot + 1, spot + self.bins, spot + self.bins + 1)
        shares = (
            (1 - right) * (1 - high),
            right * (1 - high),
            (1 - right) * high,
            right * high,
        )
        return spots, shares
