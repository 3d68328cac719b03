"""A queue of slices of spikes, and a core that has one behind it."""

from amaranth.hdl import Module, Mux, Shape, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .storage import Storage


class SpikeQueue(wiring.Component):
    """First in, first out.

    Overview
    --------
    Attention that passes over the tokens once gives spikes while the layer of K, V and Q still
    runs; here they wait for the layer that takes them.

    Design
    ------
    The memory's output register is the first place of the queue::

        i --> Storage --> o

    Latency and resources
    ---------------------
    A payload is offered 2 cycles after it was taken; one a cycle. ``rows + 1`` payloads, in a
    memory of ``rows``.

    Parameters
    ----------
    shape : what is queued
    rows : depth of the memory

    Members
    -------
    i : In, what comes
    o : Out, the same
    """

    def __init__(self, shape: object, rows: int) -> None:
        self.shape, self.rows = shape, rows
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform) -> Module:
        """Build the memory and its two rows."""
        m = Module()
        rows = self.rows
        m.submodules.memory = memory = Storage(rows, Shape.cast(self.shape).width)
        write_row, read_row = Signal(range(rows)), Signal(range(rows))
        held, fetched = Signal(range(rows + 1)), Signal()
        take, fetch = Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(held != rows),
            take.eq(self.i.valid & self.i.ready),
            fetch.eq((held != 0) & (~fetched | self.o.ready)),
            memory.write_addr.eq(write_row),
            memory.write_data.eq(self.i.payload),
            memory.write_en.eq(take),
            memory.read_addr.eq(read_row),
            memory.read_en.eq(fetch),
            self.o.valid.eq(fetched),
            self.o.payload.eq(memory.read_data),
        ]
        m.d.sync += held.eq(held + take - fetch)
        with m.If(take):
            m.d.sync += write_row.eq(Mux(write_row == rows - 1, 0, write_row + 1))
        with m.If(fetch):
            m.d.sync += [
                read_row.eq(Mux(read_row == rows - 1, 0, read_row + 1)),
                fetched.eq(1),
            ]
        with m.Elif(self.o.ready):
            m.d.sync += fetched.eq(0)
        return m


class QueuedCore(wiring.Component):
    """A core of attention whose spikes wait in a queue.

    Parameters
    ----------
    core : with streams ``i`` and ``o``
    rows : slices that may wait

    Members
    -------
    as of the core
    """

    def __init__(self, core: wiring.Component, rows: int) -> None:
        self.core, self.rows = core, rows
        super().__init__(dict(core.signature.members))

    def elaborate(self, platform) -> Module:
        """Put the queue behind the core."""
        m = Module()
        m.submodules.core = core = self.core
        m.submodules.queue = queue = SpikeQueue(core.o.payload.shape(), self.rows)
        wiring.connect(m, core.o, queue.i)
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        for name, member in self.signature.members.items():
            if name == "o":
                continue
            if member.is_signature:
                wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(core, name))
            else:
                m.d.comb += getattr(self, name).eq(getattr(core, name))
        return m
