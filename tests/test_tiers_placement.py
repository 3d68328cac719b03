"""Placement is legal, short and repeatable; bonds are on their grid; figures follow the wires."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from golden.spec import SpecError
from synth.tiers.assign import assign
from synth.tiers.bonds import Grid, place_bonds
from synth.tiers.figures import (
    measure,
    sink_ways,
    timing,
    uniform_activity,
    without_wires,
)
from synth.tiers.placement.rows import overlaps
from synth.tiers.placement.stack import (
    Outline,
    as_problem,
    outline_for,
    place,
    wire_lengths,
)
from synth.tiers.thermal import AMBIENT_C, PACKAGE_KM2_W, temperatures
from tests.tiers_design import RAM, small_design

DESIGN = small_design()
LIBRARY = DESIGN.library
FLAT = np.zeros(DESIGN.instances, np.int64)
SPLIT = assign(DESIGN, "logic-on-logic")


def placed(tiers):
    return place(DESIGN, tiers, outline_for(DESIGN, tiers, 0.7))


@pytest.fixture(scope="module")
def flat():
    return placed(FLAT)


@pytest.fixture(scope="module")
def stacked():
    return place_bonds(placed(SPLIT), 1.6)


def problem_of(placement):
    return as_problem(placement.design, placement.tiers, placement.outline, placement.crossing)


@pytest.mark.parametrize("name", ["flat", "stacked"])
def test_legal(name, request):
    placement = request.getfixturevalue(name)
    problem = problem_of(placement)
    x = np.concatenate([placement.x, placement.bond_x])
    y = np.concatenate([placement.y, placement.bond_y])
    assert overlaps(problem, x, y) == 0
    wrong = x.copy()
    cells = np.flatnonzero(~DESIGN.macro[: DESIGN.instances] & (placement.tiers == 0))
    wrong[cells[1]], y[cells[1]] = x[cells[0]], y[cells[0]]
    assert overlaps(problem, wrong, y) > 0


def test_much_shorter_than_random(flat):
    lengths = wire_lengths(flat).sum()
    order = np.random.default_rng(1).permutation(np.flatnonzero(DESIGN.height == 1.4))
    x, y = flat.x.copy(), flat.y.copy()
    x[np.sort(order)], y[np.sort(order)] = flat.x[order], flat.y[order]
    assert lengths < 0.7 * wire_lengths(replace(flat, x=x, y=y)).sum()


def test_the_same_every_time(flat):
    again = placed(FLAT)
    assert (again.x == flat.x).all() and (again.y == flat.y).all()


def test_wire_of_a_crossing_net_is_counted_on_each_tier(stacked):
    """By hand: the box of a net's pins and bond on a tier."""
    dx, dy = DESIGN.pin_offsets
    tier_of = DESIGN.cell_tiers(stacked.tiers)
    net = int(stacked.crossing.net[-1])
    total = 0.0
    for tier in (0, 1):
        pins = [
            pin
            for pin in range(DESIGN.starts[net], DESIGN.starts[net + 1])
            if tier_of[DESIGN.pin_cell[pin]] == tier
        ]
        for corner, offset, bond in (
            (stacked.x, dx, stacked.bond_x[-1]),
            (stacked.y, dy, stacked.bond_y[-1]),
        ):
            at = [*(corner[DESIGN.pin_cell[pin]] + offset[pin] for pin in pins), bond]
            total += max(at) - min(at)
    assert wire_lengths(stacked)[net] == pytest.approx(total)


def test_way_to_another_tier_goes_through_the_bond(stacked):
    """By hand: from the driver's pin to the bond, and on to the sink's."""
    dx, dy = DESIGN.pin_offsets
    tier_of = DESIGN.cell_tiers(stacked.tiers)
    ways = sink_ways(stacked)
    bonds = dict(zip(stacked.crossing.net.tolist(), range(len(stacked.bond_x)), strict=True))

    def place(pin):
        cell = DESIGN.pin_cell[pin]
        return np.array([stacked.x[cell] + dx[pin], stacked.y[cell] + dy[pin]])

    checked = {True: 0, False: 0}
    for net in set(bonds) - set(np.flatnonzero(DESIGN.clock_nets)):
        source = DESIGN.driver_pin[net]
        bond = np.array([stacked.bond_x[bonds[net]], stacked.bond_y[bonds[net]]])
        pins = range(DESIGN.starts[net], DESIGN.starts[net + 1])
        sinks = [pin for pin in pins if DESIGN.pin_cell[pin] < DESIGN.instances]
        for sink in sinks:
            cells = [DESIGN.pin_cell[pin] for pin in sinks]
            if sink == source or cells.count(DESIGN.pin_cell[sink]) > 1:
                continue
            far = tier_of[DESIGN.pin_cell[sink]] != tier_of[DESIGN.pin_cell[source]]
            stops = [place(source), bond, place(sink)] if far else [place(source), place(sink)]
            um = sum(np.abs(b - a).sum() for a, b in pairwise(stops))
            assert ways[net][DESIGN.pin_cell[sink]] == pytest.approx(um)
            checked[bool(far)] += 1
    assert min(checked.values()) > 5


def test_one_bond_a_crossing_on_the_grid_none_twice(stacked):
    low, high = DESIGN.span(stacked.tiers)
    assert len(stacked.bond_x) == (high - low).sum()
    for at, limit in ((stacked.bond_x, stacked.outline.width), (stacked.bond_y, 1e9)):
        steps = at / 1.6 - 0.5
        assert np.allclose(steps, np.round(steps), atol=1e-6)
        assert (at > 0).all() and (at < limit).all()
    assert len(set(zip(stacked.bond_x, stacked.bond_y, strict=True))) == len(stacked.bond_x)


def test_bonds_that_want_one_place_share_its_neighbourhood(stacked):
    count = len(stacked.bond_x)
    middle = np.full(count, stacked.outline.width / 2)
    moved = place_bonds(replace(stacked, bond_x=middle, bond_y=middle), 1.6)
    away = np.abs(moved.bond_x - middle) + np.abs(moved.bond_y - middle)
    # So many sites lie within a diamond around the wish.
    assert away.max() <= 1.6 * (np.sqrt(count / 2) + 3)
    assert len(set(zip(moved.bond_x, moved.bond_y, strict=True))) == count


def test_too_few_sites():
    placement = placed(SPLIT)
    count = len(placement.bond_x)
    outline = placement.outline
    grid = Grid.of(outline, 30.0)
    with pytest.raises(SpecError) as caught:
        place_bonds(placement, 30.0)
    assert str(caught.value) == (
        f"{count} bonds between tiers 0 and 1: a die of {outline.width:.1f} x"
        f" {outline.height:.1f} um has room for {grid.columns} x {grid.rows} = {grid.sites}"
        " at a pitch of 30 um"
    )
    with pytest.raises(SpecError, match=r"^bond pitch is 0 um: must be more than 0$"):
        place_bonds(placement, 0.0)


def test_impossible_outlines():
    with pytest.raises(SpecError, match=r"^utilisation is 1.2: must be between 0 and 1$"):
        outline_for(DESIGN, FLAT, 1.2)
    ram = DESIGN.library[RAM]
    narrow = Outline(1.5 * ram.width_um, 1.5 * ram.height_um)
    with pytest.raises(SpecError, match=r"^the 2 macros of tier 0, \d+ um2, do not fit a die of"):
        place(DESIGN, FLAT, narrow)


def test_longer_wires_cost_time_and_power(flat):
    activity = uniform_activity(DESIGN.netlist, DESIGN.library)
    near = measure(flat, activity, 1000.0, timing(flat))
    wide = replace(
        flat,
        x=flat.x * 4,
        y=flat.y * 4,
        outline=Outline(flat.outline.width * 4, flat.outline.height * 4),
    )
    far = measure(wide, activity, 1000.0, timing(wide))
    assert far.memory_access_ps > near.memory_access_ps
    assert far.memory_round_ps > near.memory_round_ps > near.memory_access_ps
    assert near.memory_mean_ps <= near.memory_access_ps
    bound = without_wires(DESIGN, activity, 1000.0)
    assert bound["memory_access_ps"] < near.memory_access_ps
    assert bound["power_mw"] < near.power.total
    assert far.power.wires > 3 * near.power.wires
    assert far.power.cells == pytest.approx(near.power.cells)
    assert near.power_w.sum() * 1000 == pytest.approx(near.power.total)
    assert near.footprint_um2 == pytest.approx(flat.outline.width * flat.outline.height)


def test_temperature_of_even_power_is_known():
    """Nothing flows sideways: the package's rise, and a higher tier is warmer."""
    watts = np.full((2, 4, 4), 1e-3)
    found = temperatures(watts, 1000.0, 1000.0)
    rise = 32e-3 * PACKAGE_KM2_W / 1e-6
    assert np.allclose(found[0], AMBIENT_C + rise)
    assert (found[1] > found[0]).all()
    watts[1, 0, 0] = 10e-3
    assert temperatures(watts, 1000.0, 1000.0).max() > found.max()
