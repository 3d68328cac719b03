"""ECP5 as a synthesis target: what blocks may ask of it, and how its cells are counted."""

from collections.abc import Mapping

# A carry cell is two LUT4s with a carry chain; a LUT RAM cell holds 16 rows of 4 bits in the LUT4s
# of two slices and takes a third for its write port.
_LUT4S = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}


class Ecp5:
    """Stands for a board's platform where a block is mapped without a board.

    Members
    -------
    family : as of Amaranth's Lattice platforms, by which a block chooses cells
    """

    family = "ecp5"


def lut4s(cells: Mapping[str, int]) -> int:
    """LUT4s that cells take, from their numbers by type."""
    return sum(count * _LUT4S.get(kind, 0) for kind, count in cells.items())
