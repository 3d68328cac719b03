"""Steady temperature of a stack: a grid of resistances a tier, heat leaving through the package.

The bottom tier lies on the package; it and the top one are 20 um of silicon, those between, which
vias go through, as thin as :mod:`synth.asic.wires` has them. A bonding layer joins them. Heat
spreads within a tier through its silicon, between tiers through the bonding layer, and from the
bottom tier to the ambient through a resistance for each area that stands for package and board.
For comparing stacks with one another; HotSpot reads the exported floorplan.
"""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve

from synth.asic.wires import PIERCED_UM

AMBIENT_C = 45.0
SILICON_W_MK = 150.0
TIER_UM = 20.0
# Hybrid bonding layer: oxide with copper pads.
BOND_W_MK, BOND_M = 2.0, 2e-6
# Package and board without a fan: 1 K cm2 / W.
PACKAGE_KM2_W = 1e-4


def tier_um(tier: int, tiers: int) -> float:
    """Silicon of a tier in um."""
    return PIERCED_UM if 0 < tier < tiers - 1 else TIER_UM


def temperatures(power_w: np.ndarray, width_um: float, height_um: float) -> np.ndarray:
    """Temperature of each grid cell in degrees C.

    Parameters
    ----------
    power_w : float [tiers, rows, columns]
    width_um, height_um : outline of a tier
    """
    tiers, rows, columns = power_w.shape
    step_x, step_y = width_um * 1e-6 / columns, height_um * 1e-6 / rows
    number = np.arange(power_w.size).reshape(power_w.shape)
    thick = np.array([tier_um(tier, tiers) * 1e-6 for tier in range(tiers)])[:, None, None]
    sheet = SILICON_W_MK * thick
    between = BOND_M / BOND_W_MK + (thick[:-1] + thick[1:]) / 2 / SILICON_W_MK
    links = [
        (number[:, :, :-1], number[:, :, 1:], sheet * step_y / step_x),
        (number[:, :-1], number[:, 1:], sheet * step_x / step_y),
        (number[:-1], number[1:], step_x * step_y / between),
    ]
    a = np.concatenate([one.ravel() for one, _, _ in links])
    b = np.concatenate([other.ravel() for _, other, _ in links])
    flow = np.concatenate([np.broadcast_to(value, one.shape).ravel() for one, _, value in links])
    size = power_w.size
    matrix = coo_matrix((-flow, (a, b)), shape=(size, size))
    matrix = (matrix + matrix.T).tocsr()
    leaving = np.zeros(size)
    leaving[number[0].ravel()] = step_x * step_y / PACKAGE_KM2_W
    total = np.bincount(a, flow, minlength=size) + np.bincount(b, flow, minlength=size) + leaving
    matrix = matrix + coo_matrix((total, (range(size), range(size))), shape=(size, size)).tocsr()
    return AMBIENT_C + spsolve(matrix.tocsc(), power_w.ravel()).reshape(power_w.shape)
