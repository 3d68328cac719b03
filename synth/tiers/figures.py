"""What a placement is worth: footprint, wire, memory access, power, temperature.

Wires are as long as the half-perimeter of their net on each tier, with the resistance and
capacitance of :mod:`synth.asic.wires`; each clock, gated or not, has a tree of buffers
(:mod:`synth.tiers.clock_tree`). 2D and 3D are measured alike, at the same clock period.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from synth.asic.cells import Library
from synth.asic.gating import clock_enables
from synth.asic.netlist import Netlist
from synth.asic.power import CLOCK_EDGES, Activity, Power, estimate
from synth.asic.timing import MemoryPath, Timing, analyse
from synth.asic.wires import Joints

from .clock_tree import ClockTree, clock_trees
from .design import Design
from .placement.stack import Placement, wire_lengths
from .thermal import temperatures

# Blocks of the power map on each side of a tier.
GRID = 8
# Without a simulation: transitions a net and cycle, accesses a memory and cycle, and the share of
# cycles in which a clock gate passes a pulse.
TOGGLES, ACCESSES, PULSES = 0.1, 0.2, 0.2


@dataclass(frozen=True, eq=False)
class Figures:
    """Measures of a placement.

    Members
    -------
    footprint_um2 : of one tier's outline
    hpwl_um : sum of half-perimeters of all nets but clocks
    memory_access_ps : clock to memory to register, of the slowest memory
    memory_mean_ps : the same, mean over memories
    memory_round_ps : register to memory to register, of the slowest memory
    period_ps : shortest clock period
    power : mW by cause
    power_w : W of each block of each tier, float [tiers, GRID, GRID]
    peak_c : highest temperature
    """

    footprint_um2: float
    hpwl_um: float
    memory_access_ps: float
    memory_mean_ps: float
    memory_round_ps: float
    period_ps: float
    power: Power
    power_w: np.ndarray
    peak_c: float


def uniform_activity(netlist: Netlist, library: Library) -> Activity:
    """Activity of a design that nobody has simulated."""
    pulses = {
        net: CLOCK_EDGES * PULSES ** len(enables)
        for net, enables in clock_enables(netlist, library).items()
    }
    macros = [one.name for one in netlist.instances if library[one.cell].macro]
    return Activity(dict.fromkeys(netlist.nets, TOGGLES) | pulses, dict.fromkeys(macros, ACCESSES))


def net_lengths(placement: Placement) -> tuple[dict[int, float], dict[int, Joints]]:
    """Wire in um of each net but clocks, and the joints of each that crosses."""
    lengths = wire_lengths(placement)
    clock = placement.design.clock_nets
    wires = {net: float(length) for net, length in enumerate(lengths) if not clock[net]}
    crossing = placement.crossing
    bonds = np.bincount(crossing.net, minlength=placement.design.nets)
    vias = np.bincount(crossing.net, crossing.pierced, minlength=placement.design.nets)
    joints = {net: Joints(int(bonds[net]), int(vias[net])) for net in np.flatnonzero(bonds)}
    return wires, joints


def pin_places(placement: Placement) -> tuple[np.ndarray, np.ndarray]:
    """Place of each pin in um, float [2, pins], and its tier, int64 [pins]."""
    design = placement.design
    dx, dy = design.pin_offsets
    at = np.stack([placement.x[design.pin_cell] + dx, placement.y[design.pin_cell] + dy])
    return at, design.cell_tiers(placement.tiers)[design.pin_cell]


def entries(placement: Placement) -> tuple[np.ndarray, np.ndarray]:
    """Where each net enters each tier: at its driver, or at the bond from the tier before.

    Returns
    -------
    tuple
        Place in um, float [tiers, 2, nets], and wire in um up to there, float [tiers, nets]; NaN
        where a net is not, or has no driver.
    """
    design, crossing = placement.design, placement.crossing
    at, tier = pin_places(placement)
    driven = np.flatnonzero(design.driver_pin >= 0)
    source = design.driver_pin[driven]
    entry = np.full((placement.count, 2, design.nets), np.nan)
    before = np.full((placement.count, design.nets), np.nan)
    entry[tier[source], :, driven] = at[:, source].T
    before[tier[source], driven] = 0.0
    bond = np.stack([placement.bond_x, placement.bond_y])
    for step in (1, -1):
        for below in range(placement.count - 1)[::step]:
            near, far = (below, below + 1) if step > 0 else (below + 1, below)
            mine = np.flatnonzero(crossing.lower == below)
            net = crossing.net[mine]
            open_here = np.isnan(before[far, net]) & ~np.isnan(before[near, net])
            net, place = net[open_here], bond[:, mine[open_here]]
            before[far, net] = before[near, net] + np.abs(place - entry[near][:, net]).sum(axis=0)
            entry[far][:, net] = place
    return entry, before


def sink_ways(placement: Placement) -> dict[int, dict[int, float]]:
    """Shortest wire in um from each net's driver to each instance, through bonds to other tiers.

    Clocks are ideal and have none.
    """
    design = placement.design
    at, tier = pin_places(placement)
    entry, before = entries(placement)
    before[:, design.clock_nets] = np.nan
    net = design.net_of_pin
    total = before[tier, net] + np.abs(at - entry[tier, :, net].T).sum(axis=0)
    ways: dict[int, dict[int, float]] = {}
    for one, cell, um in zip(net.tolist(), design.pin_cell.tolist(), total.tolist(), strict=True):
        if um == um and cell < design.instances:
            reached = ways.setdefault(one, {})
            reached[cell] = max(um, reached.get(cell, 0.0))
    return ways


def timing(placement: Placement) -> Timing:
    """Longest path and memory paths, with wires and bonds."""
    wires, joints = net_lengths(placement)
    design = placement.design
    ways = sink_ways(placement)
    return analyse(design.netlist, design.library, wires, joints=joints, ways=ways)


def measure(placement: Placement, activity: Activity, period_ps: float, timed: Timing) -> Figures:
    """All figures of a placement.

    Parameters
    ----------
    activity : of nets and macros a cycle
    period_ps : clock period for the power, the same for all that are compared
    timed : of :func:`timing`
    """
    wires, joints = net_lengths(placement)
    power, power_w = power_map(placement, activity, period_ps, wires, joints)
    outline = placement.outline
    return Figures(
        footprint_um2=outline.area,
        hpwl_um=sum(wires.values()),
        **memory_times(timed),
        period_ps=timed.period_ps,
        power=power,
        power_w=power_w,
        peak_c=float(temperatures(power_w, outline.width, outline.height).max()),
    )


def memory_times(timed: Timing) -> dict[str, float]:
    """The memories' figures of :class:`Figures`; 0 without memories."""
    paths = timed.memories.values() or [MemoryPath(0.0, 0.0, 0.0)]
    return {
        "memory_access_ps": max(path.from_ps for path in paths),
        "memory_mean_ps": sum(path.from_ps for path in paths) / len(paths),
        "memory_round_ps": max(path.round_ps for path in paths),
    }


def without_wires(design: Design, activity: Activity, period_ps: float) -> dict[str, float]:
    """Memories' times and power if no wire had a length: no placement can do better."""
    timed = analyse(design.netlist, design.library)
    power = estimate(design.netlist, design.library, activity, period_ps).total
    nowhere = np.zeros((2, len(design.pin_cell))), np.zeros(len(design.pin_cell), np.int64)
    (trees,) = clock_trees(
        design, *nowhere, np.zeros((1, 2, design.nets)), np.zeros((1, design.nets))
    )
    power += sum(_clock_power(design, trees, activity, period_ps).values())
    return {**memory_times(timed), "period_ps": timed.period_ps, "power_mw": power}


def power_map(
    placement: Placement,
    activity: Activity,
    period_ps: float,
    wires: Mapping[int, float],
    joints: Mapping[int, Joints],
) -> tuple[Power, np.ndarray]:
    """Power by cause in mW, and W of each block; what is driven or stands in a block is its own."""
    design, outline = placement.design, placement.outline
    inside = slice(design.instances)
    middle_x = placement.x[inside] + design.width[inside] / 2
    middle_y = placement.y[inside] + design.height[inside] / 2
    column = np.clip(middle_x / outline.width * GRID, 0, GRID - 1).astype(int)
    row = np.clip(middle_y / outline.height * GRID, 0, GRID - 1).astype(int)
    block = (placement.tiers * GRID + row) * GRID + column
    total: dict[str, float] = {}
    watts = np.zeros(placement.count * GRID * GRID)
    for number in range(len(watts)):
        members = [design.netlist.instances[one] for one in np.flatnonzero(block == number)]
        part = replace(design.netlist, instances=members)
        found = estimate(part, design.library, activity, period_ps, wires, joints=joints)
        for cause, milliwatts in vars(found).items():
            total[cause] = total.get(cause, 0.0) + milliwatts
        watts[number] = found.total / 1000
    # Buffers have no place, so a tree's power is spread over its tier.
    trees = clock_trees(design, *pin_places(placement), *entries(placement))
    for tier, mine in enumerate(trees):
        inside = slice(tier * GRID**2, (tier + 1) * GRID**2)
        for cause, milliwatts in _clock_power(design, mine, activity, period_ps).items():
            total[cause] += milliwatts
            watts[inside] += milliwatts / 1000 / GRID**2
    return Power(**total), watts.reshape(placement.count, GRID, GRID)


def _clock_power(
    design: Design, trees: Mapping[int, ClockTree], activity: Activity, period_ps: float
) -> dict[str, float]:
    """Power of trees by cause in mW."""
    found = {"clock": 0.0, "leakage": 0.0}
    for net, tree in trees.items():
        toggles = activity.toggles.get(net, CLOCK_EDGES)
        found["clock"] += toggles * tree.energy_fj(design.library) / period_ps
        found["leakage"] += tree.leakage_nw * 1e-6
    return found
