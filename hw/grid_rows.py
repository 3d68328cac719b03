"""Counting through the rows that the tokens of a grid have in a memory."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class GridRows(wiring.Component):
    """Row of the token and part that come next, tokens row by row of the grid.

    Overview
    --------
    A token has ``parts`` rows (heads, or slices of channels), one after another. ``step`` moves on.

    Design
    ------
    Plain: row ``token * parts + part``; in a ``ring`` of fewer tokens the row wraps, and begins at
    0 again with each image. On a ``checkerboard``, tokens whose row and column of the grid add up
    to an even number are in one memory and the others in a second, both at row
    ``(y * ceil(width / 2) + x // 2) * parts + part``.

    ::

        step --> part --> x --> y          row, the first row of the token --> next row

    Latency and resources
    ---------------------
    Outputs are registers. Two row counters of ``ceil(log2(rows))`` bits and an incrementer.

    Parameters
    ----------
    grid : height and width
    parts : rows of a token
    checkerboard : tokens lie in two memories; else in one
    ring : tokens that the memory holds; all of the grid by default. Not with a checkerboard

    Members
    -------
    step : In, move on
    row : Out, row of the memory
    y, x : Out, place of the token
    odd : Out, y + x is odd: the token is in the second memory of a checkerboard
    last_part : Out, this is the last row of the token
    last : Out, this is the last row of the image
    """

    def __init__(
        self,
        grid: tuple[int, int],
        parts: int,
        *,
        checkerboard: bool = False,
        ring: int | None = None,
    ) -> None:
        self.grid, self.parts, self.checkerboard, self.ring = grid, parts, checkerboard, ring
        if checkerboard:
            self.rows = grid[0] * -(-grid[1] // 2) * parts
        else:
            self.rows = (ring or grid[0] * grid[1]) * parts
        super().__init__(
            {
                "step": In(1),
                "row": Out(range(self.rows)),
                "y": Out(range(grid[0])),
                "x": Out(range(grid[1])),
                "odd": Out(1),
                "last_part": Out(1),
                "last": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the counters."""
        m = Module()
        height, width = self.grid
        part, token_row = Signal(range(self.parts)), Signal(range(self.rows))
        last_x, last_y = self.x == width - 1, self.y == height - 1
        following = Signal(range(self.rows))
        m.d.comb += [
            self.odd.eq((self.y ^ self.x)[:1]),
            self.last_part.eq(part == self.parts - 1),
            self.last.eq(self.last_part & last_x & last_y),
            following.eq(Mux(self.row == self.rows - 1, 0, self.row + 1)),
        ]
        onward = following
        if self.checkerboard:
            # Two neighbours of a grid row have the same row number, one in each memory.
            shared = self.last_part & ~self.x[:1].any() & ~last_x
            onward = Mux(shared, token_row, following)
        with m.If(self.step):
            m.d.sync += [
                part.eq(Mux(self.last_part, 0, part + 1)),
                self.row.eq(Mux(self.last, 0, onward)),
            ]
            with m.If(self.last_part):
                m.d.sync += [token_row.eq(Mux(self.last, 0, onward)), self.x.eq(self.x + 1)]
                with m.If(last_x):
                    m.d.sync += [self.x.eq(0), self.y.eq(Mux(last_y, 0, self.y + 1))]
        return m
