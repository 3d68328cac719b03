"""Hybrid bonds on a legal grid: a site for each crossing, no site twice, close to its net."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from golden.spec import SpecError

from .placement.stack import Crossing, Outline, Placement

# Sites on each side of a bond's wish that are candidates at first.
REACH = 2


@dataclass(frozen=True)
class Grid:
    """Centres of bond sites: half a pitch from the edge, then every pitch.

    Members
    -------
    pitch : um
    columns, rows : sites in x and y
    """

    pitch: float
    columns: int
    rows: int

    @classmethod
    def of(cls, outline: Outline, pitch: float) -> "Grid":
        """Grid of an outline.

        Raises
        ------
        SpecError
            If the pitch is not positive.
        """
        if pitch <= 0:
            raise SpecError(f"bond pitch is {pitch:g} um: must be more than 0")
        return cls(pitch, int(outline.width / pitch), int(outline.height / pitch))

    @property
    def sites(self) -> int:
        """Number of sites."""
        return self.columns * self.rows

    def centre(self, column: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Place of sites in um, on a grid of a nanometre."""
        return (
            np.round((column + 0.5) * self.pitch, 3),
            np.round((row + 0.5) * self.pitch, 3),
        )


def check_room(crossing: Crossing, outline: Outline, pitch: float) -> Grid:
    """Grid of an outline, if all bonds have room on it.

    Raises
    ------
    SpecError
        If there are more crossings between two tiers than sites.
    """
    grid = Grid.of(outline, pitch)
    for tier, count in zip(*np.unique(crossing.lower, return_counts=True), strict=True):
        if count > grid.sites:
            fits = f"{grid.columns} x {grid.rows} = {grid.sites}"
            raise SpecError(
                f"{count} bonds between tiers {tier} and {tier + 1}: a die of"
                f" {outline.width:.1f} x {outline.height:.1f} um has room for"
                f" {fits} at a pitch of {pitch:g} um"
            )
    return grid


def place_bonds(placement: Placement, pitch: float) -> Placement:
    """Placement whose bonds lie on sites, with the least sum of moves among nearby sites.

    Raises
    ------
    SpecError
        If there are more crossings between two tiers than sites.
    """
    grid = check_room(placement.crossing, placement.outline, pitch)
    x, y = placement.bond_x.copy(), placement.bond_y.copy()
    lower = placement.crossing.lower
    for tier in np.unique(lower):
        mine = np.flatnonzero(lower == tier)
        column, row = _sites(x[mine] / pitch - 0.5, y[mine] / pitch - 0.5, grid)
        x[mine], y[mine] = grid.centre(column, row)
    return replace(placement, bond_x=x, bond_y=y)


def _sites(column: np.ndarray, row: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """A site for each wish, wishes and sites counted in pitches."""
    bonds, reach = np.arange(len(column)), REACH
    near = np.clip(np.round(column), 0, grid.columns - 1).astype(np.int64)
    level = np.clip(np.round(row), 0, grid.rows - 1).astype(np.int64)
    while True:
        steps = np.arange(-reach, reach + 1)
        across = near[:, None, None] + steps[None, :, None] + 0 * steps
        up = level[:, None, None] + steps[None, None, :] + 0 * steps[:, None]
        inside = (across >= 0) & (across < grid.columns) & (up >= 0) & (up < grid.rows)
        bond = np.broadcast_to(bonds[:, None, None], inside.shape)[inside]
        site = (up * grid.columns + across)[inside]
        distance = np.abs(across[inside] - column[bond]) + np.abs(up[inside] - row[bond])
        names, local = np.unique(site, return_inverse=True)
        # The matching drops weights of zero, so each move counts one more than it is.
        costs = coo_matrix((distance + 1.0, (bond, local)), shape=(len(bonds), len(names)))
        everywhere = reach >= max(grid.columns, grid.rows)
        if len(names) >= len(bonds) or everywhere:
            try:
                taken = min_weight_full_bipartite_matching(costs.tocsr())[1]
                return names[taken] % grid.columns, names[taken] // grid.columns
            except ValueError:
                if everywhere:
                    raise
        reach *= 2
