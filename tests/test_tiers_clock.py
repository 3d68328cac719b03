"""Trees of clocks: wires near spanning trees, buffers within their drive, bonds in between."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.asic.buffers import buffers
from synth.asic.cells import standard_cells
from synth.asic.lef import pin_offsets
from synth.asic.netlist import Instance, Netlist, Port
from synth.asic.power import estimate
from synth.asic.timing import default_wires
from synth.asic.wires import Joints
from synth.tiers.assign import assign
from synth.tiers.bonds import place_bonds
from synth.tiers.clock_tree import clock_trees, drives_ff, grow, spanning_um
from synth.tiers.design import Design
from synth.tiers.figures import (
    PULSES,
    entries,
    measure,
    net_lengths,
    pin_places,
    timing,
    uniform_activity,
    without_wires,
)
from synth.tiers.placement.stack import Crossing, Outline, Placement, outline_for, place
from tests.tiers_design import nets_named, small_design

LIBRARY = standard_cells()
WIRES = default_wires(LIBRARY)
STRONGEST = buffers(LIBRARY)[-1]
PIN_FF = LIBRARY["DFF_X1"].pins["CK"].cap_ff


def trees_of(placement):
    return clock_trees(placement.design, *pin_places(placement), *entries(placement))


def grown(sinks, drive_ff, at=(0.0, 0.0)):
    return grow(sinks, np.full(len(sinks), PIN_FF), np.array(at), drive_ff, LIBRARY)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=7).map(np.array)
)
def test_spanning_tree_is_kruskals(places):
    group, um = list(range(len(places))), 0
    far = {pair: np.abs(places[pair[0]] - places[pair[1]]).sum() for pair in _pairs(places)}
    for one, other in sorted(far, key=far.get):
        if group[one] != group[other]:
            um += far[one, other]
            group = [group[one] if mine == group[other] else mine for mine in group]
    assert spanning_um(places.astype(float)) == pytest.approx(um)


def _pairs(places):
    return combinations(range(len(places)), 2)


def test_few_sinks_hang_on_the_source():
    sinks = np.array([[10.0, 0.0], [10.0, 20.0]])
    tree = grown(sinks, 100.0)
    assert (tree.wire_um, tree.buffers) == (pytest.approx(30.0), ())
    assert tree.load_ff == pytest.approx(2 * PIN_FF + 30 * WIRES.ff_per_um)
    # A source that is too weak for them gets one buffer, between them.
    weak = grown(sinks, 3.0, (10.0, 10.0))
    (buffer,) = weak.buffers
    assert weak.wire_um == pytest.approx(20.0)
    assert weak.load_ff == pytest.approx(buffer.pins["A"].cap_ff)
    assert drives_ff(buffer) >= 2 * PIN_FF + 20 * WIRES.ff_per_um
    assert weak.energy_fj(LIBRARY) == pytest.approx(
        (20 * WIRES.ff_per_um + buffer.pins["A"].cap_ff) * 1.1**2 / 2 + buffer.energy_fj
    )
    assert weak.leakage_nw == buffer.leakage_nw


def test_many_sinks_get_levels_of_buffers():
    sinks = np.random.default_rng(1).uniform(0, 400, (3000, 2))
    tree = grown(sinks, 20.0)
    shortest = spanning_um(sinks)
    assert shortest < tree.wire_um < 2 * shortest
    # Together the buffers drive all pins and wires below them, none more than it can.
    driven = len(sinks) * PIN_FF + tree.wire_um * WIRES.ff_per_um
    assert sum(drives_ff(buffer) for buffer in tree.buffers) > driven - 20
    assert tree.load_ff <= 20
    together = grown(np.zeros_like(sinks), 20.0)
    assert together.wire_um == pytest.approx(0)
    least = len(sinks) * PIN_FF / drives_ff(STRONGEST)
    assert least <= len(together.buffers) < 2.5 * least < len(tree.buffers)


def test_far_sink_has_repeaters():
    away = 4.5 * WIRES.span_um
    tree = grown(np.array([[away, 0.0]]), 100.0)
    assert tree.wire_um == pytest.approx(away)
    assert tree.buffers == (WIRES.repeater,) * 4
    assert tree.load_ff == pytest.approx(PIN_FF + WIRES.span_um * WIRES.ff_per_um)


def test_each_clock_has_its_transitions():
    design = small_design()
    tiers = assign(design, "logic-on-logic")
    placement = place_bonds(place(design, tiers, outline_for(design, tiers, 0.7)), 1.6)
    wires, joints = net_lengths(placement)
    gated = nets_named(design.netlist.nets, "array__clockgate0__o")
    assert not {0, gated} & wires.keys() and joints[0] == Joints(1)
    activity = uniform_activity(design.netlist, design.library)
    assert (activity.toggles[0], activity.toggles[gated]) == (2.0, 2 * PULSES)
    energy = {
        net: sum(tree[net].energy_fj(design.library) for tree in trees_of(placement) if net in tree)
        for net in (0, gated)
    }
    assert 0 < energy[gated] < energy[0]
    assert sum(tree[0].joints_ff for tree in trees_of(placement)) == WIRES.bond_ff
    ends = estimate(design.netlist, design.library, activity, 1000.0).clock
    found = measure(placement, activity, 1000.0, timing(placement)).power.clock
    both = 2.0 * energy[0] + 2 * PULSES * energy[gated]
    assert found == pytest.approx(ends + both / 1000)


def test_gated_clock_goes_through_its_bond():
    """By hand: from the gate to a flip-flop on its tier and to the bond, from there to two more."""
    design, placement = gated_pair()
    output = pin_offsets(LIBRARY["CLKGATE_X1"])["GCK"]
    clock = pin_offsets(LIBRARY["DFF_X1"])["CK"]
    gate, first, second, own = (
        np.array([placement.x[cell], placement.y[cell]]) + (clock if cell else output)
        for cell in range(4)
    )
    way = np.array([30.0, 7.0])
    below, above = (tree[2] for tree in trees_of(placement))
    assert above.wire_um == pytest.approx(spanning_um(np.array([way, first, second])))
    assert below.wire_um == pytest.approx(spanning_um(np.array([gate, own, way])))
    # What is above the bond loads the gate, and so does the bond.
    assert above.load_ff == pytest.approx(2 * PIN_FF + above.wire_um * WIRES.ff_per_um)
    beyond = above.load_ff + WIRES.bond_ff
    assert below.load_ff == pytest.approx(PIN_FF + below.wire_um * WIRES.ff_per_um + beyond)
    assert (below.joints_ff, above.joints_ff) == (WIRES.bond_ff, 0)


def gated_pair():
    nets = {0: "clk", 1: "e", 2: "gck"}
    instances = [Instance("gate", "CLKGATE_X8", {"CK": 0, "E": 1, "GCK": 2}, ())]
    instances += [Instance(f"q{n}", "DFF_X1", {"D": 1, "CK": 2}, ()) for n in range(3)]
    ports = {"clk": Port("input", (0,)), "e": Port("input", (1,))}
    design = Design.of(Netlist("gated", ports, instances, nets), LIBRARY)
    tiers = np.array([0, 1, 1, 0])
    crossing = Crossing.of(design, tiers)
    x, y = np.array([10.0, 50.0, 70.0, 10.0, 0.0, 0.0]), np.array([0.0, 14.0, 28.0, 42.0, 0.0, 0.0])
    bond = np.array([30.0] * len(crossing)), np.array([7.0] * len(crossing))
    return design, Placement(design, tiers, Outline(100.0, 56.0), x, y, crossing, *bond)


def test_wires_of_no_length_leave_pins_and_buffers():
    design = small_design(2000)
    activity = uniform_activity(design.netlist, design.library)
    ends = estimate(design.netlist, design.library, activity, 1000.0).total
    bound = without_wires(design, activity, 1000.0)["power_mw"]
    # The port's clock has pins for more than one buffer, the gate's for one.
    assert ends < bound < 1.1 * ends
