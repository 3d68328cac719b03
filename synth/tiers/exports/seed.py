"""Seed directory of TaiWei-Pin-3D: floorplan with pins, netlist, constraints and partition.

The cells are the platform's: the rows name its site, the pins its layers, and the configuration
its LEF files. The memories are ours; :mod:`.tier_macros` writes them for both tiers.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from golden.spec import SpecError
from synth.asic.netlist import verilog

from ..placement.stack import Placement
from .deffile import PIN_LAYER, flat_def
from .kit import Kit
from .tier_macros import LAYERS, LEF, LIBERTY, config_lines, macro_files

PLATFORM = "nangate45_3D"
SITE = "FreePDK45_38x28_10R_NP_162NW_34O"
# The flow numbers tiers from the top.
UPPER, LOWER = 0, 1


def write(
    placement: Placement, kit: Kit, folder: Path, *, period_ps: float, utilisation: float
) -> None:
    """Write ``results/.../seed`` and ``designs/.../config*.mk`` below a folder.

    The platform has the cells; the memories' LEF and Liberty are written beside the configuration,
    for each tier and without one.

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
    # Our layer of the ports, as the platform calls it.
    layer = LAYERS[""].format(PIN_LAYER.removeprefix("metal"))
    text = flat_def(floorplan, placed=False, pin_layer=layer)
    (seed / "2_2_floorplan_io.def").write_text(text)
    (seed / "2_2_floorplan_io.v").write_text(verilog(design.netlist, design.library))
    (seed / "partition.txt").write_text(partition_text(placement))
    macros = sorted(cell for cell in design.netlist.cells() if library[cell].macro)
    if macros:
        _, liberty = kit.macros().values()
        for file, text in {**macro_files(library, macros), LIBERTY: liberty}.items():
            (config / file).write_text(text)
    percent = round(100 * utilisation)
    flat, tiers = _config_2d(name, percent), _config_3d(name, percent)
    if macros:
        # The flow itself names the folder of all designs alone.
        home = f"DESIGN_DIR = $(DESIGN_HOME)/{PLATFORM}/{name}"
        flat += [home, *macro_lines([LEF, LIBERTY])]
        tiers += [home, *config_lines()]
    (config / "config2d.mk").write_text("\n".join([*flat, ""]))
    (config / "config.mk").write_text("\n".join([*tiers, ""]))


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


def _config_2d(name: str, percent: int) -> list[str]:
    seed = f"$(WORK_HOME)/results/{PLATFORM}/{name}/seed"
    return [
        f"export DESIGN_NAME = {name}",
        f"export PLATFORM = {PLATFORM.removesuffix('_3D')}",
        f"export VERILOG_FILES = {seed}/2_2_floorplan_io.v",
        "export SYNTH_NETLIST_FILES = $(VERILOG_FILES)",
        f"export SDC_FILE = {seed}/1_synth.sdc",
        f"export CORE_UTILIZATION = {percent}",
        "export CORE_MARGIN = 0",
        "export ASPECT_RATIO = 1",
        "export PLACE_DENSITY_LB_ADDON = 0.05",
        "export TNS_END_PERCENT = 100",
    ]


def macro_lines(macros: list[str]) -> list[str]:
    """Lines of a configuration that name the macros' LEF and Liberty; none without macros."""
    if not macros:
        return []
    lef, liberty = macros
    return [
        f"export ADDITIONAL_LEFS = $(DESIGN_DIR)/{lef}",
        f"export ADDITIONAL_LIBS = $(DESIGN_DIR)/{liberty}",
    ]


def _config_3d(name: str, percent: int) -> list[str]:
    return [
        f"export DESIGN_NAME = {name}",
        f"export PLATFORM = {PLATFORM}",
        f"export CORE_UTILIZATION = {percent}",
        "export CORE_MARGIN = 0",
        f"export SC_LEF_UPPER_COVER = {_lef('bottom')} {_lef('upper', '.cover')}",
        f"export SC_LEF_BOTTOM_COVER = {_lef('bottom', '.cover')} {_lef('upper')}",
        "export MACRO_PLACE_HALO_UPPER = 1.4 1.4",
        "export MACRO_PLACE_HALO_BOTTOM = 1.4 1.4",
    ]


def _lef(tier: str, kind: str = "") -> str:
    """Cells of a tier on the platform."""
    return f"$(PLATFORM_DIR)/lef_{tier}/NangateOpenCellLibrary.macro.mod.{tier}{kind}.lef"
