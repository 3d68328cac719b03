"""Placement of a design on a stack: one outline for all tiers, bonds where tiers meet."""

from dataclasses import dataclass

import numpy as np

from golden.spec import SpecError

from ..design import Design
from .engine import place_cells, place_problem
from .problem import Problem


@dataclass(frozen=True, eq=False)
class Crossing:
    """Where nets pass between tiers, one entry for each net and pair of adjacent tiers.

    Members
    -------
    net : int64, the net
    lower : int64, the tier below; the other one is the next
    """

    net: np.ndarray
    lower: np.ndarray

    @classmethod
    def of(cls, design: Design, tiers: np.ndarray) -> "Crossing":
        """All crossings, by net and then upwards."""
        low, high = design.span(tiers)
        count = high - low
        net = np.repeat(np.arange(design.nets), count)
        first = np.concatenate([[0], np.cumsum(count)])[:-1]
        return cls(net, low[net] + np.arange(len(net)) - first[net])

    @property
    def pierced(self) -> np.ndarray:
        """Which are on a via through the silicon of their lower tier, bool [crossings].

        The first two tiers are face to face, all others face to back.
        """
        return self.lower > 0

    def __len__(self) -> int:
        return len(self.net)


@dataclass(frozen=True, eq=False)
class Outline:
    """Size of every tier in um, whole rows and sites."""

    width: float
    height: float

    @property
    def area(self) -> float:
        """Footprint in um2."""
        return self.width * self.height


@dataclass(frozen=True, eq=False)
class Placement:
    """A placed stack.

    Members
    -------
    design, tiers : what was placed, and the tier of each instance
    outline : of every tier
    x, y : lower left corner of each instance, then each port, in um
    crossing : nets between tiers
    bond_x, bond_y : centre of the bond of each crossing, in um
    """

    design: Design
    tiers: np.ndarray
    outline: Outline
    x: np.ndarray
    y: np.ndarray
    crossing: Crossing
    bond_x: np.ndarray
    bond_y: np.ndarray

    @property
    def count(self) -> int:
        """Number of tiers."""
        return int(self.tiers.max(initial=0)) + 1


def outline_for(design: Design, tiers: np.ndarray, utilisation: float) -> Outline:
    """Smallest nearly square outline in which no tier is fuller than ``utilisation``.

    Raises
    ------
    SpecError
        If the utilisation is not above 0 and below 1, or the largest macro does not fit.
    """
    areas = np.bincount(tiers, design.area[: design.instances])
    return outline_of_area(design, areas.max(), utilisation)


def outline_of_area(design: Design, filled: float, utilisation: float) -> Outline:
    """Smallest nearly square outline that ``filled`` um2 make as full as ``utilisation``.

    Raises
    ------
    SpecError
        If the utilisation is not above 0 and below 1, or the largest macro does not fit.
    """
    if not 0 < utilisation < 1:
        raise SpecError(f"utilisation is {utilisation:g}: must be between 0 and 1")
    library = design.library
    area = filled / utilisation
    height = np.ceil(np.sqrt(area) / library.row_um) * library.row_um
    width = np.ceil(area / height / library.site_um) * library.site_um
    if design.width.max() > width or design.height.max() > height:
        raise SpecError(
            f"utilisation is {utilisation:g}: a tier of {width:.1f} x {height:.1f} um is smaller"
            " than the largest macro; take a lower one"
        )
    return Outline(float(width), float(height))


def place(
    design: Design,
    tiers: np.ndarray,
    outline: Outline,
    *,
    start: tuple[np.ndarray, np.ndarray] | None = None,
    net_weight: np.ndarray | None = None,
    progress: bool = False,
) -> Placement:
    """Place macros, then cells, legally; bonds are where their nets want them.

    Parameters
    ----------
    tiers : of each instance
    outline : of every tier
    start : lower left corners in um of all instances, then ports, from which cells begin; macros
        are legal there and stay
    net_weight : how much the wire of each net counts, float [nets]; all alike by default

    Raises
    ------
    SpecError
        If macros or cells do not fit.
    """
    crossing = Crossing.of(design, tiers)
    problem = as_problem(design, tiers, outline, crossing, net_weight)
    if start is None:
        x, y = place_problem(problem, progress=progress)
    else:
        x, y = place_cells(_started(problem, design, crossing, *start), progress=progress)
    kept = design.instances + len(design.port_names)
    return Placement(design, tiers, outline, x[:kept], y[:kept], crossing, x[kept:], y[kept:])


def _started(problem: Problem, design: Design, crossing: Crossing, x, y) -> Problem:
    """Problem that begins at given corners, with bonds in the middle of their net's cells."""
    net, cell = design.net_of_pin, design.pin_cell
    pins = np.maximum(np.bincount(net, minlength=design.nets), 1)
    bonds = [
        (np.bincount(net, (low + size / 2)[cell], minlength=design.nets) / pins)[crossing.net]
        for low, size in ((x, design.width), (y, design.height))
    ]
    start_x, start_y = np.concatenate([x, bonds[0]]), np.concatenate([y, bonds[1]])
    ports = problem.fixed
    start_x[ports], start_y[ports] = problem.x[ports], problem.y[ports]
    return problem.at(start_x, start_y, fixed=problem.fixed | problem.macro)


def as_problem(
    design: Design, tiers, outline: Outline, crossing: Crossing, net_weight=None
) -> Problem:
    """Cells are instances, ports on the edge, and bonds, through which a net's parts are joined."""
    bonds, base = len(crossing), design.instances + len(design.port_names)
    tier_of = design.cell_tiers(tiers)
    count = int(tiers.max(initial=0)) + 1
    dx, dy = design.pin_offsets
    # A net has a part on each tier where it has a pin or through which it passes.
    part = design.net_of_pin * count + tier_of[design.pin_cell]
    ends = crossing.net * count + crossing.lower
    parts = np.concatenate([part, ends, ends + 1])
    cells = np.concatenate([design.pin_cell, np.tile(base + np.arange(bonds), 2)])
    none = np.zeros(2 * bonds)
    order = np.argsort(parts, kind="stable")
    used = np.unique(parts)
    port_x, port_y = port_places(len(design.port_names), outline)
    fixed = np.zeros(base + bonds, bool)
    fixed[design.instances : base] = True
    x, y = np.zeros(base + bonds), np.zeros(base + bonds)
    x[fixed], y[fixed] = port_x, port_y
    zeros = np.zeros(bonds)
    return Problem(
        width=np.concatenate([design.width, zeros]),
        height=np.concatenate([design.height, zeros]),
        tier=np.concatenate([tier_of, crossing.lower]).astype(np.int64),
        macro=np.concatenate([design.macro, zeros.astype(bool)]),
        fixed=fixed,
        x=x,
        y=y,
        net_starts=np.append(np.searchsorted(parts[order], used), len(parts)),
        pin_cell=cells[order],
        pin_dx=np.concatenate([dx, none])[order],
        pin_dy=np.concatenate([dy, none])[order],
        die_width=outline.width,
        die_height=outline.height,
        row_um=design.library.row_um,
        site_um=design.library.site_um,
        tiers=count,
        net_weight=None if net_weight is None else net_weight[used // count],
    )


def port_places(count: int, outline: Outline) -> tuple[np.ndarray, np.ndarray]:
    """Ports in order around the outline, at equal distances from its lower left corner on."""
    at = (np.arange(count) + 0.5) / max(count, 1) * 4
    along = at % 1
    side = at.astype(int)
    x = np.choose(side, [along, np.ones(count), 1 - along, np.zeros(count)]) * outline.width
    y = np.choose(side, [np.zeros(count), along, np.ones(count), 1 - along]) * outline.height
    return np.round(x, 2), np.round(y, 2)


def wire_lengths(placement: Placement) -> np.ndarray:
    """Half-perimeter length of each net in um, summed over its tiers; float [nets].

    On each tier a net's box holds its pins there and the bonds at which it leaves the tier.
    """
    problem = as_problem(placement.design, placement.tiers, placement.outline, placement.crossing)
    x = np.concatenate([placement.x, placement.bond_x])
    y = np.concatenate([placement.y, placement.bond_y])
    lengths = problem.net_lengths(x, y)
    # Parts are in the order of their nets.
    design, crossing = placement.design, placement.crossing
    count = problem.tiers
    tier_of = design.cell_tiers(placement.tiers)
    part = design.net_of_pin * count + tier_of[design.pin_cell]
    ends = crossing.net * count + crossing.lower
    used = np.unique(np.concatenate([part, ends, ends + 1]))
    return np.bincount(used // count, lengths, minlength=design.nets)
