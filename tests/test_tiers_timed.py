"""Placement by several starts and in rounds: the shortest one counts, slow nets weigh more."""

from dataclasses import replace

import numpy as np
import pytest

from golden.spec import SpecError
from synth.asic.timing import analyse
from synth.tiers.figures import memory_times, timing
from synth.tiers.placement import starts
from synth.tiers.placement.engine import place_cells
from synth.tiers.placement.problem import Problem
from synth.tiers.placement.rows import overlaps
from synth.tiers.placement.stack import Crossing, as_problem, outline_for, place, wire_lengths
from synth.tiers.placement.starts import STARTS, best_start
from synth.tiers.placement.wirelength import Wirelength
from synth.tiers.timed import HEAVY, place_timed, placer_sources, slow_weights
from tests.tiers_design import small_design
from tests.toy_netlist import toy_library, toy_netlist

DESIGN = small_design()
FLAT = np.zeros(DESIGN.instances, np.int64)
OUTLINE = outline_for(DESIGN, FLAT, 0.7)


def problem(macros: bool = True) -> Problem:
    """The small design as a problem, with macros or with cells in their place."""
    found = as_problem(DESIGN, FLAT, OUTLINE, Crossing.of(DESIGN, FLAT))
    return found if macros else replace(found, macro=np.zeros_like(found.macro))


def scattered(of: Problem, start: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Places that are the nearer to each other the closer the start is to 4."""
    reach = 10.0 * (1 + abs(start - 4))
    rng = np.random.default_rng(0)
    count = len(of.width)
    return rng.uniform(0, reach, count), rng.uniform(0, reach, count), start


def crowded(of: Problem, start: int):
    """Nothing fits but at the last start."""
    if start < STARTS:
        raise SpecError(f"start {start} does not fit")
    return scattered(of, start)


def never(of: Problem, start: int):
    raise SpecError(f"start {start} does not fit")


@pytest.mark.parametrize("few", [0, 1000])
def test_the_start_with_the_shortest_wires_counts(monkeypatch, few):
    """In processes of their own, and in this one."""
    monkeypatch.setattr(starts, "FEW_CELLS", few)
    assert best_start(scattered, problem())[2] == 4
    assert best_start(crowded, problem())[2] == STARTS
    with pytest.raises(SpecError, match=r"^start 1 does not fit$"):
        best_start(never, problem())


def test_one_start_does_without_macros():
    assert best_start(scattered, problem(macros=False))[2] == 1


def test_a_heavier_net_has_so_much_more_slope():
    plain = problem()
    rng = np.random.default_rng(2)
    x, y = rng.uniform(0, OUTLINE.width, (2, len(plain.width)))
    nets = len(plain.net_starts) - 1
    one = int(np.flatnonzero(np.diff(plain.net_starts) == 3)[0])
    weight = np.ones(nets)
    weight[one] = 3.0
    heavy = replace(plain, net_weight=weight)
    length, slope_x, _ = Wirelength(plain).gradient(x, y, 1.0)
    heavier, slope_heavy, _ = Wirelength(heavy).gradient(x, y, 1.0)
    corners = x - plain.width / 2, y - plain.height / 2
    assert heavier - length == pytest.approx(2 * plain.net_lengths(*corners)[one])
    touched = plain.pin_cell[plain.net_starts[one] : plain.net_starts[one + 1]]
    assert set(np.flatnonzero(~np.isclose(slope_heavy, slope_x)).tolist()) <= set(touched.tolist())
    degree = Wirelength(heavy).degree - Wirelength(plain).degree
    assert degree.sum() == pytest.approx(2 * 3)


def test_a_heavy_net_becomes_short():
    flat = place(DESIGN, FLAT, OUTLINE)
    lengths = wire_lengths(flat)
    two = np.diff(DESIGN.starts) == 2
    longest = np.argsort(np.where(two, lengths, 0))[-5:]
    weight = np.ones(DESIGN.nets)
    weight[longest] = 20.0
    again = place(DESIGN, FLAT, OUTLINE, start=(flat.x, flat.y), net_weight=weight)
    assert wire_lengths(again)[longest].sum() < 0.7 * lengths[longest].sum()


def test_slack_of_the_way_through_a_memory():
    """By hand: the flip-flop addresses the only memory, whose data go to ports."""
    library, netlist = toy_library(), toy_netlist()
    timed = analyse(netlist, library)
    path = timed.memories["b__memory"]
    assert path.round_ps == path.to_ps + path.from_ps
    net = {name: number for number, name in netlist.nets.items()}
    assert timed.memory_slack_of[net["a__q"]] == pytest.approx(0.0)
    assert timed.memory_slack_of[net["o[0]"]] == pytest.approx(0.0)
    # Ports reach the memory as soon as the clock, but for the wire.
    assert timed.memory_slack_of[net["i"]] == pytest.approx(path.to_ps - 50.0)
    assert net["a__d"] not in timed.memory_slack_of
    longer = analyse(netlist, library, {net["a__q"]: 50.0})
    assert longer.memories["b__memory"].round_ps > path.round_ps


def test_only_slow_nets_weigh_more():
    timed = timing(place(DESIGN, FLAT, OUTLINE))
    weight = slow_weights(DESIGN, timed)
    assert weight.min() == 1.0 and weight.max() == pytest.approx(HEAVY)
    worst = min(timed.slack_of, key=timed.slack_of.get)
    assert weight[worst] == pytest.approx(HEAVY)
    easy = [net for net, slack in timed.slack_of.items() if slack > 0.3 * timed.period_ps]
    memory = memory_times(timed)["memory_round_ps"]
    easy = [net for net in easy if timed.memory_slack_of.get(net, memory) > 0.3 * memory]
    assert easy and (weight[easy] == 1.0).all()


def test_rounds_make_slow_paths_faster():
    design = small_design(gates=120)
    tiers = np.zeros(design.instances, np.int64)
    outline = outline_for(design, tiers, 0.7)
    plain, found = place(design, tiers, outline), place_timed(design, tiers, outline, pitch_um=1.6)
    before, after = (timing(one) for one in (plain, found))

    def sum_of(timed):
        return timed.period_ps + memory_times(timed)["memory_round_ps"]

    assert sum_of(after) < sum_of(before)
    legal = as_problem(design, tiers, outline, found.crossing)
    assert overlaps(legal, found.x, found.y) == 0
    again = place_timed(design, tiers, outline, pitch_um=1.6)
    assert (again.x == found.x).all() and (again.y == found.y).all()


def test_a_placement_is_as_old_as_what_makes_it():
    names = {path.name for path in placer_sources()}
    assert {"timed.py", "timing.py", "wires.py", "spread.py", "starts.py"} <= names
    assert place_cells.__module__.rsplit(".", 1)[-1] + ".py" in names
