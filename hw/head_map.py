"""Addresses of the heads that are computed, where not all are."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

# K, V and Q.
PARTS = 3


class Heads(enum.Enum, shape=2):
    """Which parts of a Q, K, V layer are computed."""

    ALL = 0
    QUERIES = 1
    KEPT = 2


class HeadMap(wiring.Component):
    """Turn addresses that count on from part to part into those of the parts that are computed.

    Overview
    --------
    Heads lie one after the other in a memory, each with its K, V and Q. Whoever walks that memory
    counts as if the heads to compute were all there are; this adds the distance to where they lie.
    The address may be that of what is at hand, or that of what follows if it is taken now.

    Design
    ------
    Queries: head h is Q alone, which lies ``2 h + 2`` parts further on. Kept heads: the one at
    place s lies ``3 (kept[s] - s)`` parts further on. The distance is chosen a cycle ahead, and
    registered unless the address is ahead too::

        step --> [unit, slot] --> distance --> [offset] --> addr + offset --> mapped

    Latency and resources
    ---------------------
    Combinational from ``addr``, and with ``ahead`` from ``step``; else the distance follows
    ``step`` in the next cycle. An adder, and multiplexers of constants.

    Parameters
    ----------
    address_bits : bits of an address
    heads : H
    count : heads kept
    part_rows : rows of K, V or Q of one head
    part_units : times that ``step`` is high for these rows
    ahead : ``addr`` is the one after a ``step`` of the same cycle, else the one before it

    Members
    -------
    addr : In, as counted
    mapped : Out, as it lies in the memory
    step : In, a unit ends in this cycle
    start : In, a layer begins
    mode : In, :class:`Heads` of the layer
    kept : In, array of the kept heads' numbers, rising; constant while a layer runs
    """

    def __init__(
        self,
        *,
        address_bits: int,
        heads: int,
        count: int,
        part_rows: int,
        part_units: int,
        ahead: bool,
    ) -> None:
        self.address_bits, self.heads, self.count = address_bits, heads, count
        self.part_rows, self.part_units, self.ahead = part_rows, part_units, ahead
        super().__init__(
            {
                "addr": In(address_bits),
                "mapped": Out(address_bits),
                "step": In(1),
                "start": In(1),
                "mode": In(Heads),
                "kept": In(data.ArrayLayout(range(heads), count)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the counters and the choice of distance."""
        m = Module()
        unit, slot = Signal(range(PARTS * self.part_units)), Signal(range(self.heads))
        following, distance = Signal.like(slot), Signal(self.address_bits)
        all_parts = self.mode == Heads.KEPT
        last_unit = unit == Mux(all_parts, PARTS * self.part_units - 1, self.part_units - 1)
        last_slot = slot == Mux(all_parts, self.count - 1, self.heads - 1)

        m.d.comb += following.eq(slot)
        with m.If(self.step):
            m.d.sync += unit.eq(Mux(last_unit, 0, unit + 1))
            with m.If(last_unit):
                m.d.comb += following.eq(Mux(last_slot, 0, slot + 1))
        with m.If(self.start):
            m.d.sync += unit.eq(0)
            m.d.comb += following.eq(0)
        m.d.sync += slot.eq(following)

        head_rows = PARTS * self.part_rows
        with m.Switch(self.mode):
            with m.Case(Heads.QUERIES):
                for head in range(self.heads):
                    with m.If(following == head):
                        m.d.comb += distance.eq((2 * head + 2) * self.part_rows)
            with m.Case(Heads.KEPT):
                for place in range(self.count):
                    for head in range(place, self.heads):
                        with m.If((following == place) & (self.kept[place] == head)):
                            m.d.comb += distance.eq((head - place) * head_rows)
        offset = distance
        if not self.ahead:
            offset = Signal.like(distance)
            m.d.sync += offset.eq(distance)
        m.d.comb += self.mapped.eq(self.addr + offset)
        return m
