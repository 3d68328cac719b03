"""Styles: which cells go where, what is cut, and what is refused."""

import numpy as np
import pytest

from golden.spec import SpecError
from synth.tiers.assign import BOTTOM, TOP, Options, assign
from tests.tiers_design import small_design

DESIGN = small_design()


def nets_of(design, chosen) -> set[int]:
    """Nets with a pin on a chosen cell and one elsewhere, ports counting as elsewhere."""
    cells = {}
    for net, cell in zip(design.net_of_pin.tolist(), design.pin_cell.tolist(), strict=True):
        cells.setdefault(net, set()).add(cell in chosen)
    return {net for net, sides in cells.items() if len(sides) == 2}


def test_memory_on_logic_cuts_the_memories_nets_and_no_others():
    tiers = assign(DESIGN, "memory-on-logic")
    macros = set(np.flatnonzero(DESIGN.macro).tolist())
    assert {index for index, tier in enumerate(tiers) if tier == TOP} == macros
    low, high = DESIGN.span(tiers)
    assert set(np.flatnonzero(low != high).tolist()) == nets_of(DESIGN, macros)


def test_memories_fill_several_tiers_evenly():
    tiers = assign(DESIGN, "memory-on-logic", Options(tiers=3))
    macro = DESIGN.macro[: DESIGN.instances]
    assert (tiers[~macro] == BOTTOM).all()
    filled = np.bincount(tiers[macro], DESIGN.area[: DESIGN.instances][macro], minlength=3)
    assert filled[BOTTOM] == 0
    largest = DESIGN.area[: DESIGN.instances][macro].max()
    assert abs(filled[1] - filled[2]) <= largest < filled[1:].sum()


def test_logic_on_logic_follows_the_blocks():
    tiers = assign(DESIGN, "logic-on-logic")
    for instance, tier in zip(DESIGN.netlist.instances, tiers, strict=True):
        up = "neurons" in instance.hier or "memory" in instance.hier
        assert tier == (TOP if up else BOTTOM), instance.name


def test_mincut_is_balanced_and_cuts_no_more_than_blocks_do():
    tiers = assign(DESIGN, "mincut", Options(low=0.45, high=0.55, tries=1))
    area = np.bincount(tiers, DESIGN.area[: DESIGN.instances])
    assert 0.45 <= area[0] / area.sum() <= 0.55
    low, high = DESIGN.span(tiers)
    by_block = DESIGN.span(assign(DESIGN, "logic-on-logic"))
    assert (low != high).sum() <= (by_block[0] != by_block[1]).sum()


def test_critical_nets_weigh_more():
    critical = np.zeros(DESIGN.nets, bool)
    critical[DESIGN.edge_nets[::3]] = True
    graph = DESIGN.hypergraph(np.where(critical, 5, 1))
    assert graph.edge_weights[::3].tolist() == [5] * len(graph.edge_weights[::3])


REFUSED = {
    "style upside-down: must be one of memory-on-logic, logic-on-logic, mincut": (
        "upside-down",
        Options(),
    ),
    "style logic-on-logic has 2 tiers, not 3: memory-on-logic, mincut and folded may have more": (
        "logic-on-logic",
        Options(tiers=3),
    ),
    "style memory-on-logic with 9 tiers: there are 2 memories, at least one for each tier but the"
    " bottom is needed": ("memory-on-logic", Options(tiers=9)),
    "balance is 60 to 70 % a part: 2 parts must be able to hold 50 % each": (
        "mincut",
        Options(low=0.6, high=0.7),
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused(message):
    with pytest.raises(SpecError) as caught:
        assign(DESIGN, *REFUSED[message])
    assert str(caught.value) == message
