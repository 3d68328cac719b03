"""Placement of a design on a stack: one outline for all tiers, bonds where tiers meet."""

from dataclasses import dataclass

import numpy as np

from golden.spec import SpecError

from ..design import Design
from .cluster import clusters, coarse
from .macros import legalise_macros
from .problem import Problem
from .rows import to_rows
from .spread import spread

# Free space around a macro, for its pins and for the rounding of its place to the grid.
HALO_UM = 1.4
# Cells may fill the free area locally up to this, which leaves the legaliser room.
LOCAL_DENSITY = 0.9
# Clusters of cells with which macros are placed.
CLUSTERS = 3000


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
    if not 0 < utilisation < 1:
        raise SpecError(f"utilisation is {utilisation:g}: must be between 0 and 1")
    library = design.library
    areas = np.bincount(tiers, design.area[: design.instances])
    area = areas.max() / utilisation
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
    progress: bool = False,
) -> Placement:
    """Place macros, then cells, legally; bonds are where their nets want them.

    Macros are spread with clusters of cells, made legal and stay; then cells are spread around
    them, beginning where their cluster is, and put into rows.

    Raises
    ------
    SpecError
        If macros or cells do not fit.
    """
    crossing = Crossing.of(design, tiers)
    x, y = place_problem(as_problem(design, tiers, outline, crossing), progress=progress)
    kept = design.instances + len(design.port_names)
    return Placement(design, tiers, outline, x[:kept], y[:kept], crossing, x[kept:], y[kept:])


def place_problem(problem: Problem, *, progress: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Legal lower left corners of all cells, float [cells] um each."""
    label = clusters(problem, CLUSTERS)
    small = coarse(problem, label)
    x, y = spread(small, target=_target(small), progress=progress)
    x, y = legalise_macros(small, x, y, HALO_UM)
    rng = np.random.default_rng(1)
    side = np.sqrt(np.bincount(label, problem.area))[label]
    around = side * rng.uniform(-0.5, 0.5, (2, len(label)))
    middle_x, middle_y = x + small.width / 2, y + small.height / 2
    still = problem.fixed | problem.macro
    start_x = np.where(still, x[label], middle_x[label] + around[0] - problem.width / 2)
    start_y = np.where(still, y[label], middle_y[label] + around[1] - problem.height / 2)
    full = problem.at(start_x, start_y, fixed=still)
    x, y = spread(full, target=_target(full), warm=True, progress=progress)
    return to_rows(full, x, y)


def _target(problem: Problem) -> float:
    """Local density: what the legaliser can take, but never below what the fullest tier needs."""
    macros = problem.area * (problem.macro | problem.fixed)
    cells = problem.area - macros
    room = problem.die_width * problem.die_height - np.bincount(problem.tier, macros)
    needed = (np.bincount(problem.tier, cells) / np.maximum(room, 1e-9)).max()
    return max(LOCAL_DENSITY, min(1.0, 1.02 * needed))


def as_problem(design: Design, tiers, outline: Outline, crossing: Crossing) -> Problem:
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
