"""Placement in rounds: nets on slow paths count more in the next one.

Slow are paths near the clock period, and ways from a register through a memory to a register near
the slowest memory's. 2D and 3D go through the same rounds.
"""

import inspect
from pathlib import Path

import numpy as np

import synth.asic.buffers
import synth.asic.lef
import synth.asic.timing
import synth.asic.wires
from synth.asic.timing import Timing

from . import figures, placement, vias
from .bonds import place_bonds
from .design import Design
from .placement.stack import Outline, Placement, place

ROUNDS = 2
# A net counts more from this part of the longest path on, and at its end so many times.
SLOW, HEAVY = 0.8, 5.0
# What is left, in the next round, of a weight above 1.
KEPT = 0.5


def place_timed(
    design: Design,
    tiers: np.ndarray,
    outline: Outline,
    *,
    pitch_um: float,
    start: tuple[np.ndarray, np.ndarray] | None = None,
    progress: bool = False,
) -> Placement:
    """Legal places of the round with the least sum of clock period and slowest memory's way.

    Bonds go to sites, ``pitch_um`` apart, at the end. In a stack with vias through silicon cells
    gather around those in one more round; it counts if it makes none of period, slowest memory's
    way and slowest access longer.

    Parameters and errors are those of :func:`synth.tiers.placement.stack.place`, and errors those
    of :func:`synth.tiers.bonds.place_bonds`.
    """
    placed = best = place(design, tiers, outline, start=start, progress=progress)
    timed = figures.timing(placed)
    least, weight = _lateness(timed), np.ones(design.nets)
    for _ in range(ROUNDS):
        weight = np.maximum(slow_weights(design, timed), 1 + KEPT * (weight - 1))
        begin = placed.x, placed.y
        placed = place(design, tiers, outline, start=begin, net_weight=weight, progress=progress)
        timed = figures.timing(placed)
        if _lateness(timed) < least:
            best, least = placed, _lateness(timed)
    joined = place_bonds(best, pitch_um)
    if not joined.crossing.pierced.any():
        return joined
    before = figures.timing(joined)
    settled = place_bonds(vias.settle(joined, slow_weights(design, before)), pitch_um)
    after = figures.timing(settled)
    worse = any(new > old for new, old in zip(_delays(after), _delays(before), strict=True))
    return joined if worse else settled


def slow_weights(design: Design, timed: Timing) -> np.ndarray:
    """Weight of each net, float [nets]: 1, and up to :data:`HEAVY` on the slowest paths."""
    part = np.zeros(design.nets)
    memory = figures.memory_times(timed)["memory_round_ps"]
    for slacks, whole in (
        (timed.slack_of, timed.period_ps),
        (timed.memory_slack_of, memory),
    ):
        nets = np.fromiter(slacks.keys(), np.int64, len(slacks))
        slack = np.fromiter(slacks.values(), float, len(slacks))
        if whole > 0:
            part[nets] = np.maximum(part[nets], 1 - slack / whole)
    return 1 + (HEAVY - 1) * np.clip((part - SLOW) / (1 - SLOW), 0, 1) ** 2


def placer_sources() -> list[Path]:
    """Files that decide where cells go; a placement is as old as they are."""
    modules = (figures, synth.asic.buffers, synth.asic.lef, synth.asic.timing, synth.asic.wires)
    own = [Path(__file__), Path(inspect.getfile(Design))]
    own += [Path(module.__file__) for module in modules]
    return own + sorted(Path(placement.__file__).parent.glob("*.py"))


def _lateness(timed: Timing) -> float:
    period, way, _ = _delays(timed)
    return period + way


def _delays(timed: Timing) -> tuple[float, float, float]:
    """Clock period, slowest memory's way from register to register, and slowest access, in ps."""
    memories = figures.memory_times(timed)
    return timed.period_ps, memories["memory_round_ps"], memories["memory_access_ps"]
