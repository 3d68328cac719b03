"""Fetcher: reads the bundles of every tap, as a stream of chunks."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden.spec import PIXEL_BITS

from .layer_config import ConfigSizes
from .layouts import chunk_layout
from .tap_walk import tap_layout


def chunk_entries(lanes: int) -> int:
    """Bundles in a chunk: a row of the spike memory, and at least the bits of a pixel."""
    return max(lanes, PIXEL_BITS)


class Fetcher(wiring.Component):
    """Read spikes or pixels at the addresses of a tap walk.

    Overview
    --------
    A row of the spike memory is a chunk as it is. A pixel becomes a chunk of eight entries, one a
    bit, each the same for all T steps: the first layer runs on the same array, bit by bit.

    Design
    ------
    ::

        i --> read_addr ... spike_data | image_data --> o
          \\--> [row, last] --------------------------^

    Latency and resources
    ---------------------
    1 cycle, a chunk a cycle. ``row_bits + 2`` flip-flops.

    Parameters
    ----------
    sizes : bits of addresses
    lanes : bundles in a row of the spike memory
    time_steps : T

    Members
    -------
    i : In, stream of :func:`hw.tap_walk.tap_layout`
    o : Out, stream of :func:`hw.layouts.chunk_layout`
    pixels : In, read the image; constant while taps are in flight
    read_addr, read_en : to the read ports of image and spike storage alike
    spike_data, image_data : from these ports
    """

    def __init__(self, *, sizes: ConfigSizes, lanes: int, time_steps: int) -> None:
        self.sizes, self.lanes, self.time_steps = sizes, lanes, time_steps
        self.entries = chunk_entries(lanes)
        super().__init__(
            {
                "i": In(stream.Signature(tap_layout(sizes))),
                "o": Out(stream.Signature(chunk_layout(self.entries, time_steps, sizes.row))),
                "pixels": In(1),
                "read_addr": Out(sizes.addr),
                "read_en": Out(1),
                "spike_data": In(lanes * time_steps),
                "image_data": In(PIXEL_BITS),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the read stage."""
        m = Module()
        row, last, valid = Signal(self.sizes.row), Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(~valid | self.o.ready),
            self.read_addr.eq(self.i.payload.addr),
            self.read_en.eq(self.i.ready & self.i.valid),
            self.o.valid.eq(valid),
            self.o.payload.row.eq(row),
            self.o.payload.last.eq(last),
        ]
        with m.If(self.i.ready):
            m.d.sync += [
                valid.eq(self.i.valid),
                row.eq(self.i.payload.row),
                last.eq(self.i.payload.last),
            ]
        with m.If(self.pixels):
            for bit in range(PIXEL_BITS):
                everywhere = self.image_data[bit].replicate(self.time_steps)
                m.d.comb += self.o.payload.bundles[bit].eq(everywhere)
        with m.Else():
            m.d.comb += self.o.payload.bundles.as_value().eq(self.spike_data)
        return m
