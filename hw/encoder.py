"""Active-channel encoder: from chunks of bundles to one event for each non-zero bundle."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import chunk_layout, event_layout


class Encoder(wiring.Component):
    """Walk the non-zero bundles of a stream of chunks.

    Overview
    --------
    Work follows spikes: a bundle without a spike is never visited. The lowest non-zero entry of
    the chunk at hand goes out first. Events of one output group are framed by ``first`` and
    ``last``; where the group's last chunk has no spike, its ``last`` travels on an event whose
    gates are 0.

    Design
    ------
    A chunk waits in ``ahead`` while the one in ``current`` is scanned, so that fetching hides
    behind scanning; empty chunks are dropped on arrival, unless they end a group. The found entry
    is registered as one-hot before it selects the bundle, which keeps find-first and selection in
    separate cycles::

        i --> [ahead] --> [current: pending & -pending] --> [found: one-hot] --> [event] --> o

    Latency and resources
    ---------------------
    An event leaves 4 cycles after its chunk arrived at an idle encoder. A chunk takes
    ``max(1, non-zero bundles)`` cycles. Of empty chunks that end no group, n - 1 hide behind a
    chunk with n non-zero bundles; each more takes 1. About
    ``3 * entries * time_steps + 5 * entries`` flip-flops.

    Parameters
    ----------
    entries : bundles in a chunk
    time_steps : T, bits in a bundle
    row_bits : bits of a weight row's address

    Members
    -------
    i : In, stream of :func:`hw.layouts.chunk_layout`
    o : Out, stream of :func:`hw.layouts.event_layout`

    Raises
    ------
    ValueError
        If ``entries`` or ``time_steps`` is below 1.
    """

    def __init__(self, *, entries: int, time_steps: int, row_bits: int) -> None:
        if entries < 1:
            raise ValueError(f"entries is {entries}: must be at least 1")
        if time_steps < 1:
            raise ValueError(f"time_steps is {time_steps}: must be at least 1")
        self.entries, self.time_steps, self.row_bits = entries, time_steps, row_bits
        super().__init__(
            {
                "i": In(stream.Signature(chunk_layout(entries, time_steps, row_bits))),
                "o": Out(stream.Signature(event_layout(entries, time_steps, row_bits))),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the three stages."""
        m = Module()
        entries = self.entries
        chunk = chunk_layout(entries, self.time_steps, self.row_bits)

        ahead, ahead_valid, ahead_mask = Signal(chunk), Signal(), Signal(entries)
        current, scanning, pending = Signal(chunk), Signal(), Signal(entries)
        group_start = Signal(init=1)

        arriving = Cat(bundle.any() for bundle in self.i.payload.bundles)
        kept = arriving.any() | self.i.payload.last
        move = Signal()
        m.d.comb += self.i.ready.eq(~ahead_valid | move)
        with m.If(move):
            m.d.sync += ahead_valid.eq(0)
        with m.If(self.i.valid & self.i.ready & kept):
            m.d.sync += [ahead.eq(self.i.payload), ahead_mask.eq(arriving), ahead_valid.eq(1)]

        lowest, rest = Signal(entries), Signal(entries)
        m.d.comb += [
            lowest.eq(pending & (~pending + 1)),
            rest.eq(pending & ~lowest),
        ]
        found_ready, step = Signal(), Signal()
        m.d.comb += [
            step.eq(scanning & found_ready),
            move.eq(ahead_valid & (~scanning | (step & ~rest.any()))),
        ]
        with m.If(step):
            m.d.sync += pending.eq(rest)
            with m.If(~rest.any()):
                m.d.sync += scanning.eq(0)
        with m.If(move):
            m.d.sync += [current.eq(ahead), pending.eq(ahead_mask), scanning.eq(1)]

        found, found_valid, found_last = Signal(entries), Signal(), Signal()
        found_from = Signal(chunk)
        event_ready = Signal()
        m.d.comb += found_ready.eq(~found_valid | event_ready)
        with m.If(found_ready):
            m.d.sync += found_valid.eq(step)
        with m.If(step):
            m.d.sync += [
                found.eq(lowest),
                found_from.eq(current),
                found_last.eq(current.last & ~rest.any()),
            ]

        index = Signal(range(entries))
        gates = Signal(self.time_steps)
        for place in range(entries):
            chosen = Mux(found[place], found_from.bundles[place], 0)
            gates = gates | chosen
            index = index | Mux(found[place], place, 0)

        event, event_valid = Signal.like(self.o.payload), Signal()
        m.d.comb += [
            event_ready.eq(~event_valid | self.o.ready),
            self.o.valid.eq(event_valid),
            self.o.payload.eq(event),
        ]
        with m.If(event_ready):
            m.d.sync += event_valid.eq(found_valid)
            with m.If(found_valid):
                m.d.sync += [
                    event.index.eq(index),
                    event.gates.eq(gates),
                    event.row.eq(found_from.row),
                    event.first.eq(group_start),
                    event.last.eq(found_last),
                    group_start.eq(found_last),
                ]
        return m
