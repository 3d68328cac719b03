"""Logits: the head's sums added over time and kept for the host."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.spec import LOGIT_BITS

from .layouts import sums_layout
from .resting import offered


class Logits(wiring.Component):
    """Add the T sums of each class and write one 32-bit word a class.

    Overview
    --------
    The head has no neuron: its logits are sums over tokens, done by the synaptic array, and over
    time, done here. Dividing by their number changes no answer and is left out.

    Design
    ------
    ::

        i --> [lane after lane] --> [sum over T] --> write

    Latency and resources
    ---------------------
    ``lanes`` cycles a slice; a word is written 2 cycles after its lane's. One adder chain of T sums
    and registers of a lane.

    Parameters
    ----------
    lanes : channels in a slice
    time_steps : T
    width : bits of a sum, signed
    words : depth of the logit storage

    Members
    -------
    i : In, stream of :func:`hw.layouts.sums_layout`
    start : In, a layer begins: write from word 0
    write_addr, write_en, write_data : to the logit storage, signed 32-bit words
    """

    def __init__(self, *, lanes: int, time_steps: int, width: int, words: int) -> None:
        self.lanes, self.time_steps, self.width, self.words = lanes, time_steps, width, words
        super().__init__(
            {
                "i": In(stream.Signature(sums_layout(lanes, time_steps, width))),
                "start": In(1),
                "write_addr": Out(range(words)),
                "write_en": Out(1),
                "write_data": Out(LOGIT_BITS),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the lane counter and the adder chain."""
        m = Module()
        lane = Signal(range(self.lanes))
        word = Signal(range(self.words))
        steps = Signal(data.ArrayLayout(signed(self.width), self.time_steps))
        total = Signal(signed(LOGIT_BITS))
        picked, write = Signal(), Signal()
        last = lane == self.lanes - 1
        m.d.comb += [
            self.i.ready.eq(last),
            self.write_addr.eq(word),
            self.write_en.eq(write),
            self.write_data.eq(total),
        ]
        # A View indexed with a signal would multiply the index by the width of a lane.
        for index in range(self.lanes):
            with m.If(offered(platform, self.i.valid) & (lane == index)):
                m.d.sync += steps.eq(self.i.payload.sums[index])
        m.d.sync += [
            picked.eq(self.i.valid),
            write.eq(picked),
            total.eq(sum(steps[step] for step in range(self.time_steps))),
        ]
        with m.If(self.i.valid):
            m.d.sync += lane.eq(lane + 1)
            with m.If(last):
                m.d.sync += lane.eq(0)
        with m.If(write):
            m.d.sync += word.eq(word + 1)
        with m.If(self.start):
            m.d.sync += [word.eq(0), lane.eq(0)]
        return m
