"""Clock gates: where synthesis puts them, and what activity, power and timing make of them."""

import json
import random
import shutil
from dataclasses import replace

import pytest
from amaranth import ClockDomain, Module, Signal
from amaranth.back import rtlil
from amaranth.sim import Simulator

from hw.build import TOP
from hw.verilog import plain_names
from synth.asic.activity import measure, write_signals
from synth.asic.buffers import buffer_fanout
from synth.asic.cells import standard_cells
from synth.asic.gating import clock_enables, clock_gates, gated, size_gates
from synth.asic.lef import cells_lef, tech_lef
from synth.asic.liberty import write_liberty
from synth.asic.libraries import load_library
from synth.asic.models import models
from synth.asic.netlist import Instance, Netlist, Origin, Port, from_yosys, verilog
from synth.asic.opensta import run_opensta
from synth.asic.power import Activity, estimate
from synth.asic.synthesis import _script
from synth.asic.timing import analyse
from synth.yosys import run_yosys

LIBRARY = standard_cells()
GATE, FLOP, INVERTER = (LIBRARY[name] for name in ("CLKGATE_X1", "DFF_X1", "INV_X1"))


class Registers:
    """Six bits that wait for ``en``, two that wait for ``go``, and three that count always."""

    def __init__(self) -> None:
        self.domain = ClockDomain("sync")
        self.inputs = [self.domain.rst, Signal(name="en"), Signal(name="go"), Signal(6, name="i")]
        self.held = [Signal(6, name="sum", init=5), Signal(2, name="pair"), Signal(3, name="free")]
        self.outputs = [Signal(len(one), name=f"o_{one.name}") for one in self.held]

    def module(self) -> Module:
        m = Module()
        m.domains.sync = self.domain
        _, en, go, i = self.inputs
        total, pair, free = self.held
        with m.If(en):
            m.d.sync += total.eq(total + i)
        with m.If(go):
            m.d.sync += pair.eq(i)
        m.d.sync += free.eq(free + 1)
        m.d.comb += [out.eq(one) for out, one in zip(self.outputs, self.held, strict=True)]
        return m


def synthesised(folder, gate_flops: int, library=LIBRARY) -> Netlist:
    made = Registers()
    ports = [made.domain.clk, *made.inputs, *made.outputs]
    text = plain_names(rtlil.convert(made.module(), name=TOP, ports=ports, emit_src=False))
    (folder / "rtl.il").write_text(text)
    (folder / "macros.lib").write_text(write_liberty(library, []))
    (folder / "cells.lib").write_text(write_liberty(library))
    commands = _script(folder, folder / "cells.lib", library, 24, gate_flops)
    run_yosys(commands, folder / "log", "test")
    mapped = from_yosys(json.loads((folder / "mapped.json").read_text()), TOP, library)
    return size_gates(buffer_fanout(mapped, library, 24), library)


def gates_of(netlist: Netlist, library=LIBRARY) -> list[Instance]:
    return [one for one in netlist.instances if library[one.cell].enable]


@pytest.mark.parametrize(
    ("gate_flops", "gates", "flops"), [(0, 0, 0), (1, 2, 8), (3, 1, 6), (6, 1, 6), (7, 0, 0)]
)
def test_registers_with_an_enable_share_a_gate(tmp_path, gate_flops, gates, flops):
    netlist = synthesised(tmp_path, gate_flops)
    found = gates_of(netlist)
    assert (len(found), gated(netlist, LIBRARY)) == (gates, flops)
    assert [one.name for one in found] == [f"top__clockgate{index}" for index in range(gates)]
    assert all(one.hier == () for one in found)
    held = [one.name for one in netlist.instances if one.cell == "DFF_X1"]
    assert len(held) == 11
    # They are called after what they hold, gated or not.
    assert {name for name in held if "sum" in name} == {f"o_sum_{bit}__reg" for bit in range(6)}


def record(folder, cycles: int = 300) -> float:
    """Write what the registers hold and how often ``sum``'s gate must pass a pulse."""
    made, rng = Registers(), random.Random(4)
    known = {one.name: one for one in [*made.inputs, *made.held, *made.outputs]}
    paths = [path for (path,) in json.loads((folder / "signals.json").read_text())]
    lines, pulses = [], []

    async def drive(ctx):
        for cycle in range(cycles):
            for one in made.inputs:
                ctx.set(one, rng.getrandbits(len(one)) if len(one) > 1 else rng.random() < 0.3)
            ctx.set(made.domain.rst, cycle % 50 == 0)
            pulses.append(ctx.get(made.inputs[0]) | ctx.get(made.inputs[1]))
            values = [(ctx.get(known[name]), len(known[name])) for name in paths if name in known]
            lines.append(" ".join(f"{value:0{-(-bits // 4)}x}" for value, bits in values) + "\n")
            await ctx.tick()

    simulator = Simulator(made.module())
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
    (folder / "record.txt").write_text("".join(lines))
    (folder / "signals.json").write_text(json.dumps([[name] for name in paths if name in known]))
    return sum(pulses) / cycles


def rewired(netlist: Netlist, pins: dict[str, dict[str, int]]) -> Netlist:
    """Netlist in which pins of the instances named have other nets."""
    return replace(
        netlist,
        instances=[
            replace(one, pins=one.pins | pins.get(one.name, {})) for one in netlist.instances
        ],
    )


def test_recording_agrees_and_a_broken_enable_does_not(tmp_path):
    netlist = synthesised(tmp_path, 3)
    clk = netlist.ports["clk"].nets[0]
    netlist.origins.pop(clk, None)
    write_signals(netlist, tmp_path / "signals.json")
    share = record(tmp_path)
    files = tmp_path / "signals.json", tmp_path / "record.txt"
    measured = measure(netlist, LIBRARY, *files)
    assert (measured.compared, measured.wrong) == (11, ())
    (gate,) = gates_of(netlist)
    assert measured.activity.toggles[gate.pins["GCK"]] == pytest.approx(2 * share)
    assert measured.activity.toggles[clk] == 2
    # Another enable, then none.
    flops = tuple(f"o_sum_{bit}__reg" for bit in range(6))
    other = rewired(netlist, {gate.name: {"E": netlist.ports["go"].nets[0]}})
    assert measure(other, LIBRARY, *files).wrong == flops
    ungated = rewired(netlist, {name: {"CK": clk} for name in flops})
    assert measure(ungated, LIBRARY, *files).wrong == flops


def toy() -> Netlist:
    """``q <= !q`` if ``i``, and ``f <= q`` always."""
    nets = ["clk", "i", "o", "a__q", "a__d", "a__gck"]
    net = {name: index for index, name in enumerate(nets)}
    return Netlist(
        "toy",
        {"clk": Port("input", (0,)), "i": Port("input", (1,)), "o": Port("output", (2,))},
        [
            Instance("a__g0", "INV_X1", {"A": net["a__q"], "ZN": net["a__d"]}, ("a",)),
            Instance("a__clockgate0", "CLKGATE_X1", {"CK": 0, "E": 1, "GCK": 5}, ("a",)),
            Instance("a__q__reg", "DFF_X1", {"D": net["a__d"], "CK": 5, "Q": 3}, ("a",)),
            Instance("o__reg", "DFF_X1", {"D": 3, "CK": 0, "Q": 2}, ()),
        ],
        dict(enumerate(nets)),
        {1: Origin(("i",), None), 2: Origin(("o",), None), 3: Origin(("a", "q"), None)},
    )


def test_power_of_a_gated_flip_flop_by_hand():
    half, share = 1.1**2 / 2, 0.25
    gck = 5
    assert clock_enables(toy(), LIBRARY) == {0: (), gck: (1,)}
    busy, idle, unknown = (
        estimate(toy(), LIBRARY, Activity(toggles, {}), 1000.0)
        for toggles in ({gck: 2 * share}, {gck: 0.0}, {})
    )
    root = 2 * half * (1.8 + 0.95) + GATE.clock_energy_fj + FLOP.clock_energy_fj
    assert idle.clock == pytest.approx(root / 1000)
    pulse = 2 * half * 0.95 + FLOP.clock_energy_fj + 2 * GATE.energy_fj
    assert busy.clock == pytest.approx((root + share * pulse) / 1000)
    # What nobody measured is not gated.
    assert unknown.clock == pytest.approx((root + pulse) / 1000)
    assert busy.cells == busy.pins == 0


def test_enable_ends_a_path_and_starts_none():
    netlist = toy()
    timing = analyse(netlist, LIBRARY)
    flop = FLOP.delay_ps + FLOP.ps_per_ff * (1.7 + 1.1)
    loop = flop + INVERTER.delay_ps + INVERTER.ps_per_ff * 1.1 + FLOP.setup_ps
    assert timing.period_ps == pytest.approx(loop)
    assert timing.slack_of[1] == pytest.approx(loop - 57)
    # The enable from the register itself: no loop.
    own = rewired(netlist, {"a__clockgate0": {"E": 3}})
    assert analyse(own, LIBRARY).period_ps > loop


def test_gates_are_as_strong_as_their_flip_flops_need():
    nets = {0: "clk", 1: "i"}
    instances = []
    for flops in (2, 9, 25, 40, 400):
        nets[len(nets)] = clock = f"c{flops}"
        clock = len(nets) - 1
        instances.append(Instance(f"g{flops}", "CLKGATE_X1", {"CK": 0, "E": 1, "GCK": clock}, ()))
        pins = {"D": 1, "CK": clock}
        instances += [Instance(f"{clock}_{n}", "DFF_X1", pins, ()) for n in range(flops)]
    ports = {"clk": Port("input", (0,)), "i": Port("input", (1,))}
    netlist = size_gates(Netlist("sizes", ports, instances, nets), LIBRARY)
    assert [one.cell for one in gates_of(netlist)] == [
        f"CLKGATE_X{strength}" for strength in (1, 2, 4, 8, 8)
    ]
    # Data gets buffers, clocks do not.
    buffered = buffer_fanout(netlist, LIBRARY, 24)
    made = [one for one in buffered.instances if one.cell.startswith("BUF")]
    assert made and all(one.name.startswith("i__buf") for one in made)


def own_library(folder, change=("", "")):
    """The embedded cells as a user's, with a text of the clock gates replaced."""
    text = write_liberty(LIBRARY)
    assert change[0] in text
    (folder / "own.lib").write_text(text.replace(*change) if change[0] else text)
    (folder / "own.lef").write_text(tech_lef(LIBRARY) + cells_lef(LIBRARY, LIBRARY.cells))
    return load_library(folder / "own.lib", [folder / "own.lef"])


def test_gates_of_the_users_library(tmp_path):
    library = own_library(tmp_path)
    assert [cell.name for cell in clock_gates(library)] == [
        f"CLKGATE_X{strength}" for strength in (1, 2, 4, 8)
    ]
    for kind in ("latch_negedge", "none_posedge"):
        assert not clock_gates(own_library(tmp_path, ("latch_posedge", kind)))
    library = own_library(tmp_path, ("latch_posedge", "none_posedge"))
    assert not any("CLKGATE" in one.cell for one in synthesised(tmp_path, 3, library).instances)


def test_inputs_for_tests_are_low(tmp_path):
    pin = "    pin (E) {\n      direction : input;\n"
    text = "    pin (SE) {\n      direction : input;\n      clock_gate_test_pin : true;\n    }\n"
    tested = {
        name: replace(cell, pins=cell.pins | {"SE": replace(cell.pins["E"], cap_ff=0.8)})
        for name, cell in LIBRARY.cells.items()
        if cell.enable
    }
    library = LIBRARY.with_cells(tested)
    (tmp_path / "own.lib").write_text(write_liberty(LIBRARY).replace(pin, text + pin))
    (tmp_path / "own.lef").write_text(tech_lef(library) + cells_lef(library, library.cells))
    library = load_library(tmp_path / "own.lib", [tmp_path / "own.lef"])
    netlist = synthesised(tmp_path, 3, library)
    (gate,) = gates_of(netlist, library)
    (low,) = [one.pins["Z"] for one in netlist.instances if one.cell == "LOGIC0_X1"]
    assert gate.pins["SE"] == low != gate.pins["E"]
    assert "always_latch if (!CK) IQ = E;" in models(library, [gate.cell])


@pytest.mark.skipif(shutil.which("sta") is None, reason="OpenSTA is not installed")
def test_opensta_passes_the_clock_on_and_checks_the_enable(tmp_path):
    # From a register to the enable, and nothing between registers.
    late = rewired(toy(), {"a__clockgate0": {"E": 2}, "a__q__reg": {"D": 1}, "o__reg": {"D": 1}})
    for made, gate in ((toy(), False), (late, True)):
        (tmp_path / "toy.v").write_text(verilog(made, LIBRARY))
        (tmp_path / "cells.lib").write_text(write_liberty(LIBRARY))
        said = run_opensta(made, LIBRARY, tmp_path / "toy.v", [tmp_path / "cells.lib"], 1.0)
        period = analyse(made, LIBRARY).period_ps
        assert said.slack_ns == pytest.approx(1.0 - period / 1000, abs=0.03)
        assert ("Endpoint: a__clockgate0" in said.path) == gate
