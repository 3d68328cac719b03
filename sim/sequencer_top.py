"""A sequencer between two streams."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.sequencer import Sequencer


class SequencerTop(wiring.Component):
    """A sequencer that gets slices from one stream and tells of its layers in another.

    Nothing is taken while a payload waits, nor beyond the slices in the layer's configuration.
    The counters are left open.

    Parameters
    ----------
    sequencer : what to test
    images : runs, one after the other

    Members
    -------
    i : In, a slice is done; the payload is ``event``
    o : Out, a payload at each ``layer_start`` and each ``done``: ``slices`` since the one before,
        ``read`` if the formats were read in the cycle before, ``done``; and index and configuration
        of the layer, 0 when done
    """

    def __init__(self, sequencer: Sequencer, images: int) -> None:
        self.sequencer, self.images = sequencer, images
        self._told = data.StructLayout(
            {
                "layer": sequencer.layer.shape(),
                "slices": sequencer.sizes.slices,
                "read": 1,
                "done": 1,
                "config": sequencer.sizes.layout(),
            }
        )
        super().__init__({"i": In(stream.Signature(1)), "o": Out(stream.Signature(self._told))})

    def elaborate(self, platform) -> Module:
        """Build the counter of slices and the register of what is told."""
        m = Module()
        m.submodules.sequencer = sequencer = self.sequencer
        left, slices = Signal(sequencer.sizes.slices), Signal(sequencer.sizes.slices)
        read, image, idle = Signal(), Signal(range(self.images + 1)), Signal(init=1)
        m.d.comb += [
            self.i.ready.eq((left != 0) & ~self.o.valid),
            sequencer.slice_done.eq(self.i.valid & self.i.ready),
            sequencer.event.eq(self.i.payload),
            sequencer.start.eq(idle & ~self.o.valid & (image != self.images)),
        ]
        m.d.sync += read.eq(sequencer.layer_read)
        with m.If(sequencer.start):
            m.d.sync += [idle.eq(0), image.eq(image + 1)]
        with m.If(sequencer.slice_done):
            m.d.sync += [left.eq(left - 1), slices.eq(slices + 1)]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(sequencer.layer_start | sequencer.done):
            told = self.o.payload
            m.d.sync += [
                self.o.valid.eq(1),
                told.slices.eq(slices),
                told.read.eq(read),
                told.done.eq(sequencer.done),
                Cat(told.layer, told.config.as_value()).eq(0),
                slices.eq(0),
            ]
        with m.If(sequencer.layer_start):
            m.d.sync += [
                told.layer.eq(sequencer.layer),
                told.config.eq(sequencer.config),
                left.eq(sequencer.config.slices),
            ]
        with m.If(sequencer.done):
            m.d.sync += idle.eq(1)
        return m
