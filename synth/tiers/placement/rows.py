"""Legal rows: every cell on a site of a row, none on another or on a macro, moved little."""

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import isotonic_regression

from golden.spec import SpecError

from .problem import Problem


@dataclass
class _Segment:
    """Free sites of a row between two obstacles, and the cells given to it."""

    begin: int
    end: int
    row: int
    used: int = 0
    tail: int = 0
    cells: list[int] = field(default_factory=list)


def to_rows(problem: Problem, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Move the free cells that are no macros and have an area to sites.

    Cells are given to rows from left to right, each to the one with room where it moves least; then
    each row is shifted to the least sum of squared moves.

    Parameters
    ----------
    problem : macros and other fixed cells are obstacles, at ``x``, ``y``
    x, y : lower left corners, float [cells] um

    Returns
    -------
    tuple of np.ndarray
        Lower left corners.

    Raises
    ------
    SpecError
        If the cells of a tier do not fit.
    """
    x, y = x.copy(), y.copy()
    free = ~problem.fixed & ~problem.macro & (problem.area > 0)
    for tier in range(problem.tiers):
        cells = np.flatnonzero(free & (problem.tier == tier))
        obstacles = np.flatnonzero(~free & (problem.tier == tier) & (problem.area > 0))
        rows = _segments(problem, obstacles, x, y)
        _assign(problem, rows, cells, x, y, tier)
        for segments in rows:
            for segment in segments:
                _shift(problem, segment, x, y)
    return x, y


def row_count(problem: Problem) -> int:
    """Rows of a tier."""
    return int(problem.die_height / problem.row_um + 1e-6)


def _segments(problem: Problem, obstacles, x, y) -> list[list[_Segment]]:
    sites = int(problem.die_width / problem.site_um + 1e-6)
    rows = []
    for row in range(row_count(problem)):
        low, high = row * problem.row_um, (row + 1) * problem.row_um
        inside = [
            (x[o] / problem.site_um, (x[o] + problem.width[o]) / problem.site_um)
            for o in obstacles
            if y[o] < high - 1e-6 and y[o] + problem.height[o] > low + 1e-6
        ]
        begin, segments = 0, []
        for left, right in [*sorted(inside), (sites, sites)]:
            end = int(np.floor(left + 1e-6))
            if end > begin:
                segments.append(_Segment(begin, end, row, tail=begin))
            begin = max(begin, int(np.ceil(right - 1e-6)))
        rows.append(segments)
    return rows


def _assign(problem: Problem, rows, cells, x, y, tier: int) -> None:
    site, height = problem.site_um, problem.row_um
    # Python's own numbers: this loop touches single cells.
    wanted = dict(zip(cells.tolist(), (x[cells] / site).tolist(), strict=True))
    lows = dict(zip(cells.tolist(), (y[cells] / height).tolist(), strict=True))
    sizes = dict(
        zip(cells.tolist(), np.ceil(problem.width[cells] / site - 1e-6).tolist(), strict=True)
    )
    step = height / site
    for cell in sorted(wanted, key=lambda one: (wanted[one], one)):
        size, at, low = int(sizes[cell]), wanted[cell], lows[cell]
        nearest, best, chosen = int(low + 0.5), float("inf"), None
        for away in range(len(rows)):
            if (away - 1) * step >= best:
                break
            for row in {nearest - away, nearest + away}:
                if not 0 <= row < len(rows):
                    continue
                fixed_cost = abs(row - low) * step
                for segment in rows[row]:
                    if segment.end - segment.begin - segment.used < size:
                        continue
                    spot = min(max(segment.tail, at, segment.begin), segment.end - size)
                    cost = abs(spot - at) + fixed_cost
                    if cost < best:
                        best, chosen, place = cost, segment, spot
        if chosen is None:
            raise SpecError(
                f"tier {tier} is full: no row has {size} free sites left for its cells;"
                " take a lower utilisation"
            )
        chosen.cells.append(cell)
        chosen.used += size
        chosen.tail = place + size


def _shift(problem: Problem, segment: _Segment, x, y) -> None:
    if not segment.cells:
        return
    cells = np.array(segment.cells)
    sizes = np.ceil(problem.width[cells] / problem.site_um - 1e-6)
    before = np.concatenate([[0.0], np.cumsum(sizes)[:-1]])
    wish = x[cells] / problem.site_um - before
    fitted = isotonic_regression(wish, weights=sizes).x
    spare = segment.end - segment.begin - sizes.sum()
    start = np.round(np.clip(fitted - segment.begin, 0, spare)) + segment.begin
    x[cells] = (start + before) * problem.site_um
    y[cells] = segment.row * problem.row_um


def overlaps(problem: Problem, x: np.ndarray, y: np.ndarray) -> int:
    """Pairs of neighbours that overlap, and cells off their site or outside; 0 if legal."""
    wrong = 0
    tolerance = 1e-6
    inside = (
        (x >= -tolerance)
        & (y >= -tolerance)
        & (x + problem.width <= problem.die_width + tolerance)
        & (y + problem.height <= problem.die_height + tolerance)
    )
    wrong += int((~inside).sum())
    cells = ~problem.fixed & ~problem.macro & (problem.area > 0)
    for at, unit in ((x, problem.site_um), (y, problem.row_um)):
        wrong += int((np.abs(at[cells] / unit - np.round(at[cells] / unit)) > 1e-3).sum())
    solid = problem.area > 0
    for tier in range(problem.tiers):
        members = np.flatnonzero(solid & (problem.tier == tier))
        wrong += _sweep(problem, members, x, y)
    return wrong


def _sweep(problem: Problem, members, x, y) -> int:
    """Overlaps among rectangles, in each row's band from left to right."""
    wrong = 0
    bands: dict[int, list[int]] = {}
    for cell in members.tolist():
        first = int(np.floor(y[cell] / problem.row_um + 1e-6))
        last = int(np.ceil((y[cell] + problem.height[cell]) / problem.row_um - 1e-6))
        for band in range(first, max(last, first + 1)):
            bands.setdefault(band, []).append(cell)
    for inside in bands.values():
        inside.sort(key=lambda cell: x[cell])
        for order, cell in enumerate(inside):
            end, low = x[cell] + problem.width[cell] - 1e-6, y[cell]
            high = low + problem.height[cell] - 1e-6
            for other in inside[order + 1 :]:
                if x[other] >= end:
                    break
                above = y[other] + problem.height[other] - 1e-6
                wrong += bool(y[other] < high and above > low)
    return wrong
