"""Hypergraphs with weights, and hMETIS' files of them: graph, fixed vertices, partition."""

import itertools
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from golden.files import whole_file
from golden.spec import SpecError

FREE = -1
# Mt-KaHyPar counts weights in signed words of 32 bits.
MAX_WEIGHT = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Hypergraph:
    """Edges over vertices 0 to ``vertices - 1``, in compressed rows.

    Members
    -------
    starts : int64 [edges + 1], edge e has the pins ``starts[e]`` to ``starts[e + 1]``
    pins : int64, vertex of each pin
    edge_weights : int64 [edges]
    vertex_weights : int64 [vertices]
    """

    starts: np.ndarray
    pins: np.ndarray
    edge_weights: np.ndarray
    vertex_weights: np.ndarray

    @classmethod
    def of(cls, edges, vertex_weights, edge_weights=None) -> "Hypergraph":
        """Make one from a list of lists of vertices; edge weights are 1 by default."""
        sizes = np.fromiter((len(edge) for edge in edges), np.int64, len(edges))
        starts = np.concatenate([[0], np.cumsum(sizes)])
        pins = np.fromiter((pin for edge in edges for pin in edge), np.int64, starts[-1])
        weights = np.ones(len(edges), np.int64) if edge_weights is None else edge_weights
        return cls(
            starts, pins, np.asarray(weights, np.int64), np.asarray(vertex_weights, np.int64)
        )

    @property
    def edges(self) -> int:
        """Number of edges."""
        return len(self.edge_weights)

    @property
    def vertices(self) -> int:
        """Number of vertices."""
        return len(self.vertex_weights)

    @property
    def total_weight(self) -> int:
        """Sum of the vertices' weights."""
        return int(self.vertex_weights.sum())

    @cached_property
    def edge_of_pin(self) -> np.ndarray:
        """Edge of each pin, int64 [pins]."""
        return np.repeat(np.arange(self.edges), np.diff(self.starts))

    def edge_lists(self) -> list[list[int]]:
        """Vertices of each edge."""
        pins, starts = self.pins.tolist(), self.starts.tolist()
        return [pins[a:b] for a, b in itertools.pairwise(starts)]

    def cut_edges(self, parts: np.ndarray) -> np.ndarray:
        """Which edges have pins in more than one part, bool [edges]."""
        cut = np.zeros(self.edges, bool)
        filled = np.flatnonzero(np.diff(self.starts))
        if len(filled):
            begins = self.starts[filled]
            sides = np.asarray(parts)[self.pins]
            low = np.minimum.reduceat(sides, begins)
            cut[filled] = low != np.maximum.reduceat(sides, begins)
        return cut

    def cut(self, parts: np.ndarray) -> int:
        """Sum of the weights of the edges that are cut."""
        return int(self.edge_weights[self.cut_edges(parts)].sum())

    def part_weights(self, parts: np.ndarray, count: int) -> np.ndarray:
        """Sum of the vertices' weights in each part, int64 [count]."""
        weights = np.zeros(count, np.int64)
        np.add.at(weights, np.asarray(parts), self.vertex_weights)
        return weights

    def contracted(self, cluster: np.ndarray) -> "Hypergraph":
        """Hypergraph of clusters: a vertex each, edges within one cluster dropped.

        ``cluster`` is int64 [vertices], every number from 0 to its highest used.
        """
        count = int(cluster.max(initial=-1)) + 1
        edge, vertex = np.divmod(np.unique(self.edge_of_pin * count + cluster[self.pins]), count)
        sizes = np.bincount(edge, minlength=self.edges)
        kept = sizes > 1
        weights = np.bincount(cluster, self.vertex_weights, minlength=count).astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(sizes[kept])])
        return Hypergraph(starts, vertex[kept[edge]], self.edge_weights[kept], weights)

    def components(self, cluster: np.ndarray) -> np.ndarray:
        """Split clusters into what edges within them connect; numbers from 0, int64 [vertices]."""
        within = ~self.cut_edges(cluster)[self.edge_of_pin]
        edge, pin = self.edge_of_pin[within], self.pins[within]
        nodes = self.vertices + self.edges
        links = coo_matrix((np.ones(len(pin)), (pin, self.vertices + edge)), shape=(nodes, nodes))
        label = connected_components(links, directed=False)[1][: self.vertices]
        return np.unique(label, return_inverse=True)[1].astype(np.int64)


def read_hgr(path: Path) -> Hypergraph:
    """Read a hypergraph in hMETIS' form; lines that begin with ``%`` are comments.

    Raises
    ------
    SpecError
        With the line, if the file is not such a hypergraph.
    """
    rows = _integer_rows(path)
    if not rows or len(rows[0][1]) not in (2, 3):
        raise SpecError(f"{path}: the first line must be `edges vertices [format]`")
    (edges, vertices), form = rows[0][1][:2], (rows[0][1] + [0])[2]
    if min(edges, vertices) < 0:
        raise SpecError(f"{path}: the first line has {min(edges, vertices)}: must be 0 or more")
    if form not in (0, 1, 10, 11):
        raise SpecError(f"{path}: format {form} is unknown: must be 0, 1, 10 or 11")
    with_edge, with_vertex = form % 10 == 1, form >= 10
    wanted = edges + (vertices if with_vertex else 0)
    if len(rows) - 1 != wanted:
        raise SpecError(
            f"{path}: has {len(rows) - 1} lines after the first: must be {wanted} for"
            f" {edges} edges, {vertices} vertices and format {form}"
        )
    lists, edge_weights = [], []
    for line, numbers in rows[1 : edges + 1]:
        weight, pins = (numbers[0], numbers[1:]) if with_edge else (1, numbers)
        if not pins:
            raise SpecError(f"{path}:{line}: an edge without vertices: must have at least one")
        _check_weight(path, line, weight)
        wrong = [pin for pin in pins if not 1 <= pin <= vertices]
        if wrong:
            raise SpecError(f"{path}:{line}: vertex {wrong[0]}: must be 1 to {vertices}")
        edge_weights.append(weight)
        lists.append(sorted({pin - 1 for pin in pins}))
    weights = [1] * vertices
    if with_vertex:
        weights = [_only(path, line, numbers) for line, numbers in rows[edges + 1 :]]
        for (line, _), weight in zip(rows[edges + 1 :], weights, strict=True):
            _check_weight(path, line, weight)
    for kind, total, low in (("vertices", sum(weights), 1), ("edges", sum(edge_weights), 0)):
        if not low <= total <= MAX_WEIGHT:
            raise SpecError(
                f"{path}: weights of {kind} add up to {total}: must be {low} to {MAX_WEIGHT}"
            )
    return Hypergraph.of(lists, weights, edge_weights)


def write_hgr(graph: Hypergraph, path: Path) -> None:
    """Write a hypergraph with edge and vertex weights (format 11)."""
    with whole_file(path) as partial, partial.open("w") as file:
        file.write(f"{graph.edges} {graph.vertices} 11\n")
        for weight, pins in zip(graph.edge_weights, graph.edge_lists(), strict=True):
            file.write(f"{weight} {' '.join(str(pin + 1) for pin in pins)}\n")
        file.writelines(f"{weight}\n" for weight in graph.vertex_weights)


def read_labels(path: Path, vertices: int, *, low: int, high: int) -> np.ndarray:
    """Read a fix file (``low`` -1 for free) or a partition: a part for each vertex, a line each.

    Raises
    ------
    SpecError
        With the line, if there is not one number from ``low`` to ``high`` for each vertex.
    """
    rows = _integer_rows(path)
    if len(rows) != vertices:
        raise SpecError(f"{path}: has {len(rows)} lines: must be {vertices}, one for each vertex")
    labels = np.array([_only(path, line, numbers) for line, numbers in rows], np.int64)
    wrong = np.flatnonzero((labels < low) | (labels > high))
    if len(wrong):
        line = rows[wrong[0]][0]
        raise SpecError(f"{path}:{line}: {labels[wrong[0]]}: must be {low} to {high}")
    return labels


def write_labels(labels: np.ndarray, path: Path) -> None:
    """Write a fix file or a partition."""
    with whole_file(path) as partial:
        partial.write_text("".join(f"{label}\n" for label in labels))


def _integer_rows(path: Path) -> list[tuple[int, list[int]]]:
    """Numbers of each line that is no comment and not empty, with the line's number."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise SpecError(
            f"{path}: byte {error.start} is no text: must be lines of whole numbers"
        ) from None
    rows = []
    for line, text in enumerate(lines, 1):
        if not text.strip() or text.startswith("%"):
            continue
        try:
            rows.append((line, [int(word) for word in text.split()]))
        except ValueError:
            raise SpecError(f"{path}:{line}: {text.strip()!r}: must be whole numbers") from None
    return rows


def _check_weight(path: Path, line: int, weight: int) -> None:
    if not 0 <= weight <= MAX_WEIGHT:
        raise SpecError(f"{path}:{line}: weight {weight}: must be 0 to {MAX_WEIGHT}")


def _only(path: Path, line: int, numbers: list[int]) -> int:
    if len(numbers) != 1:
        raise SpecError(f"{path}:{line}: has {len(numbers)} numbers: must be one")
    return numbers[0]
