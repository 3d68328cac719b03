"""Active-channel encoder: from chunks of bundles to one event for each non-zero bundle."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .find_first import lowest_one, one_hot_index, one_hot_mux
from .layouts import chunk_layout, event_layout


class Encoder(wiring.Component):
    """Walk the non-zero bundles of a stream of chunks.

    Overview
    --------
    Work follows spikes: a bundle without a spike is never visited. The lowest non-zero entry of
    the chunk at hand goes out first. ``last`` marks the last event of an output
    group; where the group's last chunk has no spike, it travels on an event whose gates are 0.

    Design
    ------
    A chunk waits in ``ahead`` while the one in ``current`` is scanned, so that fetching hides
    behind scanning; empty chunks are dropped on arrival, unless they end a group. The found entry
    is registered as one-hot before it selects the bundle, which keeps find-first and selection in
    separate cycles. What follows it is the lowest of those left of its chunk, or of the chunk
    ahead: both are looked for side by side, and no search waits for another::

        i --> [ahead: mask] --> lowest one --+--> [found: one-hot, current] --> [event] --> o
                 [pending] ---> lowest one --'
                     ^------------ rest -----'

    Latency and resources
    ---------------------
    An event leaves 3 cycles after its chunk arrived at an idle encoder. A chunk takes
    ``max(1, non-zero bundles)`` cycles. Of empty chunks that end no group, n - 1 hide behind a
    chunk with n non-zero bundles; each more takes 1. About
    ``2 * entries * time_steps + 3 * entries`` flip-flops and 4 carry chains of ``entries`` bits.

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
        current, found_valid = Signal(chunk), Signal()
        found, pending = Signal(entries), Signal(entries)
        event_ready = Signal()

        step = ~found_valid | event_ready
        more = pending.any()
        arriving = Cat(bundle.any() for bundle in self.i.payload.bundles)
        m.d.comb += self.i.ready.eq(~ahead_valid | (step & ~more))
        with m.If(self.i.ready):
            m.d.sync += [
                ahead.eq(self.i.payload),
                ahead_mask.eq(arriving),
                ahead_valid.eq(self.i.valid & (arriving.any() | self.i.payload.last)),
            ]

        next_found, next_pending = lowest_one(pending)
        first_found, first_pending = lowest_one(ahead_mask)
        with m.If(step):
            with m.If(more):
                m.d.sync += [found.eq(next_found), pending.eq(next_pending)]
            with m.Else():
                m.d.sync += [
                    found_valid.eq(ahead_valid),
                    found.eq(first_found),
                    # What is ahead stays there until another chunk comes.
                    pending.eq(Mux(ahead_valid, first_pending, 0)),
                    current.eq(ahead),
                ]

        last = current.last & ~more
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
                    event.index.eq(one_hot_index(found)),
                    event.gates.eq(one_hot_mux(found, list(current.bundles))),
                    event.row.eq(current.row),
                    event.last.eq(last),
                ]
        return m
