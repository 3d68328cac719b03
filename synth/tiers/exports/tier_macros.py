"""Memories for the 3D steps of TaiWei-Pin-3D: a master for each tier, and a cover of each.

The flow gives the master of an instance a suffix for the tier that the partition names, and stops
if there is no such master. A tier is worked on with the LEF files of its own masters, and with
those of the other tier's masters as covers, which take no room. Pins of the upper tier are on the
layers ``M1_m`` to ``M4_m``, those of the bottom tier on ``M1`` to ``M4``. Each memory has masters
for both tiers, as the flow may turn them over: at 03fbee6 it does where the bottom tier has at
least twice as many instances. The DEF of the seed has masters without a suffix, so they are among
the files of the first step too.

Names, layers, classes and variables are those of ``YWJ226/TaiWei-Pin-3D`` at commit e8f69737
(``Makefile``, ``scripts_openroad/generate_3d_views.tcl``, ``platforms/nangate45_3D``,
``designs/nangate45_3D/ariane133/config.mk``); ``CODA-Team/TaiWei-Pin-3D`` at commit 03fbee6 has
the same ones.
"""

from collections.abc import Sequence
from dataclasses import replace

from synth.asic.cells import Library
from synth.asic.lef import MacroView, cells_lef
from synth.asic.liberty import write_liberty

# Layers of a tier on nangate45_3D by number; those without a tier are nangate45's.
LAYERS = {"": "M{}", "bottom": "M{}", "upper": "M{}_m"}

LEF, LIBERTY = "macros.lef", "macros.lib"
_BOTTOM, _UPPER = "macros.bottom.lef", "macros.upper.lef"
_BOTTOM_COVER, _UPPER_COVER = "macros.bottom.cover.lef", "macros.upper.cover.lef"

# Files of the flow's variables, in the order of its own designs: bottom before upper.
VARIABLES = {
    "ADDITIONAL_LEFS": (LEF, _BOTTOM, _UPPER),
    "ADDITIONAL_LEFS_UPPER_COVER": (_BOTTOM, _UPPER_COVER),
    "ADDITIONAL_LEFS_BOTTOM_COVER": (_BOTTOM_COVER, _UPPER),
    "ADDITIONAL_LIBS": (LIBERTY, "macros.bottom.lib", "macros.upper.lib"),
}


def macro_files(library: Library, names: Sequence[str]) -> dict[str, str]:
    """Write LEF of memories without a tier, LEF, covers and Liberty for each tier, by file name.

    The Liberty without a tier, :data:`LIBERTY`, is the one that the netlist was made with.

    Parameters
    ----------
    library : has the memories
    names : of the memories, without a suffix

    Raises
    ------
    SpecError
        If the library lacks one of them.
    """
    files = {LEF: cells_lef(library, names, MacroView(LAYERS[""], blocked=True))}
    for tier in ("bottom", "upper"):
        cells = {f"{name}_{tier}": replace(library[name], name=f"{name}_{tier}") for name in names}
        # A reader of several Liberty files tells them apart by the library's name.
        own = replace(library, name=f"{library.name}_{tier}", cells=cells)
        for kind, cover in (("", False), (".cover", True)):
            view = MacroView(LAYERS[tier], cover=cover, blocked=True)
            files[f"macros.{tier}{kind}.lef"] = cells_lef(own, cells, view)
        files[f"macros.{tier}.lib"] = write_liberty(own)
    return files


def config_lines() -> list[str]:
    """Lines of the 3D configuration that name all these files, beside it in ``DESIGN_DIR``."""
    return [
        f"export {variable} = {' '.join(f'$(DESIGN_DIR)/{file}' for file in files)}"
        for variable, files in VARIABLES.items()
    ]
