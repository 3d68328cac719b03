"""Which tier each cell and macro goes to, by style."""

from dataclasses import dataclass

import numpy as np

from golden.spec import SpecError

from .design import PORT_TIER, Design
from .hypergraph import FREE
from .partition import Bounds, partition

BOTTOM, TOP = 0, 1
STYLES = ("memory-on-logic", "logic-on-logic", "mincut")
# Its tiers come with places, from :mod:`.fold`.
FOLDED = "folded"

# Blocks by the last name in an instance's path that is listed here; the rest is at the bottom.
# Synaptic arrays and what dispatches events to them are at the bottom, as in the paper; neurons
# (spike generators), the merge of their spikes and every buffer are on top.
_TOP_BLOCKS = frozenset(
    {"residual", "neurons", "neuron", "packer", "merge", "merge_router", "logits_sum", "memory"}
)
_BOTTOM_BLOCKS = frozenset(
    {
        *("host", "sequencer", "walk", "fetcher", "encoder", "weight_fetch", "array", "drain"),
        *("charge", "product", "query", "router", "dispatcher", "dispatch", "tile"),
    }
)


@dataclass(frozen=True)
class Options:
    """How mincut cuts, and how many tiers there are.

    Parameters
    ----------
    tiers : number of tiers, of ``memory-on-logic`` and ``folded`` as well
    low, high : share of the area that a tier has at least and at most
    fix_memories : hold the memories on the top tier
    critical : weight of nets on the slowest paths; 1 treats all nets alike
    tries : starts of the partitioner
    """

    tiers: int = 2
    low: float = 0.48
    high: float = 0.52
    fix_memories: bool = False
    critical: int = 1
    tries: int = 4


def assign(
    design: Design,
    style: str,
    options: Options = Options(),
    *,
    critical_nets: np.ndarray | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Tier of each instance, int64; 0 is the bottom.

    Parameters
    ----------
    design : what to cut
    style : one of :data:`STYLES`
    options : of ``mincut``; of ``memory-on-logic``, the number of tiers
    critical_nets : bool [nets], those that ``options.critical`` makes heavier
    progress : show a bar

    Raises
    ------
    SpecError
        If there is no such style, the balance is impossible, or the style cannot have so many
        tiers.
    """
    if style not in STYLES:
        raise SpecError(f"style {style}: must be one of {', '.join(STYLES)}")
    if style == "mincut":
        return _mincut(design, options, critical_nets, progress)
    macro = design.macro[: design.instances]
    if style == "memory-on-logic":
        return _memories_up(design, macro, options.tiers)
    if options.tiers != 2:
        raise SpecError(
            f"style {style} has 2 tiers, not {options.tiers}: memory-on-logic, mincut and folded"
            " may have more"
        )
    paths = [instance.hier for instance in design.netlist.instances]
    sides = {path: _side(path) for path in set(paths)}
    return np.where(macro, TOP, np.array([sides[path] for path in paths], np.int64))


def _memories_up(design: Design, macro: np.ndarray, tiers: int) -> np.ndarray:
    """Cells at the bottom, memories above: the largest first, each to the emptiest tier.

    Banks of one memory are alike, so they mostly come to different tiers.
    """
    memories = np.flatnonzero(macro)
    if tiers > max(TOP, len(memories)) + 1:
        raise SpecError(
            f"style memory-on-logic with {tiers} tiers: there are {len(memories)} memories, at"
            " least one for each tier but the bottom is needed"
        )
    found, filled = np.full(len(macro), BOTTOM), np.zeros(tiers)
    filled[BOTTOM] = np.inf
    for memory in memories[np.argsort(-design.area[memories], kind="stable")]:
        found[memory] = filled.argmin()
        filled[found[memory]] += design.area[memory]
    return found


def _side(path: tuple[str, ...]) -> int:
    for block in reversed(path):
        if block in _TOP_BLOCKS:
            return TOP
        if block in _BOTTOM_BLOCKS:
            return BOTTOM
    return BOTTOM


def _mincut(design: Design, options: Options, critical_nets, progress: bool) -> np.ndarray:
    weights = None
    if critical_nets is not None and options.critical > 1:
        weights = np.where(critical_nets, options.critical, 1)
    graph = design.hypergraph(weights)
    fixed = np.full(graph.vertices, FREE)
    fixed[-1] = PORT_TIER
    if options.fix_memories:
        fixed[:-1][design.macro[: design.instances]] = options.tiers - 1
    bounds = Bounds(options.low, options.high, options.tiers)
    parts = partition(
        graph,
        bounds,
        fixed=fixed,
        tries=options.tries,
        clusters=(_blocks(design),),
        progress=progress,
    )
    return parts[:-1]


def _blocks(design: Design) -> np.ndarray:
    """Cluster of each vertex of the hypergraph: its block; macros and ports alone."""
    known: dict[object, int] = {}
    keys = [
        index if macro else instance.hier
        for index, (instance, macro) in enumerate(
            zip(design.netlist.instances, design.macro[: design.instances], strict=True)
        )
    ]
    return np.array([known.setdefault(key, len(known)) for key in [*keys, "ports"]])
