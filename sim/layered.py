"""A block that runs layer after layer, with what a sequencer would do for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from amaranth.hdl import Const, Module, Signal
from amaranth.lib import wiring

COUNT_BITS = 16


@dataclass(frozen=True)
class LayerRun:
    """One layer of a block.

    Members
    -------
    hold : constants of the block's inputs, by port
    takes : payloads that go in
    gives : payloads that come out
    """

    hold: Mapping[str, object]
    takes: int
    gives: int


class Layered(wiring.Component):
    """A block that runs layers, each with its own constants.

    Layers begin with ``start``, where the block has that port, two cycles after the last payload
    of the layer before, as those of the sequencer do. After the last one all is silent.

    Parameters
    ----------
    block : what to test; :class:`sim.tops.Top` if it has memories
    layers : its layers

    Members
    -------
    i : In, as of the block, where it has that port
    o : Out, as of the block; whatever it gives, expected or not
    """

    def __init__(self, block: wiring.Component, layers: Sequence[LayerRun]) -> None:
        self.block, self.layers = block, list(layers)
        members = block.signature.members
        super().__init__({name: members[name] for name in ("i", "o") if name in members})

    def elaborate(self, platform) -> Module:
        """Build the constants, the counters and the order of layers."""
        m = Module()
        m.submodules.block = block = self.block
        layer = Signal(range(len(self.layers)))
        takes, gives = Signal(COUNT_BITS), Signal(COUNT_BITS)
        with m.Switch(layer):
            for index, run in enumerate(self.layers):
                with m.Case(index):
                    for port, value in run.hold.items():
                        shape = block.signature.members[port].shape
                        m.d.comb += getattr(block, port).eq(Const(value, shape))

        wiring.connect(m, wiring.flipped(self.o), block.o)
        with m.If(block.o.valid & block.o.ready):
            m.d.sync += gives.eq(gives - 1)
        if hasattr(block, "i"):
            m.d.comb += [
                block.i.payload.eq(self.i.payload),
                block.i.valid.eq(self.i.valid & (takes != 0)),
                self.i.ready.eq(block.i.ready & (takes != 0)),
            ]
            with m.If(block.i.valid & block.i.ready):
                m.d.sync += takes.eq(takes - 1)

        with m.FSM():
            with m.State("START"):
                if hasattr(block, "start"):
                    m.d.comb += block.start.eq(1)
                with m.Switch(layer):
                    for index, run in enumerate(self.layers):
                        with m.Case(index):
                            m.d.sync += [takes.eq(run.takes), gives.eq(run.gives)]
                m.next = "RUN"
            with m.State("RUN"), m.If((takes == 0) & (gives == 0)):
                m.next = "NEXT"
            with m.State("NEXT"), m.If(layer != len(self.layers) - 1):
                m.d.sync += layer.eq(layer + 1)
                m.next = "START"
        return m
