"""Sequencer: runs the layers of an image one after another."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from .layer_config import ConfigSizes

COUNTER_BITS = 32


class Sequencer(wiring.Component):
    """Hold each layer's configuration until all its slices have arrived.

    Overview
    --------
    A layer begins when every tile has delivered its last slice of the one before, so that
    configuration is constant while anything is in flight. The schedule is the shape of the network
    and is part of the hardware; scales and thresholds belong to a checkpoint and come from the
    format storage.

    Design
    ------
    ::

        start --> LOAD --> START --> RUN: count slices --> (STORE counters) --> LOAD ... --> done

    Latency and resources
    ---------------------
    2 cycles a layer between its predecessor's last slice and its own ``layer_start``, 4 with
    counters. A read-only memory of one record a layer.

    Parameters
    ----------
    sizes : bits of a record
    records : initialisers of the records, in order
    counters : count cycles and stalls of every layer
    tiles : datapaths that each deliver the layer's slices

    Members
    -------
    start : In, run all layers
    done : Out, high in the cycle in which the run ends
    cycles : Out, full cycles since that of ``start``; at ``done``, those between the two
    layer : Out, index of the layer that runs
    layer_read : Out, the format storage reads row ``layer``
    layer_start : Out, the layer begins
    config : Out, :meth:`hw.layer_config.ConfigSizes.layout` of the layer
    slice_done : In, a bit for each tile: a slice of it has reached its sink
    busy : In, the layer is not over, even if all its slices have arrived
    event : In, an event is on its way to the synaptic array; other cycles are stalls
    counter_addr, counter_en, counter_data : to the counter storage: word 2 l has the cycles of
        layer l, from ``layer_start`` to its last slice, word 2 l + 1 the stalls among them
    """

    def __init__(
        self, *, sizes: ConfigSizes, records: list[dict], counters: bool, tiles: int = 1
    ) -> None:
        self.sizes, self.records, self.counters, self.tiles = sizes, records, counters, tiles
        super().__init__(
            {
                "start": In(1),
                "done": Out(1),
                "cycles": Out(COUNTER_BITS),
                "layer": Out(range(len(records))),
                "layer_read": Out(1),
                "layer_start": Out(1),
                "config": Out(sizes.layout()),
                "slice_done": In(tiles),
                "busy": In(1),
                "event": In(1),
                "counter_addr": Out(range(2 * len(records))),
                "counter_en": Out(1),
                "counter_data": Out(COUNTER_BITS),
            }
        )
        self._layer_cycles, self._layer_stalls = Signal(COUNTER_BITS), Signal(COUNTER_BITS)

    def elaborate(self, platform) -> Module:
        """Build the state machine, the schedule and the counters."""
        m = Module()
        schedule = memory.Memory(
            shape=self.sizes.layout(), depth=len(self.records), init=self.records
        )
        m.submodules.schedule = schedule
        read = schedule.read_port()
        left = [Signal(self.sizes.slices, name=f"left{tile}") for tile in range(self.tiles)]
        counts = list(zip(left, self.slice_done, strict=True))
        ready = [(slices == 0) | (done & (slices == 1)) for slices, done in counts]
        m.d.comb += [
            read.addr.eq(self.layer),
            read.en.eq(self.layer_read),
            self.config.eq(read.data),
        ]
        last_layer = self.layer == len(self.records) - 1
        after = "STORE CYCLES" if self.counters else "NEXT"
        m.d.sync += self.cycles.eq(self.cycles + 1)

        if self.counters:
            self._count(m)
        with m.FSM():
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += [self.cycles.eq(0), self.layer.eq(0)]
                m.next = "LOAD"
            with m.State("LOAD"):
                m.d.comb += self.layer_read.eq(1)
                m.next = "START"
            with m.State("START"):
                m.d.comb += self.layer_start.eq(1)
                m.d.sync += [slices.eq(self.config.slices) for slices in left]
                m.next = "RUN"
            with m.State("RUN"):
                m.d.sync += [slices.eq(slices - done) for slices, done in counts]
                with m.If(Cat(ready).all() & ~self.busy):
                    m.next = after
            if self.counters:
                self._store(m)
            with m.State("NEXT"):
                m.d.sync += self.layer.eq(self.layer + 1)
                m.next = "LOAD"
                with m.If(last_layer):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"
        return m

    def _store(self, m: Module) -> None:
        """Add the two states that write a layer's counters."""
        for name, follows, word, value in (
            ("STORE CYCLES", "STORE STALLS", 0, self._layer_cycles),
            ("STORE STALLS", "NEXT", 1, self._layer_stalls),
        ):
            with m.State(name):
                m.d.comb += [
                    self.counter_en.eq(1),
                    self.counter_addr.eq((self.layer << 1) | word),
                    self.counter_data.eq(value),
                ]
                m.next = follows

    def _count(self, m: Module) -> None:
        cycles, stalls = self._layer_cycles, self._layer_stalls
        with m.If(self.layer_start):
            m.d.sync += [cycles.eq(1), stalls.eq(1)]
        with m.Elif(~self.counter_en):  # Both are of the same cycles, though written in turn.
            m.d.sync += [cycles.eq(cycles + 1), stalls.eq(stalls + ~self.event)]
