"""Token queue: tokens that wait for the experts of a tile."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .spike_queue import SpikeQueue
from .storage import Storage


class TokenQueue(wiring.Component):
    """Hold tokens, chunk by chunk, until the tile has done with the first of them.

    Overview
    --------
    An expert reads its token once for every output group, so the chunks of the token at the head
    are read at will and leave together. A full queue takes nothing.

    Design
    ------
    ::

        i --+-- bundles --> Storage, a ring of tokens --> read_data
            +-- routes, row, with the last chunk --> SpikeQueue --> head

    Latency and resources
    ---------------------
    ``head`` is valid 2 cycles after the token's last chunk was taken. ``tokens * chunks`` rows of
    bundles, and ``tokens - 1`` rows of routes.

    Parameters
    ----------
    shape : :func:`hw.layouts.token_layout`
    tokens : how many may wait, that at the head among them; at least 2
    chunks : rows that a token takes

    Members
    -------
    i : In, stream of ``shape``
    head : Out, stream of routes and row of the first token; taking it frees its rows
    base : Out, first row of the token at the head
    waits : Out, there are tokens
    start : In, a layer begins; the queue is empty
    read_addr, read_en, read_data : chunks

    Raises
    ------
    ValueError
        If ``tokens`` is below 2 or ``chunks`` below 1.
    """

    def __init__(self, shape: data.StructLayout, *, tokens: int, chunks: int) -> None:
        for name, value, low in (("tokens", tokens, 2), ("chunks", chunks, 1)):
            if value < low:
                raise ValueError(f"{name} is {value}: must be at least {low}")
        self.shape, self.tokens, self.chunks = shape, tokens, chunks
        self.rows = tokens * chunks
        self._row_bits = shape.members["bundles"].size
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "head": Out(stream.Signature(head_layout(shape))),
                "base": Out(range(self.rows)),
                "waits": Out(1),
                "start": In(1),
                "read_addr": In(range(self.rows)),
                "read_en": In(1),
                "read_data": Out(self._row_bits),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the ring and the queue of heads."""
        m = Module()
        m.submodules.chunks = memory = Storage(self.rows, self._row_bits)
        m.submodules.heads = heads = SpikeQueue(head_layout(self.shape), self.tokens - 1)
        write_row, held = Signal(range(self.rows)), Signal(range(self.tokens + 1))
        take, came, left = Signal(), Signal(), Signal()
        room = held != self.tokens
        wiring.connect(m, heads.o, wiring.flipped(self.head))
        m.d.comb += [
            self.i.ready.eq(room & heads.i.ready),
            take.eq(self.i.valid & self.i.ready),
            came.eq(take & self.i.payload.last),
            left.eq(self.head.valid & self.head.ready),
            heads.i.valid.eq(self.i.valid & room & self.i.payload.last),
            heads.i.payload.routes.eq(self.i.payload.routes),
            heads.i.payload.row.eq(self.i.payload.row),
            memory.write_addr.eq(write_row),
            memory.write_en.eq(take),
            memory.write_data.eq(self.i.payload.bundles),
            memory.read_addr.eq(self.read_addr),
            memory.read_en.eq(self.read_en),
            self.read_data.eq(memory.read_data),
            self.waits.eq(held != 0),
        ]
        m.d.sync += held.eq(held + came - left)
        with m.If(take):
            m.d.sync += write_row.eq(Mux(write_row == self.rows - 1, 0, write_row + 1))
        with m.If(left):
            last = self.base == self.rows - self.chunks
            m.d.sync += self.base.eq(Mux(last, 0, self.base + self.chunks))
        with m.If(self.start):
            m.d.sync += [write_row.eq(0), self.base.eq(0)]
        return m


def head_layout(shape: data.StructLayout) -> data.StructLayout:
    """What a token brings beside its chunks: routes, and the first row of its counts."""
    return data.StructLayout({name: shape.members[name] for name in ("routes", "row")})
