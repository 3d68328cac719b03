"""Partitioner of hypergraphs: Mt-KaHyPar from several starts, and the best of what they agree on.

The library's answers depend on its threads and on what its process ran before, so runs are dealt
out in a fixed way to new processes of one thread: the same input gives the same partition.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import mtkahypar
import numpy as np
from tqdm import tqdm

from golden.spec import SpecError

from .hypergraph import FREE, Hypergraph

# Runs on a graph of clusters, which is small.
CLUSTER_TRIES = 4
# Processes at a time, of the placer as well.
PROCESSES = 2


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


@dataclass(frozen=True)
class _Run:
    """One run of the library: a partition from scratch, or a V-cycle on the one in ``start``.

    With ``cluster``, the graph's vertices are clusters, and the answer is that of their members.
    """

    graph: Hypergraph
    bounds: Bounds
    fixed: np.ndarray | None
    seed: int
    start: np.ndarray | None = None
    cluster: np.ndarray | None = None


def partition(
    graph: Hypergraph,
    bounds: Bounds,
    *,
    fixed: np.ndarray | None = None,
    tries: int = 4,
    clusters: tuple[np.ndarray, ...] = (),
    progress: bool = False,
) -> np.ndarray:
    """Partition with a small cut; the same answer at every call.

    What several partitions leave together is contracted, and the small graph that is left is
    partitioned again: the cut cannot be worse than any of theirs, and is often better.

    Parameters
    ----------
    graph : what to cut; the objective is the weight of the edges that are cut
    bounds : how heavy the parts may be
    fixed : part of each vertex that is fixed, ``FREE`` of the others
    tries : starts from scratch
    clusters : groups that may stay together, such as blocks of the hierarchy: the cluster of each
        vertex, int64 [vertices]; each gives partitions besides
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
    runs = [_Run(graph, bounds, fixed, seed) for seed in range(tries)]
    for cluster in clusters:
        runs += _cluster_runs(graph, bounds, fixed, cluster)
    with tqdm(
        total=len(runs) + CLUSTER_TRIES + 1, desc="partition", disable=not progress, leave=False
    ) as bar:
        found = _run_all(runs, bar)
        if not found:
            raise SpecError(
                f"balance is {100 * bounds.low:g} to {100 * bounds.high:g} % a part:"
                f" none of {len(runs)} partitions kept to it; allow more, or fix less"
            )
        together = np.unique(np.stack(found), axis=1, return_inverse=True)[1].reshape(-1)
        together = graph.components(together)
        last = _cluster_runs(graph, bounds, fixed, together)
        last.append(_Run(graph, bounds, fixed, 0, start=min(found, key=graph.cut)))
        found += _run_all(last, bar)
    return min(found, key=graph.cut)


def quality_preset(graph: Hypergraph, bounds: Bounds, fixed=None, *, tries: int = 5) -> int:
    """Best cut of Mt-KaHyPar's quality preset as it is, to compare with."""
    found = _run_all([_Run(graph, bounds, fixed, seed) for seed in range(tries)])
    if not found:
        raise SpecError(f"the quality preset kept to the balance in none of {tries} tries")
    return min(graph.cut(parts) for parts in found)


def _cluster_runs(graph: Hypergraph, bounds: Bounds, fixed, cluster) -> list["_Run"]:
    """Partitions of clusters as a whole. A fixed vertex is a cluster of its own."""
    held = None
    if fixed is not None:
        alone = np.flatnonzero(fixed != FREE)
        cluster = cluster.copy()
        cluster[alone] = cluster.max() + 1 + np.arange(len(alone))
        cluster = np.unique(cluster, return_inverse=True)[1].reshape(-1)
        held = np.full(cluster.max() + 1, FREE)
        held[cluster[alone]] = fixed[alone]
    small = graph.contracted(cluster)
    return [_Run(small, bounds, held, seed, cluster=cluster) for seed in range(CLUSTER_TRIES)]


def _run_all(runs: list[_Run], bar=None) -> list[np.ndarray]:
    """Results that keep to the balance, in the order of the runs."""
    if not runs:
        return []
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    shares = [runs[first::PROCESSES] for first in range(min(PROCESSES, len(runs)))]
    with ProcessPoolExecutor(PROCESSES, context, max_tasks_per_child=1) as pool:
        found = []
        for share, done in zip(shares, pool.map(_run_share, shares), strict=True):
            found += done
            if bar is not None:
                bar.update(len(share))
    return [parts for parts in found if parts is not None]


def _run_share(runs: list[_Run]) -> list[np.ndarray | None]:
    return [_run(run) for run in runs]


def _run(run: _Run) -> np.ndarray | None:
    graph, bounds = run.graph, run.bounds
    library = mtkahypar.initialize(1, False)
    mtkahypar.set_seed(run.seed)
    # The library knows no lowest weight; where all others weigh this much, the last has the lowest.
    high = min(bounds.high, (1 - bounds.low) / (bounds.parts - 1))
    context, made = prepared(
        library,
        mtkahypar.PresetType.QUALITY,
        graph,
        [int(high * graph.total_weight)] * bounds.parts,
        max(bounds.high * bounds.parts - 1, 0.0),
        run.fixed,
    )
    if run.start is None:
        done = made.partition(context)
    else:
        done = made.create_partitioned_hypergraph(context, bounds.parts, run.start.tolist())
        done.improve_partition(context, 1)
    parts = np.array(done.get_partition(), np.int64)
    if not bounds.hold(graph.part_weights(parts, bounds.parts)):
        return None
    return parts if run.cluster is None else parts[run.cluster]


def prepared(library, preset, graph: Hypergraph, limits: list[int], epsilon: float, fixed):
    """Context and hypergraph of the library, ready to be partitioned for the least cut.

    Parameters
    ----------
    library, preset : of Mt-KaHyPar
    limits : most weight of each part
    epsilon : imbalance on top of equal parts that the library allows itself on the way
    fixed : part of each vertex that is fixed, ``FREE`` of the others; None for none
    """
    parts = len(limits)
    context = library.context_from_preset(preset)
    context.set_partitioning_parameters(parts, epsilon, mtkahypar.Objective.CUT)
    context.set_individual_target_block_weights(limits)
    context.logging = False
    made = library.create_hypergraph(
        context,
        graph.vertices,
        graph.edges,
        graph.edge_lists(),
        graph.vertex_weights.tolist(),
        graph.edge_weights.tolist(),
    )
    if fixed is not None and (fixed != FREE).any():
        made.add_fixed_vertices(fixed.tolist(), parts)
    return context, made
