"""ECP5 as a synthesis target without a board."""


class Ecp5:
    """Stands for a board's platform: what blocks may ask of it.

    Members
    -------
    family : as of Amaranth's Lattice platforms, by which a block chooses cells
    """

    family = "ecp5"
