"""HotSpot's floorplan, power and layer files: each tier is a grid of blocks.

HotSpot puts spreader and sink on the last layer, which is the thermal interface material. Heat
leaves our stack through tier 0, so layers go from the top tier down to tier 0 and its interface.
Powers are in the order of the layers, as HotSpot reads them.
"""

from pathlib import Path

import numpy as np

from ..placement.stack import Outline
from ..thermal import BOND_M, BOND_W_MK, SILICON_W_MK, tier_um

# J / (m3 K).
_SILICON_HEAT, _BOND_HEAT = 1.75e6, 2.0e6
# Interface to the spreader: J / (m3 K), m K / W and m of HotSpot's own examples.
_INTERFACE = (4e6, 0.25, 20e-6)


def write(power_w: np.ndarray, outline: Outline, folder: Path) -> None:
    """Write ``tier<N>.flp``, ``bond.flp``, ``tim.flp``, ``stack.lcf`` and ``stack.ptrace``.

    Parameters
    ----------
    power_w : float [tiers, rows, columns], W of each block
    outline : of a tier
    """
    tiers, rows, columns = power_w.shape
    width, height = outline.width * 1e-6 / columns, outline.height * 1e-6 / rows
    names, layers = [], []
    for tier in reversed(range(tiers)):
        blocks = [
            (f"t{tier}_{row}_{column}", column * width, row * height)
            for row in range(rows)
            for column in range(columns)
        ]
        (folder / f"tier{tier}.flp").write_text(
            "".join(
                f"{name}\t{width:.9f}\t{height:.9f}\t{x:.9f}\t{y:.9f}\n" for name, x, y in blocks
            )
        )
        names += [name for name, _, _ in blocks]
        layers.append(
            (True, _SILICON_HEAT, 1 / SILICON_W_MK, tier_um(tier, tiers) * 1e-6, f"tier{tier}.flp")
        )
        if tier:
            layers.append((False, _BOND_HEAT, 1 / BOND_W_MK, BOND_M, "bond.flp"))
    layers.append((False, *_INTERFACE, "tim.flp"))
    for whole in ("bond", "tim"):
        (folder / f"{whole}.flp").write_text(
            f"{whole}\t{outline.width * 1e-6:.9f}\t{outline.height * 1e-6:.9f}\t0.0\t0.0\n"
        )
    text = []
    for number, (heats, capacity, resistivity, thickness, floorplan) in enumerate(layers):
        text += [
            f"{number}",
            "Y",
            "Y" if heats else "N",
            f"{capacity:g}",
            f"{resistivity:g}",
            f"{thickness:g}",
            floorplan,
            "",
        ]
    (folder / "stack.lcf").write_text("\n".join(text))
    values = "\t".join(f"{watt:.9f}" for watt in power_w[::-1].ravel())
    (folder / "stack.ptrace").write_text("\t".join(names) + "\n" + values + "\n")
