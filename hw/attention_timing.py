"""Cycles of the attention core from its events, for a source and a sink that never wait.

The formulas of :class:`hw.attention.AttentionCore` as functions, for estimates and for its tests.
"""

from collections.abc import Sequence

from .attention_shape import AttentionShape

# A charge event's read, arrival, add and write.
CHARGE_STAGES = 4
# A Q event's way from StepScan to the first slice, by order.
READ_STAGES = {"kv": 7, "qk": 6}
# Rows are read this many cycles before they can be read again.
REUSE = 4


def charge_cycles(
    shape: AttentionShape, rows: Sequence[Sequence[int]], *, order: str, clear_left: int = 0
) -> int:
    """Cycles from the first slice of an image to ``reading``.

    Parameters
    ----------
    shape : sizes of the core
    rows : for each token and head, the state rows of its non-zero K in order of step and channel;
        only whether rows are equal matters
    order : ``"kv"`` or ``"qk"``
    clear_left : cycles of clearing left when the first slice is taken
    """
    slices = shape.slices
    free = move = clear_left - 1
    arrival = 0
    taken = fetched = -1
    fetches: dict[int, int] = {}
    for job, events in enumerate(rows):
        begin = max(arrival, move + 1) if job else 0
        arrival = begin + 3 * slices
        move = max(begin + 2 * slices, free, clear_left)
        free = move + 1
        for number, row in enumerate(events):
            taken = max(taken + 1, fetched, move + 1 if number == 0 else 0)
            free = taken
            if order == "kv":
                fetched = max(taken + 1, fetches.get(row, -REUSE) + REUSE)
                fetches[row] = fetched
    drained = fetched + CHARGE_STAGES if order == "kv" else taken + 1
    return max(arrival, move + 1, drained) + 1


def read_cycles(
    shape: AttentionShape,
    queries: Sequence[Sequence[int]],
    scores: Sequence[Sequence[int]] | None = None,
) -> int:
    """Cycles from the first one of ``reading`` to the last slice inclusive.

    Exact if T is at least 2 and at least d / NL. Otherwise heads may be so short that slices wait
    to leave: an upper bound for ``"kv"``, without those waits for ``"qk"``.

    Parameters
    ----------
    shape : sizes of the core
    queries : for each token and head, the ones of Q in each time step
    scores : for each token and head, the scores that are not 0 in each time step; the order is
        ``"qk"`` if given, else ``"kv"``
    """
    slices = shape.slices
    if scores is None:
        heads = [sum(max(1, ones) for ones in steps) for steps in queries]
        # The last head waits for no slices of a next one.
        busy = sum(max(slices + 1, events) for events in heads[:-1]) + max(slices, 2, heads[-1])
        return slices + 1 + busy + READ_STAGES["kv"] + slices
    stops: list[tuple[int, int]] = []
    move, now, summed = slices + 1, 0, 0
    for job, (query_steps, score_steps) in enumerate(zip(queries, scores, strict=True)):
        if job:
            move = max(move + slices + 1, now)
        now = max(now, move)
        for ones, live in zip(query_steps, score_steps, strict=True):
            for _ in range(max(1, ones)):
                now += 1
                while stops and now >= stops[0][0]:
                    now += stops.pop(0)[1]
            scored = now + 3
            for start, length in stops:
                if scored >= start:
                    scored += length
            load = max(scored, summed)
            if load > scored:
                stops.append((scored, load - scored))
            summed = load + max(1, live)
    return summed + READ_STAGES["qk"] + slices
