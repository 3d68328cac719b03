"""What is to be placed, and how long the wires of a placement are."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Problem:
    """Rectangles on the tiers of a stack, and the nets between them; all lengths in um.

    Tiers have one outline and lie on each other, so a net's length is measured in x and y alone.

    Members
    -------
    width, height : float [cells]; 0 for ports
    tier : int [cells], which tier each lies on
    macro : bool [cells], placed first, anywhere; all others go to rows
    fixed : bool [cells], ports and what else does not move
    x, y : float [cells], lower left corner of what is fixed; where to begin for the rest
    net_starts : int [nets + 1], net n has the pins ``net_starts[n]`` to ``net_starts[n + 1]``
    pin_cell : int [pins]
    pin_dx, pin_dy : float [pins], from the cell's lower left corner
    die_width, die_height : outline of every tier
    row_um, site_um : rows of cells, and the step in a row
    tiers : number of tiers
    layers : tiers of the stack that each tier here stands for: what is fixed lies on one of them
        only, and leaves the rest of the place free
    net_weight : float [nets], how much a net's wire counts where cells are spread; None for all
        alike
    """

    width: np.ndarray
    height: np.ndarray
    tier: np.ndarray
    macro: np.ndarray
    fixed: np.ndarray
    x: np.ndarray
    y: np.ndarray
    net_starts: np.ndarray
    pin_cell: np.ndarray
    pin_dx: np.ndarray
    pin_dy: np.ndarray
    die_width: float
    die_height: float
    row_um: float
    site_um: float
    tiers: int = 1
    layers: int = 1
    net_weight: np.ndarray | None = None

    @cached_property
    def net_of_pin(self) -> np.ndarray:
        """Net of each pin, int [pins]."""
        return np.repeat(np.arange(len(self.net_starts) - 1), np.diff(self.net_starts))

    @property
    def area(self) -> np.ndarray:
        """Area of each cell in um2, float [cells]."""
        return self.width * self.height

    def at(self, x: np.ndarray, y: np.ndarray, fixed: np.ndarray | None = None) -> "Problem":
        """Same problem from other positions, and with other cells fixed if given."""
        return replace(self, x=x, y=y, fixed=self.fixed if fixed is None else fixed)

    def net_lengths(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Half the perimeter of each net's box in um, float [nets]; 0 for nets without pins."""
        lengths = np.zeros(len(self.net_starts) - 1)
        filled = np.flatnonzero(np.diff(self.net_starts))
        if len(filled):
            begins = self.net_starts[filled]
            for corner, offset in ((x, self.pin_dx), (y, self.pin_dy)):
                at = corner[self.pin_cell] + offset
                high, low = np.maximum.reduceat(at, begins), np.minimum.reduceat(at, begins)
                lengths[filled] += high - low
        return lengths
