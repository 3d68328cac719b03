"""Router, dispatcher and merge of experts, with what their other ports need."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.aligned_merge import AlignedMerge
from hw.dispatcher import Dispatcher
from hw.router import Router
from hw.storage import Storage, connect_write

from .tops import Rom, read_out


class RouterTop(wiring.Component):
    """A router whose routes leave in a stream, layer after layer.

    Parameters
    ----------
    parameters : of :class:`hw.router.Router`

    Members
    -------
    i : In, as of the router
    o : Out, routes of each token
    """

    def __init__(self, **parameters) -> None:
        self.block = Router(**parameters)
        super().__init__(
            {
                "i": self.block.signature.members["i"],
                "o": Out(stream.Signature(len(self.block.write_data))),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the storage, and what fills it and then gives it out."""
        m = Module()
        m.submodules.block = block = self.block
        m.submodules.routes = routes = Storage(block.tokens, len(block.write_data))
        connect_write(m, routes, block)
        left = Signal(range(block.tokens * block.slices + 1))
        m.d.comb += block.i.payload.eq(self.i.payload)
        with m.FSM():
            with m.State("START"):
                m.d.comb += block.start.eq(1)
                m.d.sync += left.eq(block.tokens * block.slices)
                m.next = "FILL"
            with m.State("FILL"):
                m.d.comb += [
                    block.i.valid.eq(self.i.valid & (left != 0)),
                    self.i.ready.eq(block.i.ready & (left != 0)),
                ]
                with m.If(block.i.valid & block.i.ready):
                    m.d.sync += left.eq(left - 1)
                with m.If((left == 0) & ~block.busy):
                    m.next = "READ"
            read_out(m, routes, self.o)
        return m


class DispatcherTop(wiring.Component):
    """A dispatcher with known routes that sends the tokens of one layer.

    Parameters
    ----------
    routes : of each token, as in the route storage
    own : send routes without chunks
    parameters : of :class:`hw.dispatcher.Dispatcher`

    Members
    -------
    i : In, as of the dispatcher
    o0, o1, ... : Out, of each tile
    """

    def __init__(self, *, routes: Sequence[int], own: bool, **parameters) -> None:
        self.routes, self.own = list(routes), own
        self.block = block = Dispatcher(tokens=len(self.routes), **parameters)
        token = block.o[0].payload.shape()
        outs = {f"o{tile}": Out(stream.Signature(token)) for tile in range(block.tiles)}
        super().__init__({"i": block.signature.members["i"], **outs})

    def elaborate(self, platform) -> Module:
        """Join the dispatcher to its routes, and start it once."""
        m = Module()
        m.submodules.block = block = self.block
        m.submodules.routes = routes = Rom(self.routes, len(block.read_data))
        begun = Signal()
        m.d.sync += begun.eq(1)
        wiring.connect(m, wiring.flipped(self.i), block.i)
        for tile in range(block.tiles):
            wiring.connect(m, block.o[tile], wiring.flipped(getattr(self, f"o{tile}")))
        m.d.comb += [
            block.start.eq(~begun),
            block.own.eq(self.own),
            routes.read_addr.eq(block.read_addr),
            routes.read_en.eq(block.read_en),
            block.read_data.eq(routes.read_data),
        ]
        return m


class MergeTop(wiring.Component):
    """An aligned merge with its counts: clears them, takes slices, gives out, again and again.

    Parameters
    ----------
    takes : slices of each source between two times of giving out
    parameters : of :class:`hw.aligned_merge.AlignedMerge`

    Members
    -------
    i0, i1, ... : In, of each source
    o : Out, as of the merge
    """

    def __init__(self, *, takes: int, **parameters) -> None:
        self.takes = takes
        self.block = block = AlignedMerge(**parameters)
        spikes = block.i[0].payload.shape()
        ins = {f"i{source}": In(stream.Signature(spikes)) for source in range(block.sources)}
        super().__init__({**ins, "o": block.signature.members["o"]})

    def elaborate(self, platform) -> Module:
        """Build the counts and the order of things."""
        m = Module()
        m.submodules.block = block = self.block
        m.submodules.counts = counts = Storage(block.rows, len(block.read_data))
        connect_write(m, counts, block)
        wiring.connect(m, block.o, wiring.flipped(self.o))
        left = [Signal(range(self.takes + 1), name=f"left{k}") for k in range(block.sources)]
        given = Signal(range(block.rows + 1))
        m.d.comb += [
            counts.read_addr.eq(block.read_addr),
            counts.read_en.eq(block.read_en),
            block.read_data.eq(counts.read_data),
        ]
        for source in range(block.sources):
            mine = getattr(self, f"i{source}")
            m.d.comb += [
                block.i[source].payload.eq(mine.payload),
                block.i[source].valid.eq(mine.valid & (left[source] != 0)),
                mine.ready.eq(block.i[source].ready & (left[source] != 0)),
            ]
            with m.If(mine.valid & mine.ready):
                m.d.sync += left[source].eq(left[source] - 1)
        with m.If(block.o.valid & block.o.ready):
            m.d.sync += given.eq(given + 1)
        with m.FSM():
            with m.State("CLEAR"):
                m.d.comb += block.clear.eq(1)
                m.d.sync += [*(each.eq(self.takes) for each in left), given.eq(0)]
                m.next = "TAKE"
            with m.State("TAKE"), m.If((Cat(left) == 0) & ~block.busy):
                m.d.comb += block.start.eq(1)
                m.next = "GIVE"
            with m.State("GIVE"), m.If((given == block.rows) & ~block.busy):
                m.next = "CLEAR"
        return m
