"""Partitioner of hypergraphs: Mt-KaHyPar's deterministic preset, several starts, V-cycles."""

from dataclasses import dataclass
from functools import cache

import mtkahypar
import numpy as np
from tqdm import tqdm

from golden.spec import SpecError

from .hypergraph import FREE, Hypergraph

V_CYCLES = 3


@dataclass(frozen=True)
class Bounds:
    """How heavy the parts may be.

    Members
    -------
    low, high : share of the total weight that a part has at least and at most
    parts : number of parts
    """

    low: float
    high: float
    parts: int = 2

    @classmethod
    def of_imbalance(cls, percent: float, parts: int = 2) -> "Bounds":
        """hMETIS' UB factor: each part is ``1 / parts`` of the total, +- ``percent`` points."""
        return cls(1 / parts - percent / 100, 1 / parts + percent / 100, parts)

    def hold(self, weights: np.ndarray) -> bool:
        """Whether these weights of parts are allowed."""
        total = weights.sum()
        return bool((weights >= self.low * total).all() and (weights <= self.high * total).all())

    def check(self, graph: Hypergraph, fixed: np.ndarray | None) -> None:
        """Raise SpecError where no partition can satisfy the bounds."""
        total, name = graph.total_weight, f"{100 * self.low:g} to {100 * self.high:g} % a part"
        if self.low * self.parts > 1 or self.high * self.parts < 1:
            raise SpecError(
                f"balance is {name}: {self.parts} parts must be able to hold"
                f" {100 / self.parts:g} % each"
            )
        heaviest = int(graph.vertex_weights.max(initial=0))
        if heaviest > self.high * total:
            raise SpecError(
                f"balance is {name}: the heaviest vertex alone has"
                f" {100 * heaviest / total:.1f} %, so a part must be allowed that much"
            )
        if fixed is None:
            return
        for part in range(self.parts):
            held = int(graph.vertex_weights[fixed == part].sum())
            if held > self.high * total:
                raise SpecError(
                    f"balance is {name}: what is fixed to part {part} has"
                    f" {100 * held / total:.1f} %, so a part must be allowed that much"
                )


def partition(
    graph: Hypergraph,
    bounds: Bounds,
    *,
    fixed: np.ndarray | None = None,
    tries: int = 4,
    starts: tuple[np.ndarray, ...] = (),
    progress: bool = False,
) -> np.ndarray:
    """Partition with a small cut; the same answer at every call and on any number of cores.

    Parameters
    ----------
    graph : what to cut; the objective is the weight of the edges that are cut
    bounds : how heavy the parts may be
    fixed : part of each vertex that is fixed, ``FREE`` of the others
    tries : starts from scratch, each on another numbering of the vertices
    starts : partitions to improve besides, for example from the hierarchy
    progress : show a bar

    Returns
    -------
    np.ndarray
        int64 [vertices], the part of each.

    Raises
    ------
    SpecError
        If the balance is impossible, or no partition within it was found.
    """
    bounds.check(graph, fixed)
    best, best_cut = None, None
    runs = [(index, None) for index in range(tries)]
    runs += [(tries + index, start) for index, start in enumerate(starts)]
    for index, start in tqdm(runs, desc="partition", disable=not progress, leave=False):
        parts = _one_run(graph, bounds, fixed, index, start)
        if not bounds.hold(graph.part_weights(parts, bounds.parts)):
            continue
        cut = graph.cut(parts)
        if best is None or cut < best_cut:
            best, best_cut = parts, cut
    if best is None:
        raise SpecError(
            f"balance is {100 * bounds.low:g} to {100 * bounds.high:g} % a part:"
            f" none of {len(runs)} partitions kept to it; allow more, or fix less"
        )
    return best


def quality_preset(graph: Hypergraph, bounds: Bounds, fixed=None, *, tries: int = 5) -> int:
    """Best cut of Mt-KaHyPar's quality preset, as it is; differs a little from call to call."""
    best = None
    for seed in range(tries):
        mtkahypar.set_seed(seed)
        context = _context(graph, bounds, mtkahypar.PresetType.QUALITY)
        made = _make(graph, fixed, bounds, context)
        parts = np.array(made.partition(context).get_partition())
        if bounds.hold(graph.part_weights(parts, bounds.parts)):
            cut = graph.cut(parts)
            best = cut if best is None else min(best, cut)
    if best is None:
        raise SpecError(f"the quality preset kept to the balance in none of {tries} tries")
    return best


@cache
def _library() -> mtkahypar.Initializer:
    # Threads change the time alone: the deterministic presets do not depend on them.
    return mtkahypar.initialize(2, False)


def _context(graph: Hypergraph, bounds: Bounds, preset) -> mtkahypar.Context:
    context = _library().context_from_preset(preset)
    epsilon = max(bounds.high * bounds.parts - 1, 0.0)
    context.set_partitioning_parameters(bounds.parts, epsilon, mtkahypar.Objective.CUT)
    # The library knows no lowest weight; where all others weigh this much, the last has the lowest.
    high = min(bounds.high, (1 - bounds.low) / (bounds.parts - 1))
    context.set_individual_target_block_weights([int(high * graph.total_weight)] * bounds.parts)
    context.logging = False
    return context


def _make(graph: Hypergraph, fixed, bounds: Bounds, context) -> mtkahypar.Hypergraph:
    made = _library().create_hypergraph(
        context,
        graph.vertices,
        graph.edges,
        graph.edge_lists(),
        graph.vertex_weights.tolist(),
        graph.edge_weights.tolist(),
    )
    if fixed is not None and (fixed != FREE).any():
        made.add_fixed_vertices(fixed.tolist(), bounds.parts)
    return made


def _one_run(graph, bounds: Bounds, fixed, index: int, start) -> np.ndarray:
    # Numbering is the only thing in which two runs of a deterministic partitioner can differ.
    order = np.arange(graph.vertices)
    if index:
        order = np.random.default_rng(index).permutation(graph.vertices)
    context = _context(graph, bounds, mtkahypar.PresetType.DETERMINISTIC_QUALITY)
    moved = None
    if fixed is not None:
        moved = np.empty_like(fixed)
        moved[order] = fixed
    made = _make(graph.permuted(order), moved, bounds, context)
    if start is None:
        done = made.partition(context)
    else:
        begin = np.empty_like(start)
        begin[order] = start
        done = made.create_partitioned_hypergraph(context, bounds.parts, begin.tolist())
    done.improve_partition(context, V_CYCLES)
    return np.array(done.get_partition(), np.int64)[order]
