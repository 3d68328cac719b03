"""Trees of clocks: wire and buffers on each tier, as clock tree synthesis would add them.

Sinks are halved along the wider side until a buffer drives each group: no more load than it drives
in :data:`~synth.asic.buffers.LOAD_PS`, and no more wire than the best distance of repeaters. A
group's wire is a rectilinear spanning tree of its sinks and its buffer, which stands in their
middle. Buffers are the sinks of the next level, until the clock's source drives what is left. On
another tier a tree hangs on the bond at which its net enters, and is a load of the tier before.

Delays are not balanced, and buffers have no place of their own: flows for place and route build
their own trees. Our reading.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform

from synth.asic.buffers import LOAD_PS, buffers, strong_enough
from synth.asic.cells import Cell, Library
from synth.asic.timing import default_wires
from synth.asic.wires import Joints, Wires

from .design import Design

# A distance of 0 would be no edge of a spanning tree.
_NEAR_UM = 1e-3


@dataclass(frozen=True)
class ClockTree:
    """What a clock needs on one tier.

    Members
    -------
    wire_um : of all levels
    buffers : one cell for each buffer
    load_ff : of wire, pins and bonds on the source, or on the bond at which the net enters
    joints_ff : load of bonds and vias to tiers further from the source
    """

    wire_um: float
    buffers: tuple[Cell, ...]
    load_ff: float
    joints_ff: float = 0.0

    def energy_fj(self, library: Library) -> float:
        """Energy of one transition: wires, buffers and joints, without the sinks' pins."""
        wires = default_wires(library)
        inputs = sum(buffer.input_ff for buffer in self.buffers)
        farads = wires.ff_per_um * self.wire_um + inputs + self.joints_ff
        return farads * library.voltage**2 / 2 + sum(one.energy_fj for one in self.buffers)

    @property
    def leakage_nw(self) -> float:
        """Of its buffers."""
        return sum(buffer.leakage_nw for buffer in self.buffers)


def grow(
    sinks: np.ndarray, loads_ff: np.ndarray, source: np.ndarray, drive_ff: float, library: Library
) -> ClockTree:
    """Tree from a source to sinks on one tier.

    Parameters
    ----------
    sinks : places in um, float [sinks, 2]
    loads_ff : of each, float [sinks]
    source : place of the driver or of the bond, float [2]
    drive_ff : load that the source drives in time
    """
    wires = default_wires(library)
    most_ff = drives_ff(buffers(library)[-1])
    used: list[Cell] = []
    total = 0.0
    while (um := _wire_um(sinks, loads_ff, source, drive_ff, wires)) is None:
        groups = _groups(sinks, loads_ff, most_ff, wires)
        if len(groups) == len(sinks):
            # Only what lies far apart is left: its wires have repeaters on the way.
            um = spanning_um(np.vstack([sinks, source]))
            used += [wires.repeater] * int(um / wires.span_um)
            break
        level = []
        for members, below_um in groups:
            below_ff = float(loads_ff[members].sum()) + wires.ff_per_um * below_um
            total += below_um
            level.append((sinks[members].mean(axis=0), strong_enough(library, below_ff)))
        used += [buffer for _, buffer in level]
        sinks = np.array([middle for middle, _ in level])
        loads_ff = np.array([buffer.input_ff for _, buffer in level])
    load_ff = float(loads_ff.sum()) + wires.driven_ff(um)
    if load_ff > drive_ff:
        first = strong_enough(library, load_ff)
        used.append(first)
        load_ff = first.input_ff
    return ClockTree(total + um, tuple(used), load_ff)


def _groups(
    sinks: np.ndarray, loads_ff: np.ndarray, most_ff: float, wires: Wires
) -> list[tuple[np.ndarray, float]]:
    """Sinks that share a buffer, as indices, and their wire in um.

    A sink that is too much by itself is a group.
    """
    found, waiting = [], [np.arange(len(sinks))]
    while waiting:
        members = waiting.pop()
        places = sinks[members]
        um = _wire_um(places, loads_ff[members], places.mean(axis=0), most_ff, wires)
        if um is not None or len(members) == 1:
            found.append((members, um or 0.0))
            continue
        axis = int(np.argmax(np.ptp(places, axis=0)))
        order = members[np.argsort(places[:, axis], kind="stable")]
        waiting += [order[: len(order) // 2], order[len(order) // 2 :]]
    return found


def _wire_um(
    sinks: np.ndarray, loads_ff: np.ndarray, hub: np.ndarray, most_ff: float, wires: Wires
) -> float | None:
    """Wire from a hub to sinks in um, or None if it is too much for one driver."""
    places, pins_ff = np.vstack([sinks, hub]), float(loads_ff.sum())
    # A spanning tree is costly, so pins and the box around them come first.
    if pins_ff > most_ff or np.ptp(places, axis=0).sum() > wires.span_um:
        return None
    um = spanning_um(places)
    return um if um <= wires.span_um and pins_ff + wires.ff_per_um * um <= most_ff else None


def spanning_um(places: np.ndarray) -> float:
    """Shortest rectilinear spanning tree in um; places are float [points, 2]."""
    if len(places) < 2:
        return 0.0
    edges = minimum_spanning_tree(squareform(pdist(places, "cityblock") + _NEAR_UM))
    return float(edges.sum()) - _NEAR_UM * (len(places) - 1)


def clock_trees(
    design: Design, at: np.ndarray, tier: np.ndarray, entry: np.ndarray, before: np.ndarray
) -> list[dict[int, ClockTree]]:
    """Tree of each clock on each tier, by net: the port's clock and that of each clock gate.

    Parameters
    ----------
    at, tier : place in um, float [2, pins], and tier of each pin, int [pins]
    entry : where each net enters each tier, float [tiers, 2, nets]
    before : wire in um up to there, float [tiers, nets]; NaN where a net is not
    """
    library = design.library
    strongest_ff, wires = drives_ff(buffers(library)[-1]), default_wires(library)
    trees: list[dict[int, ClockTree]] = [{} for _ in before]
    for net in np.flatnonzero(design.clock_nets):
        pins = np.arange(design.starts[net], design.starts[net + 1])
        source = design.driver_pin[net]
        sinks = pins[(pins != source) & (design.pin_cell[pins] < design.instances)]
        driver = design.pin_cell[source]
        gated = driver < design.instances
        own_ff = drives_ff(design.masters[driver]) if gated else strongest_ff
        # From the ends of the stack towards the driver: what is beyond a bond is a load of it.
        met = np.flatnonzero(~np.isnan(before[:, net]))
        for here in sorted(met.tolist(), key=lambda one: -abs(one - tier[source])):
            mine = sinks[tier[sinks] == here]
            places, loads, joints_ff = at[:, mine].T, design.pin_ff[mine], 0.0
            for far in (here - 1, here + 1):
                beyond = trees[far].get(int(net)) if 0 <= far < len(trees) else None
                if beyond and abs(far - tier[source]) > abs(here - tier[source]):
                    places = np.vstack([places, entry[far, :, net]])
                    joint_ff = wires.joints_ff(Joints(1, int(min(here, far) > 0)))
                    loads = np.append(loads, beyond.load_ff + joint_ff)
                    joints_ff += joint_ff
            drive_ff = own_ff if here == tier[source] else strongest_ff
            if len(loads):
                tree = grow(places, loads, entry[here, :, net], drive_ff, library)
                trees[here][int(net)] = replace(tree, joints_ff=joints_ff)
    return trees


def drives_ff(cell: Cell) -> float:
    """Load that a cell drives in time."""
    return LOAD_PS / cell.ps_per_ff if cell.ps_per_ff else math.inf
