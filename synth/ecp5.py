"""ECP5 as a synthesis target without a board."""


class PlainFpga:
    """An FPGA of which no block chooses a cell.

    Members
    -------
    family : none
    """

    family = ""


class Ecp5:
    """Stands for a board's platform: what blocks may ask of it.

    Members
    -------
    family : as of Amaranth's Lattice platforms, by which a block chooses cells
    """

    family = "ecp5"
