"""Seed directory of TaiWei-Pin-3D: floorplan with pins, netlist, constraints and partition.

The cells are the platform's: the rows name its site, and the configuration its LEF files. On the
3D platform each master has a suffix for its tier, and each tier's macros have a block and a cover
LEF. The memories' files here have no tiers, so the 3D steps of a design with memories need such
files from elsewhere, in place of these.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from golden.spec import SpecError
from synth.asic.netlist import verilog

from ..placement.stack import Placement
from .deffile import flat_def
from .kit import Kit

PLATFORM = "nangate45_3D"
SITE = "FreePDK45_38x28_10R_NP_162NW_34O"
# The flow numbers tiers from the top.
UPPER, LOWER = 0, 1


def write(
    placement: Placement, kit: Kit, folder: Path, *, period_ps: float, utilisation: float
) -> None:
    """Write ``results/.../seed`` and ``designs/.../config*.mk`` below a folder.

    The platform has the cells; the memories' LEF and Liberty are written beside the configuration.

    Raises
    ------
    SpecError
        If there are not two tiers.
    """
    design = placement.design
    if placement.count != 2:
        raise SpecError(f"TaiWei-Pin-3D stacks 2 tiers, not {placement.count}")
    name = design.netlist.name
    seed = folder / "results" / PLATFORM / name / "seed"
    config = folder / "designs" / PLATFORM / name
    seed.mkdir(parents=True)
    config.mkdir(parents=True)
    (seed / "1_synth.sdc").write_text(sdc(name, period_ps))
    library = replace(design.library, site=SITE)
    floorplan = replace(placement, design=replace(design, library=library))
    (seed / "2_2_floorplan_io.def").write_text(flat_def(floorplan, placed=False))
    (seed / "2_2_floorplan_io.v").write_text(verilog(design.netlist, design.library))
    (seed / "partition.txt").write_text(partition_text(placement))
    macros = kit.macros() if design.macro.any() else {}
    for file, text in macros.items():
        (config / file).write_text(text)
    percent = round(100 * utilisation)
    (config / "config2d.mk").write_text(_config_2d(name, percent, list(macros)))
    (config / "config.mk").write_text(_config_3d(name, percent, list(macros)))


def partition_text(placement: Placement) -> str:
    """Two tokens a line: instance, and 0 for the upper tier or 1 for the lower."""
    sides = [UPPER if tier else LOWER for tier in placement.tiers]
    names = [one.name for one in placement.design.netlist.instances]
    return "".join(f"{name} {side}\n" for name, side in zip(names, sides, strict=True))


def sdc(name: str, period_ps: float, clocks: Sequence[str] = ("clk",)) -> str:
    """Constraints in ns, as on nangate45; ``clocks`` are the ports where the clock enters."""
    period = period_ps / 1000
    ports = f" [get_ports {{{' '.join(clocks)}}}]" if clocks else ""
    return (
        f"current_design {name}\n"
        f"create_clock -name clk -period {period:.4f}{ports}\n"
        f"set_input_delay {0.2 * period:.4f} -clock clk"
        " [all_inputs -no_clocks]\n"
        f"set_output_delay {0.2 * period:.4f} -clock clk [all_outputs]\n"
    )


def _config_2d(name: str, percent: int, macros: list[str]) -> str:
    lines = [
        f"export DESIGN_NAME = {name}",
        f"export PLATFORM = {PLATFORM.removesuffix('_3D')}",
        "export VERILOG_FILES = $(RESULTS_DIR)/seed/2_2_floorplan_io.v",
        "export SYNTH_NETLIST_FILES = $(VERILOG_FILES)",
        "export SDC_FILE = $(RESULTS_DIR)/seed/1_synth.sdc",
        f"export CORE_UTILIZATION = {percent}",
        "export CORE_MARGIN = 0",
        "export ASPECT_RATIO = 1",
        "export PLACE_DENSITY_LB_ADDON = 0.05",
        "export TNS_END_PERCENT = 100",
    ]
    return "\n".join([*lines, *macro_lines(macros), ""])


def macro_lines(macros: list[str], kinds: Sequence[str] = ("LEFS",)) -> list[str]:
    """Lines of a configuration that name the macros' LEF and Liberty; none without macros."""
    if not macros:
        return []
    lef, liberty = macros
    return [
        *(f"export ADDITIONAL_{kind} = $(DESIGN_DIR)/{lef}" for kind in kinds),
        f"export ADDITIONAL_LIBS = $(DESIGN_DIR)/{liberty}",
    ]


def _config_3d(name: str, percent: int, macros: list[str]) -> str:
    lines = [
        f"export DESIGN_NAME = {name}",
        f"export PLATFORM = {PLATFORM}",
        f"export CORE_UTILIZATION = {percent}",
        "export CORE_MARGIN = 0",
        f"export SC_LEF_UPPER_COVER = {_lef('bottom')} {_lef('upper', '.cover')}",
        f"export SC_LEF_BOTTOM_COVER = {_lef('bottom', '.cover')} {_lef('upper')}",
        "export MACRO_PLACE_HALO_UPPER = 1.4 1.4",
        "export MACRO_PLACE_HALO_BOTTOM = 1.4 1.4",
    ]
    if macros:
        lines += [
            "# The memories have no tier: the 3D steps need a LEF and Liberty with masters *_upper",
            "# and *_bottom, and a LEF of CLASS COVER for each tier, in place of these.",
        ]
    kinds = ("LEFS", "LEFS_UPPER_COVER", "LEFS_BOTTOM_COVER")
    return "\n".join([*lines, *macro_lines(macros, kinds), ""])


def _lef(tier: str, kind: str = "") -> str:
    """Cells of a tier on the platform."""
    return f"$(PLATFORM_DIR)/lef_{tier}/NangateOpenCellLibrary.macro.mod.{tier}{kind}.lef"
