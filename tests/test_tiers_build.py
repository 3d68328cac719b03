"""The whole way from a synthesised netlist to figures and files, on a small design."""

import filecmp
from pathlib import Path

import pytest

from golden.metrics import read_metrics
from golden.spec import SpecError, load_preset
from synth.asic.cells import standard_cells
from synth.asic.power import Activity
from synth.asic.synthesis import Options as Products
from synth.asic.synthesis import asic_dir, write_products
from synth.tiers import placement
from synth.tiers.assign import FOLDED, Options
from synth.tiers.build import Stacking, build, load_design, prove_style, reference, tiers_dir
from synth.tiers.checks import file_problems
from tests.tiers_design import small_design

DESIGN = small_design()
# Two small macros need more room around them than large ones.
PRESET = load_preset("tiny").replace(asic__utilisation=0.6)
STYLE = "memory-on-logic"
KEYS = (
    *("cut_nets", "balance", "bonds", "footprint_um2", "hpwl_um", "memory_access_ps"),
    *("power_mw", "peak_c"),
)


@pytest.fixture
def synthesised(tmp_path, monkeypatch):
    """Folder with the small design's products as those of a preset."""
    monkeypatch.chdir(tmp_path)
    folder = asic_dir(PRESET)
    folder.mkdir(parents=True)
    library = DESIGN.library
    write_products(DESIGN.netlist, standard_cells(), library, Products(), folder)
    return tmp_path


def differing(one: Path, other: Path) -> list[str]:
    """Files that only one folder has, or that differ."""
    compared = filecmp.dircmp(one, other)
    _, changed, unreadable = filecmp.cmpfiles(one, other, compared.common_files, shallow=False)
    found = [*compared.left_only, *compared.right_only, *changed, *unreadable]
    for name in compared.common_dirs:
        found += [f"{name}/{file}" for file in differing(one / name, other / name)]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("style", [STYLE, FOLDED])
def test_build_twice_check_and_prove(synthesised, style):
    said = []
    folder = build(PRESET, Stacking(style), said.append)
    metrics = read_metrics(PRESET.name)
    assert {f"tiers.{name}.{key}" for name in ("2d", style) for key in KEYS} <= set(metrics)
    assert metrics["tiers.2d.balance"] == 1.0 and metrics["tiers.2d.bonds"] == 0
    assert metrics["tiers.2d.memory_access_ps"] > metrics["tiers.no-wires.memory_access_ps"]
    assert any(line.endswith("activity.json: power is for uniform activity") for line in said)
    assert file_problems(folder) == []
    assert prove_style(PRESET, style).macros == prove_style(PRESET, "2d").macros == 2
    assert read_metrics(PRESET.name)["tiers.2d.equivalent"] == 1
    # A second time, with nets that never switch: all files but the power are the same.
    both = tiers_dir(PRESET, "2d").parent
    both.rename(synthesised / "before")
    Activity({}, {}).save(asic_dir(PRESET) / "activity.json")
    build(PRESET, Stacking(style), said.append)
    assert read_metrics(PRESET.name)["tiers.2d.power_mw"] < metrics["tiers.2d.power_mw"]
    assert set(differing(synthesised / "before", both)) == {
        *(f"{style}/report.json", f"{style}/hotspot/stack.ptrace"),
    }


@pytest.mark.slow
def test_reference_is_kept_until_the_placer_changes(synthesised, monkeypatch):
    design, said = load_design(PRESET), []
    reference(PRESET, design, said.append)
    reference(PRESET, design, said.append)
    assert len(said) == 1
    monkeypatch.setattr(placement, "__file__", str(synthesised / "another" / "__init__.py"))
    reference(PRESET, design, said.append)
    assert len(said) == 2


@pytest.mark.parametrize(
    ("spec", "stacking", "message"),
    [
        (
            PRESET,
            Stacking("cake"),
            r"^style cake: must be one of .*mincut, folded$",
        ),
        (PRESET.replace(asic__pitch_um=50.0), Stacking(STYLE), r"has room for \d+ x \d+ = \d+ at"),
        (
            PRESET,
            Stacking("mincut", Options(low=0.6, high=0.7)),
            r"^balance is 60 to 70 % a part: 2 parts must be able to hold 50 % each$",
        ),
        (
            PRESET,
            Stacking("logic-on-logic", Options(tiers=3)),
            r"has 2 tiers, not 3: memory-on-logic, mincut and folded may have more$",
        ),
    ],
)
def test_nothing_is_left_of_what_cannot_be_built(synthesised, spec, stacking, message):
    with pytest.raises(SpecError, match=message):
        build(spec, stacking, lambda text: None)
    assert [path.name for path in (synthesised / "build" / PRESET.name).iterdir()] == ["asic"]
