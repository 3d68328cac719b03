"""Packer: from slices of spikes to rows of the spike memory, OR-pooled where a layer says so."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import bundles_layout


class Packer(wiring.Component):
    """Collect slices into a row of bundles and write it.

    Overview
    --------
    Max-pool on spikes is an OR. The four positions of a pool window arrive one after another (for
    each output group), so the pool is an OR into the row being collected and needs no memory.

    Design
    ------
    ::

        i --> [row, OR'ed in place] --> write

    Latency and resources
    ---------------------
    A row is written in the cycle after its last slice; a slice a cycle, never stalls.
    ``lanes * time_steps`` flip-flops.

    Parameters
    ----------
    lanes : bundles in a row of the spike memory
    slice_lanes : bundles in a slice; divides ``lanes``
    time_steps : T
    rows : depth of the spike memory

    Members
    -------
    i : In, stream of :func:`hw.layouts.bundles_layout`
    start : In, a layer begins: write from ``base``
    base : In, first row to write
    pool : In, OR four consecutive rows into one
    write_addr, write_en, write_data : to the spike storage

    Raises
    ------
    ValueError
        If ``slice_lanes`` does not divide ``lanes``.
    """

    def __init__(self, *, lanes: int, slice_lanes: int, time_steps: int, rows: int) -> None:
        if slice_lanes < 1 or lanes % slice_lanes:
            raise ValueError(f"slice_lanes is {slice_lanes}: must divide lanes, {lanes}")
        self.lanes, self.slice_lanes = lanes, slice_lanes
        self.time_steps, self.rows = time_steps, rows
        super().__init__(
            {
                "i": In(stream.Signature(bundles_layout(slice_lanes, time_steps))),
                "start": In(1),
                "base": In(range(rows)),
                "pool": In(1),
                "write_addr": Out(range(rows)),
                "write_en": Out(1),
                "write_data": Out(lanes * time_steps),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the row register and its address."""
        m = Module()
        slices = self.lanes // self.slice_lanes
        part = data.ArrayLayout(self.slice_lanes * self.time_steps, slices)
        row = Signal(part)
        place, window = Signal(range(slices)), Signal(2)
        addr = Signal(range(self.rows))
        write = Signal()

        m.d.comb += [
            self.i.ready.eq(1),
            self.write_addr.eq(addr),
            self.write_en.eq(write),
            self.write_data.eq(row.as_value()),
        ]
        m.d.sync += write.eq(0)
        with m.If(write):
            m.d.sync += addr.eq(addr + 1)
        with m.If(self.i.valid):
            last = place == slices - 1
            fresh = ~self.pool | (window == 0)
            arrived = self.i.payload.as_value()
            m.d.sync += place.eq(Mux(last, 0, place + 1))
            # A View indexed with a signal would multiply the index by the width of a part.
            for index in range(slices):
                with m.If(place == index):
                    m.d.sync += row[index].eq(arrived | Mux(fresh, 0, row[index]))
            with m.If(last):
                m.d.sync += [window.eq(window + 1), write.eq(~self.pool | (window == 3))]
        with m.If(self.start):
            m.d.sync += [addr.eq(self.base), place.eq(0), window.eq(0)]
        return m
