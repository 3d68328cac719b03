"""Files of open flows: complete, read by others without a warning, and checks that can fail."""

import re
from dataclasses import replace

import numpy as np
import pytest

from golden.spec import SpecError
from synth.asic.lef import bond_lef
from synth.asic.netlist import verilog
from synth.equiv.prove import prove
from synth.tiers.assign import assign
from synth.tiers.checks import read_layouts, seed_problems
from synth.tiers.exports import (
    deffile,
    hotspot,
    hypergraphs,
    iccad2022,
    open3dflow,
    seed,
    threedblox,
)
from synth.tiers.exports.check3dblox import check
from synth.tiers.pictures import draw, write_gds
from synth.tiers.verilog import tier_verilog
from tests.tiers_design import kit_of, shelf_placement, small_design

DESIGN = small_design()
KIT = kit_of(DESIGN)
NAMES = {one.name for one in DESIGN.netlist.instances}


@pytest.fixture(scope="module")
def placement():
    return shelf_placement(DESIGN, assign(DESIGN, "logic-on-logic"))


def test_verilog_has_every_instance_once_under_its_name(placement):
    files = tier_verilog(DESIGN, placement.tiers)
    assert set(files) == {"tier0.v", "tier1.v", "top.v"}
    found = []
    for tier in (0, 1):
        words = re.findall(r"^  (\w+_X\d|fakeram\w+) (\w+) \(", files[f"tier{tier}.v"], re.M)
        found += [name for _, name in words]
        members = np.flatnonzero(placement.tiers == tier)
        here = {DESIGN.netlist.instances[cell].name for cell in members}
        assert {name for _, name in words} == here
    assert sorted(found) == sorted(NAMES)
    crossing = {DESIGN.netlist.nets[net] for net in placement.crossing.net}
    inner = {name for name in crossing if "[" not in name and name != "clk"}
    wires = set(re.findall(r"^  wire (\w+);", files["top.v"], re.M))
    # A port of the design goes on to the next tier by a wire of its own.
    assert inner == {name for name in wires if not name.endswith("__bond0")}
    # Verilator takes no line of more than 40,000 words.
    assert max(map(len, "\n".join(files.values()).splitlines())) < 1000
    assert "a_2__bond0" in wires and "  assign a_2__up = a_2;" in files["tier0.v"]


def test_recount_agrees_and_sees_a_change(placement, tmp_path):
    hypergraphs.write(DESIGN, placement.tiers, tmp_path, fix_memories=True)
    cut = len(set(placement.crossing.net.tolist()))
    assert hypergraphs.recount(tmp_path) == cut
    path = tmp_path / "netlist.hgr.part.2"
    flipped = [str(1 - int(part)) for part in path.read_text().split()]
    path.write_text("\n".join([*flipped[: len(flipped) // 2]]))
    with pytest.raises(SpecError, match=r"netlist.hgr.part.2: has \d+ parts: must be \d+$"):
        hypergraphs.recount(tmp_path)
    half = np.random.default_rng(1).permutation(len(flipped)) % 2
    path.write_text("\n".join(map(str, half)))
    assert hypergraphs.recount(tmp_path) != cut


def test_layouts_are_read_without_a_warning_and_a_broken_one_is_not(placement, tmp_path):
    lefs = []
    for name, text in {**KIT.lefs, "bond.lef": bond_lef()}.items():
        lefs.append(tmp_path / name)
        lefs[-1].write_text(text)
    files = deffile.tier_defs(placement) | {"flat.def": deffile.flat_def(placement, placed=False)}
    defs = []
    for name, text in files.items():
        defs.append(tmp_path / name)
        defs[-1].write_text(text)
    assert read_layouts(lefs, defs) == []
    (unknown,) = read_layouts(lefs[:1] + lefs[2:], defs[:1])
    assert "Macro not found in LEF file" in unknown
    defs[0].write_text(files["tier0.def"].replace("COMPONENTS", "COMPNENTS"))
    broken = " ".join(read_layouts(lefs, defs[:1]))
    assert "lefdef on tier0.def" in broken and "klayout on tier0.def" in broken


def test_def_has_what_was_placed(placement):
    # Half of the cells go up a row, so that both orientations are there.
    y = placement.y.copy()
    y[np.flatnonzero(~DESIGN.macro[: DESIGN.instances])[::2]] += DESIGN.library.row_um
    placement = replace(placement, y=y)
    text = deffile.tier_defs(placement)["tier1.def"]
    found = re.findall(r"^- (\S+) \S+ \+ PLACED \( (\d+) (\d+) \) (N|FS) ;", text, re.M)
    names = [one.name for one in DESIGN.netlist.instances]
    rows = dict(re.findall(r"^ROW \S+ \S+ 0 (\d+) (N|FS) ", text, re.M))
    for name, x, y, orientation in found:
        cell = names.index(name)
        assert orientation == ("N" if DESIGN.macro[cell] else rows[y])
        assert (int(x), int(y)) == (
            round(placement.x[cell] * 1000),
            round(placement.y[cell] * 1000),
        )
    assert {orientation for *_, orientation in found} == {"N", "FS"}
    assert len(found) == (placement.tiers == 1).sum()
    centres = np.stack([placement.bond_x, placement.bond_y], axis=1)
    bonds = {(round(x * 1000), round(y * 1000)) for x, y in centres}
    pins = re.findall(r"LAYER metal10 .*\n  \+ PLACED \( (\d+) (\d+) \)", text)
    assert {(int(x), int(y)) for x, y in pins} == bonds


def test_seed_lists_every_instance_and_no_port(placement, tmp_path):
    seed.write(placement, KIT, tmp_path, period_ps=1000.0, utilisation=0.7)
    folder = tmp_path / "results/nangate45_3D/small/seed"
    assert sorted(path.name for path in folder.iterdir()) == [
        "1_synth.sdc",
        "2_2_floorplan_io.def",
        "2_2_floorplan_io.v",
        "partition.txt",
    ]
    assert seed_problems(folder) == []
    lines = dict(line.split() for line in (folder / "partition.txt").read_text().splitlines())
    assert set(lines) == NAMES
    # The flow's upper tier is 0.
    assert lines["neurons__memory__ram"] == "0" and lines["array__g0"] == "1"
    text = (folder / "partition.txt").read_text()
    (folder / "partition.txt").write_text(text.replace("array__g0 1\n", "clk 1\n"))
    assert seed_problems(folder) == ["array__g0 has no tier", "clk is no instance"]
    config = tmp_path / "designs/nangate45_3D/small"
    keys = re.findall(r"export (\w+) =", (config / "config.mk").read_text())
    assert {"DESIGN_NAME", "PLATFORM", "SC_LEF_UPPER_COVER", "ADDITIONAL_LIBS"} <= set(keys)
    named = re.findall(r"\$\(DESIGN_DIR\)/(\S+)", (config / "config.mk").read_text())
    assert {"macros.lef", "macros.upper.cover.lef", "macros.bottom.lib"} <= set(named)
    assert all((config / name).is_file() for name in named)


def test_iccad_counts_and_terminals(placement, tmp_path):
    iccad2022.write(placement, tmp_path, utilisation=0.7, pitch=1.6)
    case = (tmp_path / "case.txt").read_text()
    assert case.startswith("NumTechnologies 1\nTech TA ")
    assert f"NumInstances {len(NAMES)}\n" in case
    assert "TerminalSize 800 800\nTerminalSpacing 800\n" in case
    # 0.7 of a die is exactly 70 %, a hair more would be 71.
    assert "TopDieMaxUtil 70\nBottomDieMaxUtil 70\n" in case
    for net, pins in re.findall(r"^Net (\S+) (\d+)\n", case, re.M):
        assert int(pins) > 1
        after = case[case.index(f"Net {net} {pins}\n") :].splitlines()[1 : int(pins) + 1]
        assert all(line.startswith("Pin ") for line in after)
    solution = (tmp_path / "placement.txt").read_text()
    terminals = re.findall(r"^Terminal (\S+) ", solution, re.M)
    assert f"NumTerminals {len(terminals)}\n" in solution
    assert len(set(terminals)) == len(terminals) <= len(placement.crossing)


def test_hotspot_files_name_the_same_blocks(tmp_path, placement):
    power = np.arange(32.0).reshape(2, 4, 4) / 1000
    hotspot.write(power, placement.outline, tmp_path)
    names, values = (tmp_path / "stack.ptrace").read_text().splitlines()
    blocks = [line.split() for tier in (1, 0) for line in (tmp_path / f"tier{tier}.flp").open()]
    assert names.split() == [block[0] for block in blocks]
    assert list(map(float, values.split())) == pytest.approx([*power[1].flat, *power[0].flat])
    area = sum(float(w) * float(h) for _, w, h, _, _ in blocks)
    assert area == pytest.approx(2e-12 * placement.outline.area, rel=1e-4)
    layers = re.findall(r"\w+\.flp", (tmp_path / "stack.lcf").read_text())
    assert layers == ["tier1.flp", "bond.flp", "tier0.flp", "tim.flp"]
    assert all((tmp_path / name).is_file() for name in layers)


def test_pictures(placement, tmp_path):
    draw(placement, tmp_path, "small")
    write_gds(placement, tmp_path / "a.gds")
    write_gds(placement, tmp_path / "b.gds")
    assert (tmp_path / "a.gds").read_bytes() == (tmp_path / "b.gds").read_bytes()
    assert (tmp_path / "tier0.png").stat().st_size > 10_000
    assert (tmp_path / "tier1.png").is_file()


@pytest.fixture
def package(placement, tmp_path):
    threedblox.write(placement, KIT, tmp_path, period_ps=1000.0)
    return tmp_path


def test_3dblox_package_is_clean(package):
    assert check(package / "stack.3dbx") == []
    named = re.findall(r"[\w.]+\.(?:lef|lib|def)\b", (package / "stack.3dbv").read_text())
    assert set(named) == {*KIT.lefs, *KIT.liberties, "bond.lef", "tier0.def", "tier1.def"}
    assert all((package / name).is_file() for name in named)
    up, down = (
        [line.split() for line in (package / f"{name}.bmap").read_text().splitlines()]
        for name in ("tier0_up", "tier1_down")
    )
    # Bump, place and net are the same on both sides; the ports need not be.
    assert [line[:4] + line[5:] for line in up] == [line[:4] + line[5:] for line in down]
    assert len({line[4] for line in up}) == len(up) == len(down)
    assert ["hb0_a_2", "HBT"] in [line[:2] for line in up]
    assert {line[4] for line in up if line[5] == "a_2"} == {"a_2__up"}


@pytest.fixture(scope="module")
def three_tiers():
    return shelf_placement(DESIGN, np.arange(DESIGN.instances) % 3)


def test_clocks_of_a_tier_are_the_ports_at_which_they_enter(package, placement):
    """The gate of `array` is at the bottom, and so are its flip-flops: one clock goes up."""
    assert "-name clk -period 1.0000 [get_ports {clk}]" in (package / "tier0.sdc").read_text()
    moved = placement.tiers.copy()
    gated = [n for n, one in enumerate(DESIGN.netlist.instances) if one.name.startswith("array__q")]
    moved[gated[0]] = 1
    threedblox.write(shelf_placement(DESIGN, moved), KIT, package, period_ps=1000.0)
    (ports,) = re.findall(r"\[get_ports \{(.*)\}\]", (package / "tier1.sdc").read_text())
    assert sorted(ports.split()) == ["array__clockgate0__o", "clk"]


def test_3dblox_of_three_tiers_is_clean(three_tiers, tmp_path):
    threedblox.write(three_tiers, KIT, tmp_path, period_ps=1000.0)
    assert check(tmp_path / "stack.3dbx") == []
    text = (tmp_path / "stack.3dbv").read_text()
    assert re.findall(r"tsv: (\w+)", text) == ["true", "true", "false"]
    (tmp_path / "stack.3dbv").write_text(text.replace("tsv: true", "tsv: false"))
    assert "chiplet small_tier1, region up: bumps on the back need tsv: true" in check(
        tmp_path / "stack.3dbx"
    )


def test_every_bond_is_one_net_of_the_top_by_ports_of_one_bump(three_tiers, tmp_path):
    """As OpenROAD reads it: a port has one bump, and the top's nets join ports."""
    threedblox.write(three_tiers, KIT, tmp_path, period_ps=1000.0)
    top = (tmp_path / "top.v").read_text()
    joined, bumps = {}, {}
    for tier in range(3):
        (pins,) = re.findall(rf"^  small_tier{tier} tier{tier} \((.*?)^  \);", top, re.M | re.S)
        joined |= {(tier, port): net for port, net in re.findall(r"\.(\w+)\(([^)]*)\)", pins)}
        for path in tmp_path.glob(f"tier{tier}_*.bmap"):
            for _, _, x, y, port, _ in map(str.split, path.read_text().splitlines()):
                assert (tier, port) not in bumps
                lower = tier if path.stem.endswith("_up") else tier - 1
                bumps[tier, port] = float(x), float(y), lower
    met = {}
    for port, (x, y, lower) in bumps.items():
        met.setdefault((lower, x, y), []).append(joined[port])
    assert len(met) == len(three_tiers.crossing)
    assert all(len(nets) == 2 and len(set(nets)) == 1 for nets in met.values())


def test_nets_that_pass_a_tier_have_a_port_at_both_bonds(three_tiers, tmp_path):
    passing = passing_nets(three_tiers)
    assert len(passing) > 3
    texts = deffile.tier_defs(three_tiers)
    middle = tier_verilog(DESIGN, three_tiers.tiers)["tier1.v"]
    for name in passing:
        assert f"- {name} ( PIN {name} ) ( PIN {name}__up ) ;" in texts["tier1.def"]
        assert f"- {name}__up + NET {name} + " in texts["tier1.def"]
        ways = dict(re.findall(rf"^  (input|output) ({name}(?:__up)?);", middle, re.M))
        assert sorted(ways) == ["input", "output"]
        assert f"  assign {ways['output']} = {ways['input']};" in middle
    lefs, defs = [], []
    for files, paths in (({**KIT.lefs, "bond.lef": bond_lef()}, lefs), (texts, defs)):
        for name, text in files.items():
            paths.append(tmp_path / name)
            paths[-1].write_text(text)
    assert read_layouts(lefs, defs) == []


def passing_nets(placement):
    """Names of inner nets between the bottom and the top of three tiers."""
    side, nets = placement.tiers, DESIGN.netlist.nets
    reached = {}
    for cell, instance in enumerate(DESIGN.netlist.instances):
        for net in instance.pins.values():
            reached.setdefault(net, set()).add(int(side[cell]))
    ports = {net for _, net in DESIGN.netlist.port_bits.values()}
    return sorted(nets[net] for net, at in reached.items() if at == {0, 2} and net not in ports)


BROKEN = {
    "overlap": ("stack.3dbx", "z: 20.0", "z: 19.0", "tier0 and tier1 overlap"),
    "apart in x": ("stack.3dbx", r"tier1: \{loc: \[0.0", "tier1: {loc: [500.0", "do not overlap"),
    "upside down": ("stack.3dbx", "orient: MZ", "orient: R0", "the top must face down"),
    "gap": ("stack.3dbx", "z: 20.0", "z: 25.0", "surfaces are 5 um apart: must be 0"),
    "loose": ("stack.3dbx", 'bot: "~"', "bot: tier0.regions.up", "is not connected to the"),
    "outside": ("tier0_up.bmap", r"HBT \S+", "HBT 900.0", "is outside"),
    "shorted": ("tier0_up.bmap", r" (\S+)\n", " other\n", "is on"),
    "no orient": ("stack.3dbx", ", orient: MZ", "", "Stack tier1: key orient is missing"),
    "no top": ("stack.3dbx", r"top: tier1\S+ bot", "bot", "key top is missing"),
    "no type": ("stack.3dbv", "    type: die\n", "", "key type is missing"),
    "type": ("stack.3dbv", "type: die", "type: cake", "type cake is none of die"),
    "coords": ("stack.3dbv", r", \[0, [\d.]+\]\]", "]", "coords must have four points"),
    "no design name": ("stack.3dbx", "{name: small, ", "{", "Design: key name is missing"),
    "no DEF": ("stack.3dbv", "      DEF_file: .*\n", "", "key DEF_file is missing"),
    "other DEF": ("stack.3dbv", "tier1.def", "tier9.def", "no file tier9.def"),
    "no partner": ("tier0_up.bmap", r".*\n", "", "has no partner"),
    "bump moved": ("tier1_down.bmap", r"HBT (\S+)", "HBT 1.000", "has no partner"),
    "same name": ("tier0_up.bmap", r"\S+(.*\n)(\S+)", r"\2\1\2", "2 bumps are called"),
    "no port": ("tier0_up.bmap", r"\S+ (\S+\n)", r"other \1", "the DEF has no pin other"),
    "port's net": ("tier1_down.bmap", r"a_2\n", "a[2]\n", "is on net a[2], its port on a_2"),
    "net of the DEF": ("tier1.def", r"(?s)(\nNETS.*\n- )a_2 ", r"\1a[2] ", "has no net a_2"),
    "pin of the DEF": ("tier1.def", r"- a_2 \+", "- b_2 +", "the DEF has no pin a_2"),
    "pin's place": ("tier1.def", r"(- a_2 [^;]*PLACED \( )\d+", r"\g<1>7", "its bump is not"),
    "edge of tier 0": ("tier0.def", r"(- clk [^;]*PLACED \( )\d+ \d+", r"\g<1>7000 7000", "edge"),
    "not joined": ("top.v", r"(?s)(tier1 \(.*)\.a_2\(a_2__bond0\),", r"\1", "does not join a_2"),
    "joined elsewhere": (
        "top.v",
        r"(?s)(tier1 \(.*\.a_2\()a_2__bond0",
        r"\1a[2]",
        "tier0.a_2__up bel",
    ),
    "two bumps": ("tier0_up.bmap", r"(\S+ \S+\n)(.*) \S+ \S+\n", r"\1\2 \1", "are at port"),
    "no top module": ("top.v", "module small ", "module big ", "has no module small"),
    "no reference": ("stack.3dbx", "reference: small_tier1,", "", "key reference is missing"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_3dblox_is_seen(package, name):
    file, old, new, said = BROKEN[name]
    path = package / file
    text, changed = re.subn(old, new, path.read_text(), count=1)
    assert changed
    path.write_text(text)
    assert any(said in problem for problem in check(package / "stack.3dbx"))


def test_two_dies_alone(placement, tmp_path):
    tiers = placement.tiers.copy()
    tiers[:3] = 2
    three = replace(placement, tiers=tiers)
    for write, message in (
        (
            lambda: seed.write(three, KIT, tmp_path, period_ps=1e3, utilisation=0.7),
            "TaiWei-Pin-3D",
        ),
        (
            lambda: open3dflow.write(three, KIT, tmp_path, period_ps=1e3),
            "Open3DFlow stacks 2 dies, not 3",
        ),
    ):
        with pytest.raises(SpecError, match=message):
            write()


def test_tiers_are_proven_to_be_the_flat_netlist(tmp_path):
    flat = tmp_path / "flat.v"
    flat.write_text(verilog(DESIGN.netlist, DESIGN.library))
    stacks = [assign(DESIGN, style) for style in ("memory-on-logic", "logic-on-logic")]
    for tiers in (*stacks, np.arange(DESIGN.instances) % 3):
        paths = []
        for name, text in tier_verilog(DESIGN, tiers).items():
            paths.append(tmp_path / name)
            paths[-1].write_text(text)
        proof = prove(DESIGN.netlist, DESIGN.library, flat, paths, tmp_path / "log")
        assert (proof.flip_flops, proof.clock_gates, proof.macros) == (48, 1, 2)
    paths[0].write_text(paths[0].read_text().replace("NAND2_X1", "NOR2_X1", 1))
    with pytest.raises(SpecError, match="are not proven equal"):
        prove(DESIGN.netlist, DESIGN.library, flat, paths, tmp_path / "log")
