"""Timing, power, activity and libraries on a toy, against figures worked out by hand."""

import json
import re
import shutil

import pytest
from typer.testing import CliRunner

from golden.spec import SpecError, load_preset
from synth.asic.__main__ import app
from synth.asic.activity import measure, write_signals
from synth.asic.buffers import buffer_fanout
from synth.asic.cells import Library, standard_cells
from synth.asic.fakeram import macro, with_macros
from synth.asic.lef import cells_lef, tech_lef
from synth.asic.liberty import write_liberty
from synth.asic.liberty_reader import expression, read_cells
from synth.asic.libraries import load_library, tie_cells
from synth.asic.netlist import Instance, Netlist, Origin, Port, verilog
from synth.asic.opensta import run_opensta
from synth.asic.power import Activity, estimate
from synth.asic.synthesis import Options, asic_dir, synthesise, write_products
from synth.asic.timing import analyse, default_wires
from tests.toy_netlist import MACRO, toy_library, toy_netlist

FLOP, NAND = standard_cells()["DFF_X1"], standard_cells()["NAND2_X1"]
A_Q, A_D = 4, 5


def test_longest_path_by_hand():
    library, netlist = toy_library(), toy_netlist()
    macro = library[MACRO]
    timing = analyse(netlist, library)
    # Q drives the gate, an address bit of each port, and a data bit.
    load = 1.7 + 3 * 5.0
    flop = FLOP.delay_ps + FLOP.ps_per_ff * load
    loop = flop + NAND.delay_ps + NAND.ps_per_ff * 1.1 + FLOP.setup_ps
    assert timing.period_ps == pytest.approx(max(loop, macro.delay_ps))
    assert timing.slack_of[A_Q] == pytest.approx(timing.period_ps - loop)
    assert timing.memories["b__memory"].to_ps == pytest.approx(flop + macro.setup_ps)
    assert timing.memories["b__memory"].from_ps == pytest.approx(macro.delay_ps)


def test_wire_makes_a_path_longer():
    library, netlist = toy_library(), toy_netlist()
    wires = default_wires(library)
    near, far = (
        timing.period_ps - timing.slack_of[A_D]
        for timing in (analyse(netlist, library, {A_D: um}) for um in (0.0, 100.0))
    )
    kohm, ff = 0.0036 * 100, 0.105 * 100
    assert far - near == pytest.approx(NAND.ps_per_ff * ff + kohm * (ff / 2 + 1.1))
    # Beyond the span of a repeater the delay grows with the length.
    one, two, three = (wires.delay_ps(wires.span_um * count, 1.0) for count in (1, 2, 3))
    assert three - two == pytest.approx(two - one, rel=0.01)


def test_loop_of_gates_is_named():
    pins = {"A": 0, "ZN": 1}
    netlist = Netlist(
        "loop",
        {"o": Port("output", (1,))},
        [Instance("g0", "INV_X1", pins, ()), Instance("g1", "INV_X1", {"A": 1, "ZN": 0}, ())],
        {0: "a", 1: "o"},
    )
    with pytest.raises(SpecError, match=r"^2 gates form a loop or hang on one, g0 among them$"):
        analyse(netlist, standard_cells())


def test_power_by_hand():
    library, netlist = toy_library(), toy_netlist()
    found = estimate(
        netlist,
        library,
        Activity({A_D: 0.5}, {"b__memory": 1.5}),
        period_ps=1000.0,
        lengths={A_D: 10.0},
    )
    half = 1.1**2 / 2
    assert found.pins == pytest.approx(0.5 * half * 1.1 / 1000)
    assert found.wires == pytest.approx(0.5 * half * 1.05 / 1000)
    assert found.cells == pytest.approx(0.5 * NAND.energy_fj / 1000)
    pins = 2 * half * (0.95 + 25.0) + FLOP.clock_energy_fj
    assert found.clock == pytest.approx(pins / 1000)
    assert found.memories == pytest.approx(1.5 * library[MACRO].energy_fj / 1000)
    leaks = sum(library[one.cell].leakage_nw for one in netlist.instances)
    assert found.leakage == pytest.approx(leaks * 1e-6)
    assert found.total == pytest.approx(
        found.pins + found.wires + found.cells + found.clock + found.memories + found.leakage
    )


def recorded(folder, rows: list[tuple[int, int, int]]):
    """Measure a recording of ``i``, ``q`` and ``o`` of the toy."""
    netlist = toy_netlist()
    places = {1: Origin(("i",), None), A_Q: Origin(("a", "q"), 2)}
    places |= {2: Origin(("b", "o"), 0), 3: Origin(("b", "o"), 1), 0: Origin(("i",), None)}
    netlist.origins.update(places)
    write_signals(netlist, folder / "signals.json")
    assert json.loads((folder / "signals.json").read_text()) == [["a", "q"], ["b", "o"], ["i"]]
    lines = [f"{q << 2:x} {o:x} {i:x}\n" for i, q, o in rows]
    (folder / "record.txt").write_text("".join(lines))
    return measure(netlist, toy_library(), folder / "signals.json", folder / "record.txt")


def test_activity_of_a_recording(tmp_path):
    # q <= !(i & q)
    measured = recorded(tmp_path, [(1, 0, 0), (1, 1, 3), (1, 0, 2), (0, 1, 2), (0, 1, 0)])
    assert measured.wrong == () and measured.compared == 1 and measured.cycles == 5
    assert measured.activity.toggles[A_Q] == 3 / 4
    # d is 1, 0, 1, 1, 1.
    assert measured.activity.toggles[A_D] == 2 / 4
    # Reads where i is 1, writes always.
    assert measured.activity.accesses == {"b__memory": 3 / 5 + 1}


def test_recording_of_another_netlist(tmp_path):
    measured = recorded(tmp_path, [(1, 0, 0), (1, 0, 3), (1, 1, 2)])
    assert measured.wrong == ("a__q__reg",)


def measure_nothing(folder):
    return measure(toy_netlist(), toy_library(), folder / "signals.json", folder / "record.txt")


@pytest.mark.parametrize(
    ("load", "name", "command"),
    [
        (lambda folder: Netlist.load(folder / "netlist.json"), "netlist", "synth.asic synth"),
        (lambda folder: Library.load(folder / "library.json"), "library", "synth.asic synth"),
        (lambda folder: Activity.load(folder / "activity.json"), "activity", "synth.asic activity"),
        (measure_nothing, "recording", "sim record"),
    ],
)
def test_what_is_missing_is_made_for_the_same_preset(tmp_path, monkeypatch, load, name, command):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError) as error:
        load(asic_dir(load_preset("base")))
    file = "record.txt" if name == "recording" else f"{name}.json"
    assert str(error.value) == (
        f"no {name} build/base/asic/{file}: make it with `python -m {command} --preset base`"
    )


@pytest.mark.parametrize("period", ["nan", "-1", "0", "inf"])
def test_period_that_is_none(period):
    done = CliRunner().invoke(app, ["power", "--period", period])
    assert done.exit_code == 2
    assert done.stderr == f"error: period is {period} ns: must be more than 0, and finite\n"


def test_buffers_limit_the_fanout():
    library = standard_cells()
    count = 100
    nets = {0: "i", **{number: f"o[{number - 1}]" for number in range(1, count + 1)}}
    gates = [
        Instance(f"g{number}", "INV_X1", {"A": 0, "ZN": number}, ("a" if number < 30 else "b",))
        for number in range(1, count + 1)
    ]
    ports = {"i": Port("input", (0,)), "o": Port("output", tuple(range(1, count + 1)))}
    made = buffer_fanout(Netlist("fan", ports, gates, nets), library, 8)
    loads = [net for one in made.instances for pin, net in one.pins.items() if pin == "A"]
    assert max(loads.count(net) for net in set(loads)) == 8
    source = {one.pins["Z"]: one.pins["A"] for one in made.instances if "Z" in one.pins}
    for one in made.instances:
        net = one.pins["A"]
        while net in source:
            net = source[net]
        assert net == 0
    assert {one.hier for one in made.instances if one.cell.startswith("BUF")} == {
        (),
        ("a",),
        ("b",),
    }


def test_library_is_what_its_liberty_says(tmp_path):
    library = toy_library()
    path = tmp_path / "cells.lib"
    path.write_text(write_liberty(library))
    name, voltage, cells = read_cells(path)
    assert (name, voltage, cells.keys()) == (library.name, 1.1, library.cells.keys())
    for name, fields in cells.items():
        cell = library[name]
        assert fields["pins"] == cell.pins, name
        assert (fields["sequential"], fields["enable"]) == (cell.sequential, cell.enable)
        for figure in ("area_um2", "delay_ps", "ps_per_ff", "energy_fj", "clock_energy_fj"):
            assert fields[figure] == pytest.approx(getattr(cell, figure), rel=1e-3), (name, figure)
    library.save(tmp_path / "library.json")
    assert Library.load(tmp_path / "library.json") == library


def test_liberty_expressions():
    assert expression("(!((A B)+(C D)))") == "(!((A & B) | (C & D)))"
    assert expression("(A'*B)^C") == "(!A & B) ^ C"


def own_library(folder, **changes) -> Library:
    """Library from files of the embedded cells, with texts in them replaced."""
    plain = standard_cells()
    texts = {
        "cells.lib": write_liberty(plain),
        "tech.lef": tech_lef(plain),
        "cells.lef": cells_lef(plain, plain.cells),
    }
    before, after = changes.get("change", ("", ""))
    for name, text in texts.items():
        (folder / name).write_text(text.replace(before, after) if before else text)
    lefs = [folder / name for name in changes.get("lefs", ("tech.lef", "cells.lef"))]
    return load_library(folder / changes.get("liberty", "cells.lib"), lefs)


def test_the_users_library(tmp_path):
    library = own_library(tmp_path)
    assert library["DFF_X1"].width_um == 3.23 and library.site_um == 0.19
    assert (library.site, library.database_units) == ("spikestack45", 1000)
    assert tie_cells(library) == {"0": ("LOGIC0_X1", "Z"), "1": ("LOGIC1_X1", "Z")}


def test_ties_that_the_users_library_lacks_are_written(tmp_path):
    plain = standard_cells()
    gates = [name for name in plain.cells if not name.startswith("LOGIC")]
    (tmp_path / "gates.lib").write_text(write_liberty(plain, gates))
    (tmp_path / "gates.lef").write_text(tech_lef(plain) + cells_lef(plain, gates))
    options = Options(tmp_path / "gates.lib", (tmp_path / "gates.lef",))
    library = load_library(options.liberty, options.lefs)
    made = tmp_path / "made"
    made.mkdir()
    write_products(toy_netlist(), library, with_macros(library, [MACRO]), options, made)
    for name in (MACRO, "LOGIC0_X1", "LOGIC1_X1"):
        assert f"MACRO {name}\n" in (made / "macros.lef").read_text()
        assert f"cell ({name})" in (made / "macros.lib").read_text()
    assert "NAND2_X1" not in (made / "macros.lib").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"liberty": "none.lib"}, r"^no Liberty file .*none\.lib$"),
        ({"change": ("    area : 0.532;\n", "")}, r"cells\.lib: cell INV_X1 has no area$"),
        ({"change": ("MACRO XOR2_X1", "MACRO X")}, r"cells\.lef: X has no END$"),
        ({"lefs": ("tech.lef",)}, r"^cell INV_X1 of .* has no MACRO in .*tech\.lef$"),
        ({"lefs": ("cells.lef",)}, r"^no SITE of class CORE in .*cells\.lef$"),
        ({"lefs": ("none.lef",)}, r"^no LEF file .*none\.lef$"),
        ({"change": ("library (", "libary (")}, r"is no Liberty file: must be one library"),
    ],
)
def test_library_that_cannot_be_used(tmp_path, changes, message):
    with pytest.raises(SpecError, match=message):
        own_library(tmp_path, **changes)


def test_nothing_is_left_of_a_synthesis_that_fails(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = Options(liberty=tmp_path / "none.lib")
    with pytest.raises(SpecError, match=r"^no Liberty file .*none\.lib$"):
        synthesise(load_preset("tiny"), None, options)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("sta") is None, reason="OpenSTA is not installed")
def test_opensta_agrees(tmp_path):
    netlist, library = toy_netlist(), toy_library()
    (tmp_path / "toy.v").write_text(verilog(netlist, library))
    (tmp_path / "cells.lib").write_text(write_liberty(library))
    files = tmp_path / "toy.v", [tmp_path / "cells.lib"]
    report = run_opensta(netlist, library, *files, 1.0)
    timing = analyse(netlist, library)
    loop = timing.period_ps - timing.slack_of[A_Q]
    assert report.slack_ns == pytest.approx(1.0 - loop / 1000, abs=0.03)
    busy, idle = (
        run_opensta(netlist, library, *files, 1.0, Activity({A_Q: rate}, {})).logic_mw
        for rate in (1.0, 0.0)
    )
    # Twice the flip-flop's energy, as it does, and the load of Q.
    assert busy - idle == pytest.approx((2 * FLOP.energy_fj + 1.1**2 / 2 * 16.7) / 1000, rel=0.001)


def test_missing_opensta_is_one_message(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        SpecError,
        match=r"^no OpenSTA: the program sta comes with the package opensta \(apt-get\)$",
    ):
        run_opensta(toy_netlist(), toy_library(), tmp_path, [], 1.0)


@pytest.mark.parametrize("name", ["64x8", "256x49_1r1w", "64x256", "49x256_1r1w", "16x600_1r1w"])
def test_macro_pins_are_drawn_apart_and_inside(name):
    cell = macro(f"fakeram45_{name}")
    text = cells_lef(standard_cells().with_cells({cell.name: cell}), [cell.name])
    boxes = [
        tuple(map(float, box.split())) for box in re.findall(r"metal3 ;\n +RECT ([\d. ]+) ;", text)
    ]
    assert len(boxes) == len(cell.pins)
    for left, low, right, high in boxes:
        assert (right - left, high - low) == pytest.approx((0.07, 0.07))
        assert left >= 0 and right <= cell.width_um and low >= 0 and high <= cell.height_um
    # No two share a place on the grid of tracks.
    assert len({(round(box[0] / 0.07), round(box[1] / 0.07)) for box in boxes}) == len(boxes)
