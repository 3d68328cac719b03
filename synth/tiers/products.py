"""Files of a placed stack: a directory a format, checked as they are written."""

import shutil
from pathlib import Path

import numpy as np

from golden.sections import Asic
from golden.spec import SpecError

from . import pictures
from .exports import (
    check3dblox,
    hotspot,
    hypergraphs,
    iccad2022,
    open3dflow,
    seed,
    threedblox,
)
from .exports.kit import Kit
from .figures import Figures
from .placement.stack import Placement
from .verilog import tier_verilog


def write_all(
    placed: Placement,
    kit: Kit,
    figures: Figures,
    sizes: Asic,
    made: Path,
    *,
    name: str,
    period_ps: float,
    fix_memories: bool,
) -> None:
    """Write every format into its own directory below ``made``.

    Parameters
    ----------
    placed, figures : the stack, and its figures
    kit : what its netlist links against
    sizes : utilisation and pitch, for the flows' configurations
    name : of the stack, for the pictures
    period_ps : of the clock, for the constraints
    fix_memories : whether memories are in the fix file

    Raises
    ------
    SpecError
        If a check of the written files fails.
    """
    design = placed.design
    folders = {name: made / name for name in ("hypergraph", "3dblox", "hotspot", "def", "pictures")}
    if placed.count == 2:
        folders |= {name: made / name for name in ("pin3d", "iccad2022", "open3dflow")}
    for folder in folders.values():
        folder.mkdir()
    write_verilog(placed, made / "verilog")
    hypergraphs.write(design, placed.tiers, folders["hypergraph"], fix_memories=fix_memories)
    counted = hypergraphs.recount(folders["hypergraph"])
    crossing = len(np.unique(placed.crossing.net))
    if counted != crossing:
        raise SpecError(f"the files' cut is {counted}, the placement's {crossing}: a bug")
    threedblox.write(placed, kit, folders["3dblox"], period_ps=period_ps)
    broken = check3dblox.check(folders["3dblox"] / "stack.3dbx")
    if broken:
        raise SpecError(f"the 3DBlox package breaks {len(broken)} rules, first: {broken[0]}")
    hotspot.write(figures.power_w, placed.outline, folders["hotspot"])
    for file in [f"tier{tier}.def" for tier in range(placed.count)]:
        shutil.copy(folders["3dblox"] / file, folders["def"] / file)
    pictures.draw(placed, folders["pictures"], name)
    pictures.write_gds(placed, folders["pictures"] / "stack.gds")
    if placed.count == 2:
        seed.write(
            placed, kit, folders["pin3d"], period_ps=period_ps, utilisation=sizes.utilisation
        )
        iccad2022.write(
            placed,
            folders["iccad2022"],
            utilisation=sizes.utilisation,
            pitch=sizes.pitch_um,
        )
        open3dflow.write(placed, kit, folders["open3dflow"], period_ps=period_ps)


def write_verilog(placed: Placement, folder: Path) -> None:
    """Write a module for each tier and the top that joins them."""
    folder.mkdir()
    for name, text in tier_verilog(placed.design, placed.tiers).items():
        (folder / name).write_text(text)
