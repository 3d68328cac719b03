"""Aligned merge: adds the spikes of a token's experts, whichever is done first."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .find_first import lowest_one, one_hot_mux
from .layouts import counts_layout, expert_spikes_layout
from .relay import Relay


class AlignedMerge(wiring.Component):
    """Count the experts that fired, for each token, channel and step, and give out token by token.

    Overview
    --------
    Aligned merge (SAM) of the spiking mixture of experts, arXiv 2412.05540. Experts finish in any
    order; a slice says to which row it belongs, so that no order is needed to add it, and rows lie
    in the order of tokens. Outputs are added without weights: our reading.

    Design
    ------
    A slice is added in two cycles, so that a row is never read while it is written. Of sources that
    wait, the first is taken: each has only so many slices, and all must have arrived before
    anything is given out::

        i[0] --\\
        i[1] ---- first --> read row --> + bundles --> write row
        ...  --/
                        clear: write 0        rows in order ==> o

    Latency and resources
    ---------------------
    2 cycles a slice. ``rows`` cycles from ``clear`` on in which nothing is taken. The first row
    leaves 3 cycles after ``start``, then one a cycle. ``lanes * time_steps`` adders of ``bits``,
    and registers of a slice and two rows.

    Parameters
    ----------
    sources : tiles
    lanes, time_steps : of a slice
    bits : of a count
    rows : of the counts

    Members
    -------
    i : In, list of streams of :func:`hw.layouts.expert_spikes_layout`
    o : Out, stream of :func:`hw.layouts.counts_layout`, every row once
    clear : In, set all counts to 0
    start : In, give out all rows; nothing may arrive until the last has left
    busy : Out, counts are being cleared or added to
    read_addr, read_en, read_data, write_addr, write_en, write_data : to the storage of counts
    """

    def __init__(self, *, sources: int, lanes: int, time_steps: int, bits: int, rows: int) -> None:
        self.sources, self.lanes, self.time_steps = sources, lanes, time_steps
        self.bits, self.rows = bits, rows
        spikes = expert_spikes_layout(lanes, time_steps, (rows - 1).bit_length())
        counts = counts_layout(lanes, time_steps, bits)
        super().__init__(
            {
                "i": In(stream.Signature(spikes)).array(sources),
                "o": Out(stream.Signature(counts)),
                "clear": In(1),
                "start": In(1),
                "busy": Out(1),
                "read_addr": Out(range(rows)),
                "read_en": Out(1),
                "read_data": In(counts.size),
                "write_addr": Out(range(rows)),
                "write_en": Out(1),
                "write_data": Out(counts.size),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the choice of a source, the adders and the reader."""
        m = Module()
        m.submodules.relay = relay = Relay(self.o.payload.shape())
        wiring.connect(m, relay.o, wiring.flipped(self.o))
        row, fetched = Signal(range(self.rows)), Signal()
        taken = Signal(self.i[0].payload.shape())
        counts, sums = (Signal(self.o.payload.shape(), name=name) for name in ("counts", "sums"))
        source, _ = lowest_one(Cat(source.valid for source in self.i))
        m.d.comb += [
            counts.as_value().eq(self.read_data),
            relay.i.payload.eq(self.read_data),
            relay.i.valid.eq(fetched),
            self.read_addr.eq(row),
            self.write_addr.eq(row),
        ]
        for lane in range(self.lanes):
            for step in range(self.time_steps):
                fired = taken.bundles[lane][step]
                m.d.comb += sums.counts[lane][step].eq(counts.counts[lane][step] + fired)
        last = row == self.rows - 1

        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("TAKE"))
            with m.State("TAKE"):
                first = Signal.like(taken)
                payloads = [each.payload.as_value() for each in self.i]
                m.d.comb += first.eq(one_hot_mux(source, payloads))
                for index, each in enumerate(self.i):
                    m.d.comb += each.ready.eq(source[index])
                m.d.comb += [self.read_addr.eq(first.row), self.read_en.eq(source.any())]
                m.d.sync += taken.eq(first)
                with m.If(source.any()):
                    m.next = "ADD"
                with m.If(self.clear | self.start):
                    m.d.sync += row.eq(0)
                    m.next = "CLEAR"
                    with m.If(self.start):
                        m.next = "GIVE"
            with m.State("ADD"):
                m.d.comb += [
                    self.write_addr.eq(taken.row),
                    self.write_en.eq(1),
                    self.write_data.eq(sums.as_value()),
                ]
                m.next = "TAKE"
            with m.State("CLEAR"):
                m.d.comb += self.write_en.eq(1)
                m.d.sync += row.eq(row + 1)
                with m.If(last):
                    m.next = "TAKE"
            with m.State("GIVE"):
                m.d.comb += self.read_en.eq(~fetched | relay.i.ready)
                with m.If(self.read_en):
                    m.d.sync += [row.eq(row + 1), fetched.eq(1)]
                    with m.If(last):
                        m.next = "LAST"
            with m.State("LAST"), m.If(relay.i.ready):
                m.d.sync += fetched.eq(0)
                m.next = "TAKE"
        return m
