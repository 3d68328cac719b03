"""Floorplan of each tier: PNG to look at, GDS for KLayout."""

from pathlib import Path

import numpy as np

from golden.sections import BOND_UM

from .placement.stack import Placement

# Layers of the GDS: outline, macros, cells by block from 10 on, bonds.
_OUTLINE, _MACROS, _CELLS, _BONDS = 1, 2, 10, 100


def blocks(placement: Placement) -> tuple[list[str], np.ndarray]:
    """Names of the largest blocks, and the block of each instance; the last is all others."""
    design = placement.design
    paths = ["/".join(one.hier[:2]) or "top" for one in design.netlist.instances]
    cells = ~design.macro[: design.instances]
    names, number = np.unique(paths, return_inverse=True)
    area = np.bincount(number, design.area[: design.instances] * cells)
    ranked = np.argsort(-area, kind="stable")[:9]
    place = np.full(len(names), len(ranked))
    place[ranked] = np.arange(len(ranked))
    return [*names[ranked], "others"], place[number]


def draw(placement: Placement, folder: Path, title: str) -> None:
    """Write ``tier<N>.png``: macros in grey with their names, cells by block, bonds as dots."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import to_rgba_array
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    design, outline = placement.design, placement.outline
    names, block = blocks(placement)
    colours = [f"C{index}" for index in range(len(names) - 1)] + ["#b0b0b0"]
    for tier in range(placement.count):
        figure = Figure(figsize=(9, 7), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        members = np.flatnonzero(placement.tiers == tier)
        cells = members[~design.macro[members]]
        patches = [
            Rectangle(
                (placement.x[cell], placement.y[cell]), design.width[cell], design.height[cell]
            )
            for cell in cells
        ]
        rgba = to_rgba_array([colours[number] for number in block[cells]] or ["C0"])
        axes.add_collection(PatchCollection(patches, facecolors=rgba, linewidths=0))
        for cell in members[design.macro[members]]:
            x, y, width, height = (
                *(placement.x[cell], placement.y[cell]),
                *(design.width[cell], design.height[cell]),
            )
            axes.add_patch(Rectangle((x, y), width, height, fc="#dde3ec", ec="#44506a", lw=0.8))
            text = _label(design.netlist.instances[cell].name)
            axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=5)
        near = (placement.crossing.lower == tier) | (placement.crossing.lower == tier - 1)
        bonds = int(near.sum())
        axes.plot(placement.bond_x[near], placement.bond_y[near], "k.", ms=1.2, alpha=0.6)
        used = sorted(set(block[cells].tolist()))
        handles = [Rectangle((0, 0), 1, 1, fc=colours[number]) for number in used]
        if handles:
            figure.legend(
                handles, [names[number] for number in used], loc="outside right", fontsize=7
            )
        axes.set(xlim=(0, outline.width), ylim=(0, outline.height), aspect="equal")
        axes.set(xlabel="um", title=f"{title}, tier {tier}: {len(members)} cells, {bonds} bonds")
        figure.savefig(folder / f"tier{tier}.png", metadata={"Software": None})


def _label(name: str) -> str:
    """Name of a macro: the block that it belongs to, and which part of its memory it is."""
    *path, part = (each for each in name.split("__") if each not in ("storage", "memory"))
    return "\n".join([" ".join(path[-2:]), part])


def write_gds(placement: Placement, path: Path) -> None:
    """Write one GDS with a top cell for each tier; without time stamps."""
    import klayout.db as kdb

    design, outline = placement.design, placement.outline
    _, block = blocks(placement)
    layout = kdb.Layout()
    layout.dbu = 0.001
    for tier in range(placement.count):
        top = layout.create_cell(f"tier{tier}")

        def box(layer: int, x, y, width, height, top=top) -> None:
            top.shapes(layout.layer(layer, 0)).insert(kdb.DBox(x, y, x + width, y + height))

        box(_OUTLINE, 0.0, 0.0, outline.width, outline.height)
        for cell in np.flatnonzero(placement.tiers == tier).tolist():
            layer = _MACROS if design.macro[cell] else _CELLS + int(block[cell])
            box(
                layer,
                *(float(placement.x[cell]), float(placement.y[cell])),
                *(float(design.width[cell]), float(design.height[cell])),
            )
        for bond in np.flatnonzero(placement.crossing.lower == tier).tolist():
            x, y = float(placement.bond_x[bond]), float(placement.bond_y[bond])
            box(_BONDS, x - BOND_UM / 2, y - BOND_UM / 2, BOND_UM, BOND_UM)
    options = kdb.SaveLayoutOptions()
    options.gds2_write_timestamps = False
    layout.write(str(path), options)
