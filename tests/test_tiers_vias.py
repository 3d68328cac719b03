"""Vias through silicon: beside macros and cells, with a load and a thickness of their own."""

from dataclasses import replace

import numpy as np
import pytest

from golden.spec import SpecError
from synth.asic.cells import standard_cells
from synth.asic.timing import default_wires
from synth.asic.wires import PIERCED_UM, Joints
from synth.tiers import thermal, vias
from synth.tiers.bonds import Grid, place_bonds
from synth.tiers.figures import net_lengths
from synth.tiers.placement.rows import overlaps
from synth.tiers.placement.stack import outline_for, place, wire_lengths
from synth.tiers.thermal import AMBIENT_C, TIER_UM, temperatures, tier_um
from tests.tiers_design import small_design

DESIGN = small_design()
WIRES = default_wires(standard_cells())


@pytest.fixture(scope="module")
def spread():
    """Three tiers with a macro in the middle one, bonds where their nets want them."""
    tiers = np.arange(DESIGN.instances) % 3
    tiers[np.flatnonzero(DESIGN.macro[: DESIGN.instances])] = 1
    return place(DESIGN, tiers, outline_for(DESIGN, tiers, 0.5))


def test_vias_lie_beside_macros_and_cells(spread):
    placed = place_bonds(spread, 1.6)
    assert placed.crossing.pierced.sum() > 20
    assert overlaps(*vias.with_vias(placed)) == 0
    # Where cells were before is no place for the same vias, nor is the middle of a macro.
    unmoved = replace(placed, x=spread.x, y=spread.y)
    assert overlaps(*vias.with_vias(unmoved)) > 0
    macro = int(np.flatnonzero(DESIGN.macro)[0])
    through = np.flatnonzero(placed.crossing.pierced)[0]
    x, y = placed.bond_x.copy(), placed.bond_y.copy()
    x[through], y[through] = placed.x[macro] + 5, placed.y[macro] + 5
    assert overlaps(*vias.with_vias(replace(placed, bond_x=x, bond_y=y))) > 0
    # Bonds face to face are above macros, too.
    same = np.flatnonzero(~placed.crossing.pierced)
    assert (
        overlaps(
            *vias.with_vias(
                replace(
                    placed,
                    bond_x=np.where(
                        np.isin(np.arange(len(x)), same[:1]), x[through], placed.bond_x
                    ),
                )
            )
        )
        == 0
    )
    assert np.array_equal(placed.x[DESIGN.macro], spread.x[DESIGN.macro])


def test_cells_gather_around_vias(spread):
    first = place_bonds(spread, 1.6)
    settled = vias.settle(first, np.ones(DESIGN.nets))
    again = place_bonds(settled, 1.6)
    assert overlaps(*vias.with_vias(settled)) == overlaps(*vias.with_vias(again)) == 0
    through = first.crossing.pierced
    for found in (settled, again):
        assert np.allclose(found.bond_x[through], first.bond_x[through])
    assert wire_lengths(again).sum() < 0.95 * wire_lengths(first).sum()


def test_sites_are_shared_by_no_two_vias(spread):
    placed = place_bonds(spread, 1.6)
    for lower in (0, 1):
        mine = placed.crossing.lower == lower
        places = set(zip(placed.bond_x[mine], placed.bond_y[mine], strict=True))
        assert len(places) == mine.sum()


def test_too_little_room_beside_macros(spread):
    count = int(spread.crossing.pierced.sum())
    grid = Grid.of(spread.outline, 1.6)
    free = vias.free_sites(spread, 1, grid.centres()).sum()
    assert 0 < free < grid.sites
    pitch = next(
        pitch
        for pitch in np.arange(1.6, 30, 0.2)
        if (sites := Grid.of(spread.outline, pitch)).sites
        >= max(count, len(spread.crossing) - count)
        and vias.free_sites(spread, 1, sites.centres()).sum() < count
    )
    with pytest.raises(SpecError, match=rf"^{count} vias through tier 1: beside its macros there"):
        place_bonds(spread, pitch)


def test_vias_cost_load():
    """By hand: a cylinder of 0.8 um in 0.1 um of oxide, through 5 um, has 4.9 fF."""
    assert WIRES.via_ff == pytest.approx(4.86, abs=0.01)
    assert WIRES.joints_ff(Joints(3, 2)) == pytest.approx(3 * 1.0 + 2 * WIRES.via_ff)
    assert WIRES.driven_ff(10.0, Joints(1, 1)) == pytest.approx(1.05 + 1.0 + WIRES.via_ff)
    assert WIRES.delay_ps(10.0, 2.0, Joints(1, 1)) > WIRES.delay_ps(10.0, 2.0, Joints(1))
    more = WIRES.energy_fj(10.0, 1.1, Joints(1, 1)) - WIRES.energy_fj(10.0, 1.1, Joints(1))
    assert more == pytest.approx(WIRES.via_ff * 1.1**2 / 2)


def test_joints_are_counted(spread):
    _, joints = net_lengths(spread)
    crossing = spread.crossing
    for net in set(crossing.net.tolist()):
        lower = crossing.lower[crossing.net == net]
        assert joints[net] == Joints(len(lower), int((lower == 1).sum()))


def test_tiers_between_are_thin(monkeypatch):
    assert [tier_um(tier, 4) for tier in range(4)] == [TIER_UM, PIERCED_UM, PIERCED_UM, TIER_UM]
    assert [tier_um(tier, 2) for tier in range(2)] == [TIER_UM, TIER_UM]
    watts = np.zeros((3, 4, 4))
    watts[1, 0, 0] = 5e-3
    thin = temperatures(watts, 1000.0, 1000.0)
    assert thin[1, 0, 0] == thin.max() > AMBIENT_C
    # Heat spreads less than it would in a thick one.
    monkeypatch.setattr(thermal, "PIERCED_UM", TIER_UM)
    assert thin.max() > temperatures(watts, 1000.0, 1000.0).max()
