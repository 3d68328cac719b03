"""Toys that prove the simulation's infrastructure: right ones, and ones with a known fault."""

import random

from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from sim.matrix import Bench, Vectors

FAULTY_TOKEN = 5


class Negate(wiring.Component):
    """Negate ``lanes`` numbers; ``fault`` is "", "value" (token 5, lane 2) or "unstable"."""

    def __init__(self, lanes: int, fault: str = "") -> None:
        self.lanes, self.fault = lanes, fault
        numbers = data.StructLayout({"values": data.ArrayLayout(signed(8), lanes)})
        super().__init__(
            {
                "i": In(stream.Signature(numbers)),
                "o": Out(stream.Signature(numbers)),
                "offset": In(unsigned(3)),
            }
        )

    def elaborate(self, platform) -> Module:
        """One register."""
        m = Module()
        count = Signal(8)
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid)
            with m.If(self.i.valid):
                m.d.sync += count.eq(count + 1)
                for lane, (x, y) in enumerate(
                    zip(self.i.payload.values, self.o.payload.values, strict=True)
                ):
                    wrong = (count == FAULTY_TOKEN) if self.fault == "value" and lane == 2 else 0
                    m.d.sync += y.eq(self.offset - x + wrong)
        if self.fault == "unstable":
            with m.If(self.o.valid & ~self.o.ready):
                m.d.sync += self.o.valid.eq(0)
        return m


def _vectors(dut: Negate, rng: random.Random) -> Vectors:
    offset = rng.randrange(8)
    rows = [[rng.randrange(-100, 100) for _ in range(dut.lanes)] for _ in range(20)]
    return Vectors(
        {"i": [{"values": row} for row in rows]},
        {"o": [{"values": [offset - x for x in row]} for row in rows]},
        {"offset": offset},
    )


GOOD = Bench(Negate, [{"lanes": 1}, {"lanes": 4}], _vectors)
WRONG = Bench(Negate, [{"lanes": 4}, {"lanes": 4, "fault": "value"}], _vectors)
UNSTABLE = Bench(Negate, [{"lanes": 4, "fault": "unstable"}], _vectors)


class Echo(wiring.Component):
    """A register in a stream of bytes: replies are the requests."""

    i: In(stream.Signature(8))
    o: Out(stream.Signature(8))

    def elaborate(self, platform) -> Module:
        """One register."""
        m = Module()
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)
        with m.If(self.i.ready):
            m.d.sync += [self.o.valid.eq(self.i.valid), self.o.payload.eq(self.i.payload)]
        return m
