"""Memories for TaiWei-Pin-3D: masters and covers of both tiers, as its steps read them."""

import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from golden.spec import SpecError
from synth.asic.fakeram import macro
from synth.asic.lef import LAYERS, MacroView, cells_lef
from synth.asic.liberty import write_liberty
from synth.asic.netlist import verilog
from synth.asic.opensta import run_opensta
from synth.tiers.assign import assign
from synth.tiers.checks import read_layouts, seed_problems
from synth.tiers.design import Design
from synth.tiers.exports import seed
from synth.yosys import run_yosys
from tests.tiers_design import RAM, kit_of, shelf_placement, small_design

DESIGN = small_design()
TIERS = ("bottom", "upper")
# LEF of each variable of the flow, bottom before upper: whose masters are there as what.
STEPS = {
    "ADDITIONAL_LEFS": {"bottom": "BLOCK", "upper": "BLOCK"},
    "ADDITIONAL_LEFS_UPPER_COVER": {"bottom": "BLOCK", "upper": "COVER"},
    "ADDITIONAL_LEFS_BOTTOM_COVER": {"bottom": "COVER", "upper": "BLOCK"},
}


def written(folder, design=DESIGN):
    """Seed directory and design directory of memory-on-logic."""
    placement = shelf_placement(design, assign(design, "memory-on-logic"))
    seed.write(placement, kit_of(design), folder, period_ps=1000.0, utilisation=0.7)
    name = design.netlist.name
    return (
        folder / f"results/nangate45_3D/{name}/seed",
        folder / f"designs/nangate45_3D/{name}",
    )


@pytest.fixture
def made(tmp_path):
    return written(tmp_path)


def named(config, variable, file="config.mk"):
    """Files of a variable, as make expands it where the flow sets ``DESIGN_HOME``."""
    rules = f"include {config / file}\nall:\n\t@echo $({variable})\n"
    home = f"DESIGN_HOME={config.parents[1]}"
    command = ["make", "-s", "-f", "-", home, "PLATFORM_DIR=.", "WORK_HOME=."]
    done = subprocess.run(command, input=rules, capture_output=True, text=True, check=True)
    return [config / path for path in done.stdout.split()]


def masters(paths):
    """Body of each master of some LEF files, by name."""
    text = "".join(path.read_text() for path in paths)
    found = re.findall(r"^MACRO (\S+)\n(.*?)^END \1$", text, re.M | re.S)
    assert len(dict(found)) == len(found)
    return dict(found)


def test_each_step_finds_each_memory_of_each_tier(made):
    _, config = made
    for variable, classes in STEPS.items():
        found = masters(named(config, variable))
        plain = {RAM} if variable == "ADDITIONAL_LEFS" else set()
        assert set(found) == plain | {f"{RAM}_{tier}" for tier in TIERS}
        for tier, kind in classes.items():
            body = found[f"{RAM}_{tier}"]
            assert f"  CLASS {kind} ;" in body
            end = "_m" if tier == "upper" else ""
            layers = {f"M{number}{end}" for number in range(1, 5)}
            assert set(re.findall(r"LAYER (\S+) ;", body)) == layers
    assert seed_problems(made[0]) == []


def test_masters_of_a_memory_differ_in_name_class_and_layers_alone(made):
    _, config = made
    lefs = list(config.glob("*.lef"))
    assert len(lefs) == 5
    bodies = set()
    for path in lefs:
        ((name, body),) = masters([path]).items()
        assert f"FOREIGN {name} 0 0" in body
        for old, new in ((name, RAM), ("COVER", "BLOCK"), (r"(M\d)_m", r"\1")):
            body = re.sub(old, new, body)
        bodies.add(body)
    (body,) = bodies
    pins = re.findall(r"^  PIN (\S+)$", body, re.M)
    assert pins == [*DESIGN.library[RAM].pins, "VDD", "VSS"]
    cell = DESIGN.library[RAM]
    assert f"  SIZE {cell.width_um:g} BY {cell.height_um:g} ;" in body


@pytest.mark.parametrize("name", [RAM, "fakeram45_64x8", "fakeram45_16x512_1r1w"])
def test_obstructions_leave_every_pin_free(name):
    cell = macro(name)
    library = replace(DESIGN.library, cells={name: cell})
    body = cells_lef(library, [name], MacroView("M{}", blocked=True))
    pins, blocked = body.split("  OBS\n")
    boxes = re.compile(r"LAYER M(\d) ;\s+RECT (\S+) (\S+) (\S+) (\S+) ;")
    found = [[int(layer), *map(float, box)] for layer, *box in boxes.findall(blocked)]
    assert [layer for layer, *_ in found] == [1, 2, 3, 4]
    whole = [0, 0, cell.width_um, cell.height_um]
    assert found[0][1:] == found[1][1:] == pytest.approx(whole)
    for layer, *pin in boxes.findall(pins):
        left, low, right, high = map(float, pin)
        # The layer's own, and the one above, from which pins of inner columns are reached.
        for above in (3, 4) if layer == "3" else (4,):
            _, x0, y0, x1, y1 = found[above - 1]
            gap = max(x0 - right, left - x1, y0 - high, low - y1)
            assert gap > 0.14


def test_configuration_of_the_2d_flow_has_no_tiers(made):
    seeded, config = made
    (lef,) = named(config, "ADDITIONAL_LEFS", "config2d.mk")
    (liberty,) = named(config, "ADDITIONAL_LIBS", "config2d.mk")
    assert set(masters([lef])) == {RAM}
    # The platform's layers, on which its DEF has the ports too.
    assert "LAYER M3 ;" in lef.read_text() and "metal" not in lef.read_text()
    text = (seeded / "2_2_floorplan_io.def").read_text()
    assert "+ LAYER M4 (" in text and "metal" not in text
    assert liberty.read_text() == kit_of(DESIGN).liberties["macros.lib"]


def test_files_are_the_same_each_time(tmp_path):
    texts = []
    for run in "ab":
        _, config = written(tmp_path / run)
        texts.append({path.name: path.read_text() for path in config.iterdir()})
    assert texts[0] == texts[1] and len(texts[0]) == 10


def test_a_design_without_memories_needs_no_files(tmp_path):
    kept = [one for one in DESIGN.netlist.instances if not DESIGN.library[one.cell].macro]
    netlist = replace(DESIGN.netlist, instances=kept)
    design = Design.of(netlist, DESIGN.library)
    placement = shelf_placement(design, assign(design, "logic-on-logic"))
    seed.write(placement, kit_of(DESIGN), tmp_path, period_ps=1000.0, utilisation=0.7)
    config = tmp_path / "designs/nangate45_3D/small"
    assert {path.name for path in config.iterdir()} == {"config.mk", "config2d.mk"}
    assert "ADDITIONAL" not in (config / "config.mk").read_text()
    assert seed_problems(tmp_path / "results/nangate45_3D/small/seed") == []


BROKEN = {
    "no upper master": (
        "macros.upper.lef",
        f"{RAM}_upper",
        "other_upper",
        f"ADDITIONAL_LEFS: {RAM}_upper: no such master",
    ),
    "no bottom cover": (
        "macros.bottom.cover.lef",
        f"{RAM}_bottom",
        RAM,
        f"ADDITIONAL_LEFS_BOTTOM_COVER: {RAM}_bottom: no such master",
    ),
    "not a cover": (
        "macros.upper.cover.lef",
        "CLASS COVER",
        "CLASS BLOCK",
        f"ADDITIONAL_LEFS_UPPER_COVER: {RAM}_upper: is of CLASS BLOCK: must be COVER",
    ),
    "size": (
        "macros.bottom.lef",
        "  SIZE 28.88 ",
        "  SIZE 29.07 ",
        f"ADDITIONAL_LEFS: {RAM}_bottom: size or pins differ from another master's",
    ),
    "pin": (
        "macros.upper.cover.lef",
        "RECT 0 16.1 0.07 16.17",
        "RECT 0 16.2 0.07 16.27",
        f"ADDITIONAL_LEFS_UPPER_COVER: {RAM}_upper: size or pins differ from another master's",
    ),
    "layer": (
        "macros.upper.lef",
        "M3_m",
        "M3",
        f"ADDITIONAL_LEFS: {RAM}_upper: M3 is no layer of its tier",
    ),
    "cell": (
        "macros.upper.lib",
        f"cell ({RAM}_upper)",
        f"cell ({RAM})",
        f"ADDITIONAL_LIBS: {RAM}_upper: no such cell",
    ),
    "variable": (
        "config.mk",
        "export ADDITIONAL_LEFS_BOTTOM_COVER",
        "export OTHER",
        f"ADDITIONAL_LEFS_BOTTOM_COVER: {RAM}_bottom: no such master",
    ),
    "name of a file": (
        "config.mk",
        "macros.bottom.lib",
        "other.lib",
        "ADDITIONAL_LIBS: no file other.lib",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_memory_without_its_masters_is_seen(made, name):
    seeded, config = made
    file, old, new, said = BROKEN[name]
    text = (config / file).read_text()
    assert old in text
    (config / file).write_text(text.replace(old, new))
    assert said in seed_problems(seeded)


def test_a_seed_without_its_design_is_seen(made):
    seeded, config = made
    shutil.rmtree(config)
    assert seed_problems(seeded) == [f"no {config / 'config.mk'} for the memories"]


def platform_tech() -> str:
    """Technology LEF of both tiers' layers, face to face, and of the site."""
    lines = ["VERSION 5.8 ;", "UNITS", "  DATABASE MICRONS 2000 ;", "END UNITS"]
    stack = [f"M{number}" for number in range(1, 11)]
    ways = [way for _, way, *_ in LAYERS]
    stack += [f"M{number}_m" for number in range(9, 0, -1)]
    ways += [way for _, way, *_ in reversed(LAYERS[:9])]
    for index, (name, way) in enumerate(zip(stack, ways, strict=True)):
        if index:
            lines += [f"LAYER cut{index}", "  TYPE CUT ;", f"END cut{index}"]
        lines += [f"LAYER {name}", "  TYPE ROUTING ;", f"  DIRECTION {way} ;", "  PITCH 0.28 ;"]
        lines += ["  WIDTH 0.07 ;", f"END {name}"]
    lines += [f"SITE {seed.SITE}", "  CLASS CORE ;", "  SIZE 0.19 BY 1.4 ;", f"END {seed.SITE}"]
    return "\n".join([*lines, "END LIBRARY", ""])


@pytest.fixture
def stacked(made):
    """What the flow makes of the seed: a master for the tier of each instance, in its cells."""
    seeded, config = made
    folder = config.parent / "platform"
    folder.mkdir()
    library = replace(DESIGN.library, site=seed.SITE)
    names = [name for name, cell in library.cells.items() if not cell.macro]
    (folder / "tech.lef").write_text(platform_tech())
    for tier, layer in zip(TIERS, ("M1", "M1_m"), strict=True):
        cells = {f"{n}_{tier}": replace(library[n], name=f"{n}_{tier}") for n in names}
        own = replace(library, name=f"cells_{tier}", cells=cells)
        text = cells_lef(own, cells).replace("metal1", layer)
        (folder / f"cells.{tier}.lef").write_text(text)
        (folder / f"cells.{tier}.lib").write_text(write_liberty(own))
    sides = dict(line.split() for line in (seeded / "partition.txt").read_text().splitlines())
    for suffix, pattern in (("def", r"^(- )(\S+) (\S+)( ;)"), ("v", r"^(  )(\S+) (\S+)( \()")):
        text = (seeded / f"2_2_floorplan_io.{suffix}").read_text()

        def renamed(match, suffix=suffix):
            start, first, second, end = match.groups()
            name, cell = (first, second) if suffix == "def" else (second, first)
            if name not in sides:
                return match[0]
            cell += "_upper" if sides[name] == "0" else "_bottom"
            pair = (name, cell) if suffix == "def" else (cell, name)
            return f"{start}{' '.join(pair)}{end}"

        (folder / f"stack.{suffix}").write_text(re.sub(pattern, renamed, text, flags=re.M))
    assert f"{RAM}_upper" in (folder / "stack.def").read_text()
    return folder, config


@pytest.mark.parametrize("variable", STEPS)
def test_readers_of_layouts_find_the_masters(stacked, variable):
    folder, config = stacked
    lefs = [folder / "tech.lef", *(folder / f"cells.{tier}.lef" for tier in TIERS)]
    assert read_layouts([*lefs, *named(config, variable)], [folder / "stack.def"]) == []


def test_readers_of_layouts_miss_a_tier(stacked):
    folder, config = stacked
    lefs = [folder / "tech.lef", *(folder / f"cells.{tier}.lef" for tier in TIERS)]
    lefs += [config / "macros.lef", config / "macros.bottom.lef"]
    (unknown,) = read_layouts(lefs, [folder / "stack.def"])
    assert "Macro not found in LEF file" in unknown


def test_yosys_links_the_stack(stacked):
    folder, config = stacked
    liberties = [folder / f"cells.{tier}.lib" for tier in TIERS]
    liberties += named(config, "ADDITIONAL_LIBS")

    def link(*paths):
        reads = [f"read_liberty -lib -ignore_miss_func {path}" for path in paths]
        reads += [f"read_verilog {folder / 'stack.v'}", "hierarchy -check -top small"]
        log = folder / "log"
        run_yosys([*reads, "check -noinit -assert"], log, "link")
        return log.read_text()

    assert "Warning" not in link(*liberties)
    upper = config / "macros.upper.lib"
    with pytest.raises(SpecError, match=f"{RAM}_upper"):
        link(*(path for path in liberties if path != upper))


@pytest.mark.skipif(shutil.which("sta") is None, reason="OpenSTA is not installed")
def test_opensta_finds_the_slack_of_the_flat_netlist(stacked):
    folder, config = stacked
    (folder / "flat.v").write_text(verilog(DESIGN.netlist, DESIGN.library))
    (folder / "flat.lib").write_text(write_liberty(DESIGN.library))
    liberties = [folder / f"cells.{tier}.lib" for tier in TIERS]
    liberties += named(config, "ADDITIONAL_LIBS")
    flat, stack = (
        run_opensta(DESIGN.netlist, DESIGN.library, folder / file, files, 1.0)
        for file, files in (("flat.v", [folder / "flat.lib"]), ("stack.v", liberties))
    )
    assert RAM in flat.path and f"{RAM}_upper" in stack.path
    assert stack.slack_ns == pytest.approx(flat.slack_ns, abs=1e-6)
