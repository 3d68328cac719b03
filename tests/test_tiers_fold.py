"""Folding: macros that lie on each other part, squares are divided with few nets cut."""

import numpy as np
import pytest

from synth.tiers.bonds import place_bonds
from synth.tiers.fold import balanced, fold
from synth.tiers.local_cut import Floor, local_cut
from synth.tiers.placement.one_layer import macro_tiers
from synth.tiers.placement.rows import overlaps
from synth.tiers.placement.stack import as_problem, outline_for, place, wire_lengths
from tests.tiers_design import small_design

DESIGN = small_design()


def test_macros_that_overlap_part():
    x, y = np.array([0.0, 5.0, 100.0, 105.0]), np.zeros(4)
    tiers = macro_tiers(x, y, np.full(4, 20.0), np.full(4, 10.0), 2)
    assert tiers[0] != tiers[1] and tiers[2] != tiers[3]


def test_tiers_of_macros_are_even_where_none_overlaps():
    x = np.arange(6) * 100.0
    width = np.array([30.0, 10.0, 10.0, 10.0, 20.0, 10.0])
    area = np.bincount(macro_tiers(x, np.zeros(6), width, np.ones(6), 3), width)
    assert area.tolist() == [30.0, 30.0, 30.0]
    none = np.zeros(0)
    assert len(macro_tiers(none, none, none, none, 2)) == 0


def test_shares_fill_the_tiers_evenly_and_only_where_there_is_room():
    free = np.array([[10.0, 0.0], [10.0, 10.0], [5.0, 10.0]])
    held = np.array([4.0, 6.0, 6.0])
    share = balanced(free, held, np.array([8.0, 8.0]))
    assert np.allclose(share.sum(axis=1), 1)
    assert held @ share == pytest.approx([8.0, 8.0], rel=0.01)
    assert share[0, 1] < 1e-6


def floor_of(nets: list[list[int]], square: list[int], share: list[list[float]]) -> Floor:
    starts = np.concatenate([[0], np.cumsum([len(net) for net in nets])])
    weight = np.full(len(square), 10)
    pins = np.array([cell for net in nets for cell in net])
    return Floor(starts, pins, np.array(square), weight, np.array(share))


def clique(cells: range) -> list[list[int]]:
    return [[a, b] for a in cells for b in cells if a < b]


def test_a_square_is_cut_between_its_clusters_next_to_what_is_known():
    """Two cliques of eight, each tied to a cell of known tier."""
    nets = [*clique(range(8)), *clique(range(8, 16)), [7, 8], [0, 16], [15, 17]]
    floor = floor_of(nets, [0] * 16 + [-1, -1], [[0.5, 0.5]])
    for one, other in ((0, 1), (1, 0)):
        known = np.array([0] * 16 + [one, other])
        tiers = local_cut(floor, known)
        assert tiers.tolist() == [one] * 8 + [other] * 8 + [one, other]
        assert local_cut(floor, known).tolist() == tiers.tolist()


def test_neighbouring_squares_see_each_other():
    """A clique in two squares: nothing but the other half says where the second should go."""
    nets = [*clique(range(8)), *clique(range(8, 16)), [0, 16]]
    floor = floor_of(nets, [0] * 4 + [1] * 4 + [0] * 4 + [1] * 4 + [-1], [[0.5, 0.5]] * 2)
    tiers = local_cut(floor, np.array([0] * 16 + [1]))
    assert tiers.tolist() == [1] * 8 + [0] * 8 + [1]


def test_no_cell_goes_where_a_macro_leaves_no_room():
    floor = floor_of(clique(range(6)), [0] * 3 + [1] * 3, [[0.01, 0.99], [1.0, 0.0]])
    assert local_cut(floor, np.zeros(6, np.int64)).tolist() == [1] * 3 + [0] * 3


@pytest.mark.slow
@pytest.mark.parametrize(("count", "utilisation"), [(2, 0.5), (3, 0.3)])
def test_folded_design_is_legal_even_and_shorter(count, utilisation):
    """Of three tiers one has no macro, as the small design has two."""
    folded = fold(DESIGN, utilisation, count)
    areas = np.bincount(folded.tiers, DESIGN.area[: DESIGN.instances])
    assert len(areas) == count
    assert count > 2 or areas.max() < 1.1 * areas.mean()
    start = folded.x, folded.y
    placed = place_bonds(place(DESIGN, folded.tiers, folded.outline, start=start), 1.6)
    problem = as_problem(DESIGN, folded.tiers, folded.outline, placed.crossing)
    x = np.concatenate([placed.x, placed.bond_x])
    y = np.concatenate([placed.y, placed.bond_y])
    assert overlaps(problem, x, y) == 0
    flat = np.zeros(DESIGN.instances, np.int64)
    whole = place(DESIGN, flat, outline_for(DESIGN, flat, utilisation))
    assert wire_lengths(placed).sum() < wire_lengths(whole).sum()
