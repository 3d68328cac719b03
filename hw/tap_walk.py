"""Tap walk (address generator): the loops of a convolution, a dense layer or the head."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .layer_config import ConfigSizes


def tap_layout(sizes: ConfigSizes) -> data.StructLayout:
    """Where a chunk lies, the weight row of its first entry, and whether it ends its group."""
    return data.StructLayout({"addr": sizes.addr, "row": sizes.row, "last": 1})


class TapWalk(wiring.Component):
    """Visit every tap of every output position.

    Overview
    --------
    One set of loops serves all layers, from the outside in: written position, output group,
    position of a pool window, row of taps, tap, chunk. A dense layer has one tap; the head is one
    position whose taps are all tokens. Taps outside the border are not visited.

    Design
    ------
    Addresses and weight rows only ever move by constants of the layer, so nothing is multiplied.
    ``top, left`` are the place of a written position's first tap, -1 in the padding::

        written position --> position in the window --> row of taps --> tap, chunk --> o
        (origin, top, left)  (cuts at the border)       (tap_line)      (addr, row)

    Latency and resources
    ---------------------
    The first tap is valid 3 cycles after ``start``, 4 at the upper border. A chunk a cycle; each
    row of taps costs 1 cycle more, each group (and each position of a pool window) 1 more, and 1
    more again at the upper border. About 12 adders of an address's width.

    Parameters
    ----------
    sizes : bits of the configuration

    Members
    -------
    o : Out, stream of :func:`tap_layout`
    start : In, begin the layer in ``config``
    config : In, :meth:`hw.layer_config.ConfigSizes.fetch_layout`, constant while the layer runs
    """

    def __init__(self, *, sizes: ConfigSizes) -> None:
        self.sizes = sizes
        super().__init__(
            {
                "o": Out(stream.Signature(tap_layout(sizes))),
                "start": In(1),
                "config": In(sizes.fetch_layout()),
            }
        )
        self._y, self._x = Signal(sizes.grid), Signal(sizes.grid)
        self._top, self._left = Signal(sizes.grid), Signal(sizes.grid)
        self._origin, self._line_origin = Signal(sizes.addr), Signal(sizes.addr)
        self._group, self._group_row = Signal(sizes.groups), Signal(sizes.row)
        self._window = Signal(data.StructLayout({"x": 1, "y": 1}))

    def elaborate(self, platform) -> Module:
        """Build the loops as one state machine."""
        m = Module()
        config, sizes, window = self.config, self.sizes, self._window
        cut_top, cut_bottom, cut_left, cut_right = (Signal() for _ in range(4))
        tap_y, tap_x, chunk = Signal(2), Signal(sizes.taps), Signal(sizes.chunks)
        tap_line, tap_line_row, tap_row = Signal(sizes.addr), Signal(sizes.row), Signal(sizes.row)
        addr, row = Signal(sizes.addr), Signal(sizes.row)

        place_y, place_x = Signal(sizes.grid), Signal(sizes.grid)
        border = (1 << sizes.grid) - 1  # -1 in a signal of that width
        last_tap, end_chunk, end_line = Signal(sizes.taps), Signal(), Signal()
        m.d.comb += [
            place_y.eq(self._top + Mux(window.y, config.stride, 0)),
            place_x.eq(self._left + Mux(window.x, config.stride, 0)),
            last_tap.eq(Mux(config.kernel3, Mux(cut_right, 1, 2), config.last_tap)),
            end_chunk.eq((chunk == config.last_chunk) & (tap_x == last_tap)),
            end_line.eq(~config.kernel3 | (tap_y == Mux(cut_bottom, 1, 2))),
            self.o.payload.addr.eq(addr),
            self.o.payload.row.eq(row),
            self.o.payload.last.eq(end_chunk & end_line),
        ]

        with m.FSM():
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += [
                    Cat(self._y, self._x, self._group, window).eq(0),
                    self._top.eq(Mux(config.kernel3, border, 0)),
                    self._left.eq(Mux(config.kernel3, border, 0)),
                    self._origin.eq(config.in_base),
                    self._line_origin.eq(config.in_base),
                    self._group_row.eq(config.weight_base),
                ]
                m.next = "POSITION"

            with m.State("POSITION"):
                outside = config.kernel3 & (place_y == border)
                m.d.sync += [
                    cut_left.eq(config.kernel3 & (place_x == border)),
                    cut_bottom.eq(place_y == config.bottom),
                    cut_right.eq(place_x == config.right),
                    tap_line.eq(
                        self._origin
                        + Mux(window.y, config.stride_y_addr, 0)
                        + Mux(window.x, config.stride_x_addr, 0)
                    ),
                    tap_line_row.eq(self._group_row),
                    tap_y.eq(outside),
                ]
                m.next = "LINE"
                with m.If(outside):
                    m.next = "SKIP LINE"

            with m.State("SKIP LINE"):
                m.d.sync += [
                    tap_line.eq(tap_line + config.line_addr),
                    tap_line_row.eq(tap_line_row + config.line_rows),
                ]
                m.next = "LINE"

            with m.State("LINE"):
                first_row = tap_line_row + Mux(cut_left, config.tap_rows, 0)
                m.d.sync += [
                    addr.eq(tap_line + Mux(cut_left, config.position_addr, 0)),
                    row.eq(first_row),
                    tap_row.eq(first_row),
                    tap_x.eq(cut_left),
                    chunk.eq(0),
                ]
                m.next = "TAPS"

            with m.State("TAPS"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    # Neighbouring chunks and neighbouring positions lie in neighbouring rows.
                    m.d.sync += [
                        addr.eq(addr + 1),
                        row.eq(row + config.chunk_rows),
                        chunk.eq(chunk + 1),
                    ]
                    with m.If(chunk == config.last_chunk):
                        m.d.sync += [
                            chunk.eq(0),
                            tap_x.eq(tap_x + 1),
                            tap_row.eq(tap_row + config.tap_rows),
                            row.eq(tap_row + config.tap_rows),
                        ]
                    with m.If(end_chunk):
                        m.d.sync += [
                            tap_y.eq(tap_y + 1),
                            tap_line.eq(tap_line + config.line_addr),
                            tap_line_row.eq(tap_line_row + config.line_rows),
                        ]
                        m.next = "LINE"
                        with m.If(end_line):
                            m.next = "POSITION"
                            with m.If(config.pool):
                                m.d.sync += window.as_value().eq(window.as_value() + 1)
                            with m.If(~config.pool | window.as_value().all()):
                                self._next_group(m)
        return m

    def _next_group(self, m: Module) -> None:
        config = self.config
        m.d.sync += [
            self._group.eq(self._group + 1),
            self._group_row.eq(self._group_row + config.group_rows),
        ]
        with m.If(self._group == config.last_group):
            m.d.sync += [
                self._group.eq(0),
                self._group_row.eq(config.weight_base),
                self._x.eq(self._x + 1),
                self._left.eq(self._left + config.step),
                self._origin.eq(self._origin + config.step_x_addr),
            ]
            with m.If(self._x == config.last_x):
                m.d.sync += [
                    self._x.eq(0),
                    self._y.eq(self._y + 1),
                    self._left.eq(Mux(config.kernel3, -1, 0)),
                    self._top.eq(self._top + config.step),
                    self._origin.eq(self._line_origin + config.step_y_addr),
                    self._line_origin.eq(self._line_origin + config.step_y_addr),
                ]
                with m.If(self._y == config.last_y):
                    m.next = "IDLE"
