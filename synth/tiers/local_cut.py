"""Tiers of cells that share a layer: a small cut in each square of the floor, one after another.

Where a cell lies is settled; only its tier is open. So each square's cells are divided among the
tiers as their free area there is, with as few nets cut as can be, and the neighbours' tiers known.
A second round sees the neighbours on all sides.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import mtkahypar
import numpy as np
from tqdm import tqdm

from .hypergraph import FREE, Hypergraph
from .partition import prepared

# Cells a square, and rounds over all squares.
CELLS, ROUNDS = 200, 2
# Larger nets are cut in any case.
LARGEST_NET = 64
# A tier with less of a square's free area gets none of its cells.
SLIVER = 0.03
# What a tier may get above its share, and besides in units of weight.
SLACK, SPARE = 1.06, 20
# Imbalance on top of the limits that the library allows itself on the way.
EPSILON = 0.03
UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class Floor:
    """Cells of a netlist by squares.

    Members
    -------
    starts, pins : nets in compressed rows: net n has the cells ``pins[starts[n]:starts[n + 1]]``
    square : of each cell, int64 [cells]; -1 of those whose tier is known
    weight : of each cell, int64 [cells]
    share : of the free area of a square that is each tier's, float [squares, tiers]
    """

    starts: np.ndarray
    pins: np.ndarray
    square: np.ndarray
    weight: np.ndarray
    share: np.ndarray


def local_cut(floor: Floor, known: np.ndarray, *, progress: bool = False) -> np.ndarray:
    """Tier of each cell, int64 [cells]; the same at every call.

    Parameters
    ----------
    known : tier of the cells that have no square, int64 [cells]
    """
    # The library's answers depend on what its process ran before.
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(_all_squares, floor, known, progress).result()


def _all_squares(floor: Floor, known: np.ndarray, progress: bool) -> np.ndarray:
    library = mtkahypar.initialize(1, False)
    mtkahypar.set_seed(1)
    tiers = np.where(floor.square < 0, known, UNKNOWN)
    nets = _Nets(floor)
    order = np.argsort(floor.square, kind="stable")
    ends = np.searchsorted(floor.square[order], np.arange(len(floor.share) + 1))
    squares = [order[low:high] for low, high in pairwise(ends)]
    with tqdm(total=ROUNDS * len(squares), desc="fold", disable=not progress, leave=False) as bar:
        for _ in range(ROUNDS):
            for members, share in zip(squares, floor.share, strict=True):
                if len(members):
                    tiers[members] = _divide(library, floor, nets, members, share, tiers)
                bar.update()
    return tiers


class _Nets:
    """Nets of each cell, and cells of each net, without nets that are too large to keep whole."""

    def __init__(self, floor: Floor) -> None:
        sizes = np.diff(floor.starts)
        pins = floor.pins.tolist()
        self.cells = {
            int(net): sorted(set(pins[floor.starts[net] : floor.starts[net + 1]]))
            for net in np.flatnonzero((sizes > 1) & (sizes <= LARGEST_NET))
        }
        self.of: list[list[int]] = [[] for _ in floor.square]
        for net, cells in self.cells.items():
            for cell in cells:
                self.of[cell].append(net)


def _divide(library, floor: Floor, nets: _Nets, members, share, tiers) -> np.ndarray:
    """Tiers of a square's cells."""
    open_tiers = np.flatnonzero(share > SLIVER)
    if len(open_tiers) < 2:
        return np.full(len(members), share.argmax())
    shares = share[open_tiers] / share[open_tiers].sum()
    edges = _edges(nets, members, open_tiers, tiers)
    weights = floor.weight[members]
    limits = (SLACK * shares * weights.sum()).astype(int) + SPARE + weights.max()
    # After the cells comes a vertex for each tier, with all that is known to lie there.
    ends = np.arange(len(open_tiers))
    graph = Hypergraph.of(edges, np.concatenate([weights, np.ones(len(ends), np.int64)]))
    fixed = np.concatenate([np.full(len(members), FREE), ends])
    context, made = prepared(
        *(library, mtkahypar.PresetType.DEFAULT, graph, limits.tolist(), EPSILON, fixed)
    )
    parts = np.array(made.partition(context).get_partition()[: len(members)])
    return open_tiers[parts]


def _edges(nets: _Nets, members, open_tiers, tiers) -> list[list[int]]:
    """Nets of a square's cells over its vertices, without those that are cut elsewhere already."""
    place = {cell: index for index, cell in enumerate(members.tolist())}
    vertex = {int(tier): len(place) + index for index, tier in enumerate(open_tiers)}
    edges = []
    for net in sorted({net for cell in place for net in nets.of[cell]}):
        inside = [place[cell] for cell in nets.cells[net] if cell in place]
        outside = {int(tiers[cell]) for cell in nets.cells[net] if cell not in place} - {UNKNOWN}
        ends = [vertex[tier] for tier in sorted(outside & vertex.keys())]
        if len(outside) < 2 and len(inside) + len(ends) > 1:
            edges.append(inside + ends)
    return edges or [[0, len(place)]]
