"""Dispatcher: tokens to the tiles whose experts serve them."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .fork import Fork
from .layouts import chunk_layout, routes_layout, token_layout


class Dispatcher(wiring.Component):
    """Send each token to every tile that has an expert for it, and to no other.

    Overview
    --------
    Tokens come in order and go to tiles that work on different ones at once. A tile that has no
    room makes the dispatcher wait: no token is dropped. Layers that read what the same expert made
    get the token's routes alone, for its spikes lie in the tile.

    Design
    ------
    ::

        routes read --> [routes, mask] --+
                                         v
        i ----------------------------> Fork --> o[0], o[1], ...

    Latency and resources
    ---------------------
    The first chunk leaves 3 cycles after ``start``; then ``chunks + 2`` cycles a token, without
    chunks 3, if no tile stalls. A register of a token's routes, and :class:`hw.fork.Fork`.

    Parameters
    ----------
    tiles : E
    experts : of all tiles; a multiple of ``tiles``
    tokens : N
    entries, time_steps, row_bits : of the chunks, see :func:`hw.layouts.chunk_layout`
    route_bits : bits of an expert in the route storage
    token_rows : rows of counts of a token

    Members
    -------
    i : In, stream of :func:`hw.layouts.chunk_layout`, ``last`` at the end of a token
    o : Out, a stream of :func:`hw.layouts.token_layout` for each tile
    start : In, a layer begins
    own : In, with ``start``: send routes without chunks
    busy : Out, tokens are left
    read_addr, read_en, read_data : of the route storage, a row a token

    Raises
    ------
    ValueError
        If ``experts`` is not a multiple of ``tiles``.
    """

    def __init__(
        self,
        *,
        tiles: int,
        experts: int,
        tokens: int,
        entries: int,
        time_steps: int,
        row_bits: int,
        route_bits: int,
        token_rows: int,
    ) -> None:
        if experts % tiles:
            raise ValueError(f"experts is {experts}: must be a multiple of tiles, {tiles}")
        self.tiles, self.experts, self.tokens = tiles, experts, tokens
        self.entries, self.time_steps, self.row_bits = entries, time_steps, row_bits
        self.route_bits, self.token_rows = route_bits, token_rows
        self.counts_bits = (tokens * token_rows - 1).bit_length()
        super().__init__(
            {
                "i": In(stream.Signature(chunk_layout(entries, time_steps, row_bits))),
                "o": Out(stream.Signature(self._token(experts // tiles))).array(tiles),
                "start": In(1),
                "own": In(1),
                "busy": Out(1),
                "read_addr": Out(range(tokens)),
                "read_en": Out(1),
                "read_data": In(experts * route_bits),
            }
        )

    def _token(self, experts: int) -> data.StructLayout:
        return token_layout(
            self.entries,
            self.time_steps,
            experts=experts,
            route_bits=self.route_bits,
            row_bits=self.counts_bits,
        )

    def elaborate(self, platform) -> Module:
        """Build the walk over tokens and the fork."""
        m = Module()
        m.submodules.fork = fork = Fork(self._token(self.experts), self.tiles)
        token, row, own = Signal(range(self.tokens)), Signal(self.counts_bits), Signal()
        routes = Signal(routes_layout(self.experts, self.route_bits))
        m.d.comb += [
            self.read_addr.eq(token),
            fork.i.payload.bundles.eq(self.i.payload.bundles),
            fork.i.payload.routes.eq(routes),
            fork.i.payload.row.eq(row),
            fork.i.payload.last.eq(own | self.i.payload.last),
        ]
        share = self.experts // self.tiles
        for tile, sink in enumerate(fork.o):
            out = self.o[tile]
            part = routes.as_value().word_select(tile, share * self.route_bits)
            m.d.comb += [
                fork.mask[tile].eq(part.any()),
                out.payload.bundles.eq(sink.payload.bundles),
                out.payload.routes.as_value().eq(part),
                out.payload.row.eq(sink.payload.row),
                out.payload.last.eq(sink.payload.last),
                out.valid.eq(sink.valid),
                sink.ready.eq(out.ready),
            ]
        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("IDLE"))
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += [token.eq(0), row.eq(0), own.eq(self.own)]
                m.next = "READ"
            with m.State("READ"):
                m.d.comb += self.read_en.eq(1)
                m.next = "LOAD"
            with m.State("LOAD"):
                m.d.sync += routes.eq(self.read_data)
                m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += [
                    fork.i.valid.eq(own | self.i.valid),
                    self.i.ready.eq(fork.i.ready & ~own),
                ]
                with m.If(fork.i.valid & fork.i.ready & fork.i.payload.last):
                    m.d.sync += [token.eq(token + 1), row.eq(row + self.token_rows)]
                    m.next = "READ"
                    with m.If(token == self.tokens - 1):
                        m.next = "IDLE"
        return m
