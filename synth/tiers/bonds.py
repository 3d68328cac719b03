"""Hybrid bonds on a legal grid: a site for each crossing, no site twice, close to its net."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import KDTree

from golden.spec import SpecError

from . import vias
from .placement.stack import Crossing, Outline, Placement

# Sites nearest to a bond's wish that are candidates at first.
NEAR = 24


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

    def centres(self) -> np.ndarray:
        """Place of each site in um, row by row, on a grid of a nanometre; float [sites, 2]."""
        column, row = np.arange(self.sites) % self.columns, np.arange(self.sites) // self.columns
        return np.round((np.stack([column, row], axis=1) + 0.5) * self.pitch, 3)


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

    Bonds on a via through a tier's silicon are beside the tier's macros, and its cells make room.

    Raises
    ------
    SpecError
        If there are more crossings between two tiers than sites, or cells find no room.
    """
    grid = check_room(placement.crossing, placement.outline, pitch)
    x, y = placement.bond_x.copy(), placement.bond_y.copy()
    crossing = placement.crossing
    for tier in np.unique(crossing.lower):
        mine = np.flatnonzero(crossing.lower == tier)
        centres = grid.centres()
        if crossing.pierced[mine].any():
            centres = centres[vias.free_sites(placement, tier, centres)]
            if len(centres) < len(mine):
                raise SpecError(
                    f"{len(mine)} vias through tier {tier}: beside its macros there is room for"
                    f" {len(centres)} at a pitch of {pitch:g} um"
                )
        taken = centres[_matched(np.stack([x[mine], y[mine]], axis=1), centres)]
        x[mine], y[mine] = taken.T
    placed = replace(placement, bond_x=x, bond_y=y)
    return vias.make_room(placed) if crossing.pierced.any() else placed


def _matched(wishes: np.ndarray, sites: np.ndarray) -> np.ndarray:
    """A site for each wish, int [wishes]; places are float [places, 2] in um."""
    tree, near = KDTree(sites), min(NEAR, len(sites))
    while True:
        distance, site = tree.query(wishes, near, p=1)
        distance, site = distance.reshape(len(wishes), near), site.reshape(len(wishes), near)
        names, local = np.unique(site, return_inverse=True)
        wish = np.repeat(np.arange(len(wishes)), near)
        # The matching drops weights of zero, so each move counts one more than it is.
        costs = coo_matrix(
            (distance.ravel() + 1.0, (wish, local.ravel())), shape=(len(wishes), len(names))
        )
        if len(names) >= len(wishes) or near == len(sites):
            try:
                return names[min_weight_full_bipartite_matching(costs.tocsr())[1]]
            except ValueError:
                if near == len(sites):
                    raise
        near = min(2 * near, len(sites))
