"""Gathering K, V and Q of a head before it is worked on."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .attention_shape import AttentionShape
from .layouts import values_layout


def head_layout(shape: AttentionShape) -> data.StructLayout:
    """K, V and Q of one token's head; a channel is ``active`` where K or Q is not 0."""
    channels, steps = shape.head_channels, shape.time_steps

    def words(bits: int) -> data.ArrayLayout:
        return data.ArrayLayout(data.ArrayLayout(unsigned(bits), steps), channels)

    return data.StructLayout(
        {
            "keys": words(shape.key_bits),
            "values": words(2),
            "queries": words(1),
            "active": unsigned(channels),
        }
    )


class HeadIntake(wiring.Component):
    """Turns slices of K, of V and of Q into whole heads.

    Overview
    --------
    For each token in order and each of its heads in order, ``i`` carries the slices of K, of V,
    then of Q. ``o`` carries the head once it is complete.

    Design
    ------
    Slices shift into registers::

        i --+--> K --.
            +--> V --+--> o
            '--> Q --'

    Latency and resources
    ---------------------
    A head is offered in the cycle after its last slice was taken, and no slice is taken while it
    waits: ``3 * d / NL + 1`` cycles a head. ``d * (T * (b + 3) + 1)`` registers.

    Parameters
    ----------
    shape : sizes of the core

    Members
    -------
    i : In, slices of K, V and Q values
    o : Out, heads
    begun : Out, slices of a head have been taken
    """

    def __init__(self, shape: AttentionShape) -> None:
        self.shape = shape
        slices = values_layout(shape.lanes, shape.time_steps, shape.value_bits)
        super().__init__(
            {
                "i": In(stream.Signature(slices)),
                "o": Out(stream.Signature(head_layout(shape))),
                "begun": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the registers."""
        m = Module()
        shape = self.shape
        part, slot, full = Signal(range(3)), Signal(range(shape.slices)), Signal()
        last_slot = slot == shape.slices - 1
        take = self.i.valid & self.i.ready
        m.d.comb += [
            self.i.ready.eq(~full),
            self.o.valid.eq(full),
            self.begun.eq(full | (part != 0) | (slot != 0)),
        ]
        with m.If(take):
            m.d.sync += slot.eq(Mux(last_slot, 0, slot + 1))
            with m.If(last_slot):
                m.d.sync += [part.eq(Mux(part == 2, 0, part + 1)), full.eq(part == 2)]
        with m.If(full & self.o.ready):
            m.d.sync += full.eq(0)

        arrived = self.i.p.values
        held = Signal.like(self.o.payload, reset_less=True)
        m.d.comb += self.o.payload.eq(held)
        fields = (("keys", shape.key_bits), ("values", 2), ("queries", 1))
        for index, (name, bits) in enumerate(fields):
            piece = Cat(step[:bits] for lane in arrived for step in lane)
            register = getattr(held, name).as_value()
            with m.If(take & (part == index)):
                m.d.sync += register.eq(Cat(register, piece)[len(piece) :])
        loud = Cat(Cat(step[: shape.key_bits] for step in lane).any() for lane in arrived)
        asked = Cat(Cat(step[0] for step in lane).any() for lane in arrived)
        turned = Cat(held.active[shape.lanes :], held.active[: shape.lanes])
        with m.If(take & (part == 0)):
            m.d.sync += held.active.eq(Cat(held.active, loud)[shape.lanes :])
        with m.Elif(take & (part == 2)):
            # Once around, every channel's bit is back in its place.
            front = held.active[: shape.lanes] | asked
            m.d.sync += held.active.eq(Cat(turned[: -shape.lanes], front))
        return m
