"""Packages for flows that place each die: ports meet, every file is there, and the dies link."""

import re

import pytest

from synth.asic.netlist import verilog
from synth.equiv.prove import prove
from synth.tiers.assign import assign
from synth.tiers.exports import open3dflow, seed
from synth.tiers.exports.deffile import bond_places, flat_pins
from tests.tiers_design import kit_of, shelf_placement, small_design

DESIGN = small_design()
KIT = kit_of(DESIGN)
DIES = ("bottom", "top")
# In the last one the output buffers change their die.
STYLES = ("logic-on-logic", "memory-on-logic", "flipped")


def _placement(style):
    if style != "flipped":
        return shelf_placement(DESIGN, assign(DESIGN, style))
    return shelf_placement(DESIGN, 1 - assign(DESIGN, "logic-on-logic"))


@pytest.fixture(params=STYLES)
def placement(request):
    return _placement(request.param)


def _ports(folder):
    """Direction and place of each port of a die, as the files say."""
    text = (folder / "netlist.v").read_text()
    ways = dict(
        (name, way) for way, name in re.findall(r"^  (input|output) (\w+);", text, re.MULTILINE)
    )
    places = (folder / "pins.txt").read_text().splitlines()
    names = sorted(ways, key=open3dflow.natural)
    return {name: (ways[name], at) for name, at in zip(names, places, strict=True)}


def _suffix(way):
    return "_o" if way == "output" else "_i"


def test_open3dflow_ports_meet(placement, tmp_path):
    open3dflow.write(placement, KIT, tmp_path, period_ps=1000.0)
    bottom, top = (_ports(tmp_path / die) for die in DIES)
    edges = {f"{pin.x:.3f} {pin.y:.3f}" for pin in flat_pins(placement)}
    outer = {name: port for name, port in bottom.items() if port[1] in edges}
    assert len(outer) == len(DESIGN.netlist.port_bits)
    assert outer["clk"][0] == "input" and outer["y_0"][0] == "output"
    bonds = {f"{x:.3f} {y:.3f}" for x, y in bond_places(placement).values()}
    assert {at for _, at in top.values()} == bonds
    inner = {name: port for name, port in bottom.items() if name not in outer}
    assert len(inner) == len(top) == len(bonds)
    directions = set()
    for name, (way, at) in inner.items():
        other = "input" if way == "output" else "output"
        assert name.endswith(_suffix(way))
        assert top[name[:-2] + _suffix(other)] == (other, at)
        directions.add(way)
    assert directions == {"input", "output"}
    assert inner["clk_o"][0] == "output" and top["clk_i"][0] == "input"


def test_open3dflow_ports_of_the_design_pass_both_ways(tmp_path):
    found = set()
    for style in STYLES:
        (tmp_path / style).mkdir()
        open3dflow.write(_placement(style), KIT, tmp_path / style, period_ps=1000.0)
        bottom = _ports(tmp_path / style / "bottom")
        found |= {bottom[name][0] for name in bottom if re.fullmatch(r"(a|y)_\d_[io]", name)}
    assert found == {"input", "output"}


def test_open3dflow_dies_are_the_flat_netlist(placement, tmp_path):
    open3dflow.write(placement, KIT, tmp_path, period_ps=1000.0)
    flat = tmp_path / "flat.v"
    flat.write_text(verilog(DESIGN.netlist, DESIGN.library))
    bits = {open3dflow.plain(name): name for name in DESIGN.netlist.port_bits}
    lines = ["module small (a, clk, y);", "  input [3:0] a;", "  input clk;", "  output [3:0] y;"]
    joined = {}
    for tier, die in enumerate(DIES):
        pins = [
            f".{name}({bits.get(name) or 'joined_' + name[:-2]})" for name in _ports(tmp_path / die)
        ]
        joined[die] = f"  small_tier{tier} tier{tier} ({', '.join(pins)});"
    wires = sorted({f"joined_{name[:-2]}" for name in _ports(tmp_path / "top")})
    lines += [f"  wire {name};" for name in wires]
    top = tmp_path / "joined.v"
    top.write_text("\n".join([*lines, *joined.values(), "endmodule", ""]))
    paths = [*(tmp_path / die / "netlist.v" for die in DIES), top]
    proof = prove(DESIGN.netlist, DESIGN.library, flat, paths, tmp_path / "log")
    assert (proof.flip_flops, proof.macros) == (48, 2)


def test_open3dflow_names_every_file(placement, tmp_path):
    open3dflow.write(placement, KIT, tmp_path, period_ps=1000.0)
    for die in DIES:
        folder = tmp_path / die
        config = (folder / "config.mk").read_text()
        named = dict(re.findall(r"export (\w+) = \$\(DESIGN_DIR\)/(\S+)", config))
        placed = re.findall(
            r"^place_pin -pin_name (\w+) -layer metal(?:4|10) -location \{(.*)\}$",
            (folder / "io.tcl").read_text(),
            re.MULTILINE,
        )
        assert dict(placed) == {name: at for name, (_, at) in _ports(folder).items()}
        assert {"SDC_FILE", "IO_CONSTRAINTS", "ADDITIONAL_LEFS", "ADDITIONAL_LIBS"} <= set(named)
        assert {"config.mk", "pins.txt", *named.values()} == {
            path.name for path in folder.iterdir()
        }
        (clocks,) = re.findall(r"get_ports \{(.*)\}", (folder / "constraint.sdc").read_text())
        ports = _ports(folder)
        assert all(ports[name][0] == "input" for name in clocks.split())
    assert "clk_i" in clocks.split()


def test_natural_order():
    assert open3dflow.natural("a_10") > open3dflow.natural("a_9")


def test_seed_names_the_platforms_cells_and_site(placement, tmp_path):
    seed.write(placement, KIT, tmp_path, period_ps=1000.0, utilisation=0.7)
    config = (tmp_path / "designs/nangate45_3D/small/config.mk").read_text()
    cells = "NangateOpenCellLibrary.macro.mod"
    for key, bottom, upper in (("UPPER", "", ".cover"), ("BOTTOM", ".cover", "")):
        files = f"lef_bottom/{cells}.bottom{bottom}.lef", f"lef_upper/{cells}.upper{upper}.lef"
        named = " ".join(f"$(PLATFORM_DIR)/{file}" for file in files)
        assert f"export SC_LEF_{key}_COVER = {named}\n" in config
    floorplan = tmp_path / "results/nangate45_3D/small/seed/2_2_floorplan_io.def"
    sites = set(re.findall(r"^ROW \S+ (\S+) ", floorplan.read_text(), re.MULTILINE))
    assert sites == {"FreePDK45_38x28_10R_NP_162NW_34O"}
