"""Coarser problems: cells that share many nets become one, as in multilevel placement."""

from dataclasses import replace

import numpy as np
from scipy.sparse import coo_matrix

from .problem import Problem

# Larger nets say little about which two cells belong together.
LARGEST_NET = 12
PASSES = 12


def clusters(problem: Problem, wanted: int) -> np.ndarray:
    """Cluster of each cell, int64; about ``wanted`` of them, besides what stays alone.

    Macros, fixed cells and what has no area stay alone; clusters lie on one tier. Each pass joins
    the pairs that are each other's closest neighbours.
    """
    alone = problem.macro | problem.fixed | (problem.area <= 0)
    label = np.arange(len(problem.width))
    free = int((~alone).sum())
    limit = 4.0 * problem.area[~alone].sum() / max(wanted, 1)
    for _ in range(PASSES):
        count = int(label.max()) + 1
        if count - alone.sum() <= wanted or free == 0:
            break
        partner = _closest(problem, label, alone, limit)
        mutual = (partner >= 0) & (partner[partner] == np.arange(count))
        joined = np.where(mutual, np.minimum(np.arange(count), partner), np.arange(count))
        renamed = np.unique(joined, return_inverse=True)[1].reshape(-1)
        if renamed.max() + 1 > 0.98 * count:
            break
        label = renamed[label]
    return label


def _closest(problem: Problem, label: np.ndarray, alone: np.ndarray, limit: float) -> np.ndarray:
    """For each cluster the one it should join, -1 for none."""
    count = int(label.max()) + 1
    sizes = np.diff(problem.net_starts)[problem.net_of_pin]
    usable = (sizes > 1) & (sizes <= LARGEST_NET) & ~alone[problem.pin_cell]
    rows, columns = problem.net_of_pin[usable], label[problem.pin_cell[usable]]
    weight = 1.0 / (sizes[usable] - 1)
    shape = (len(problem.net_starts) - 1, count)
    incident = coo_matrix((np.sqrt(weight), (rows, columns)), shape=shape).tocsr()
    near = (incident.T @ incident).tocoo()
    area = np.bincount(label, problem.area, minlength=count)
    tier = np.zeros(count, np.int64)
    tier[label] = problem.tier
    a, b = near.row, near.col
    kept = (a != b) & (tier[a] == tier[b]) & (area[a] + area[b] <= limit)
    a, b = a[kept], b[kept]
    # Close, and small: even growth keeps clusters of about one size.
    score = near.data[kept] / (area[a] + area[b])
    # The last of equal scores wins; both sides must agree on an order of pairs.
    tie = np.minimum(a, b) * np.int64(count) + np.maximum(a, b)
    order = np.lexsort((tie, score))
    partner = np.full(count, -1)
    partner[a[order]] = b[order]
    return partner


def coarse(problem: Problem, label: np.ndarray) -> Problem:
    """Problem of the clusters: squares of their cells' area, pins in their middle."""
    count = int(label.max()) + 1
    members = np.bincount(label, minlength=count)
    area = np.bincount(label, problem.area, minlength=count)
    single = members[label] == 1
    side = np.sqrt(area)
    width, height = side.copy(), side.copy()
    width[label[single]], height[label[single]] = problem.width[single], problem.height[single]
    columns = {}
    for name in ("tier", "macro", "fixed"):
        values = getattr(problem, name)
        columns[name] = np.zeros(count, values.dtype)
        columns[name][label] = values
    weight = np.maximum(problem.area, 1e-9)
    total = np.bincount(label, weight, minlength=count)
    middle_x = np.bincount(label, weight * (problem.x + problem.width / 2), minlength=count) / total
    middle_y = np.bincount(label, weight * (problem.y + problem.height / 2), minlength=count)
    # A net has one pin in a cluster; inside macros and ports, pins stay where they are.
    cell = label[problem.pin_cell]
    own = single[problem.pin_cell]
    key = problem.net_of_pin * np.int64(count) + cell
    first = np.unique(key, return_index=True)[1]
    kept = np.unique(np.concatenate([first, np.flatnonzero(own)]))
    dx = np.where(own, problem.pin_dx, width[cell] / 2)[kept]
    dy = np.where(own, problem.pin_dy, height[cell] / 2)[kept]
    net = problem.net_of_pin[kept]
    starts = np.searchsorted(net, np.arange(len(problem.net_starts)))
    return replace(
        problem,
        width=width,
        height=height,
        **columns,
        x=middle_x - width / 2,
        y=middle_y / total - height / 2,
        net_starts=starts,
        pin_cell=cell[kept],
        pin_dx=dx,
        pin_dy=dy,
    )
