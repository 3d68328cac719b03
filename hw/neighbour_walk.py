"""Which rows of a token-grid memory the local branch reads, and with which weights."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.local_taps import Tap

from .find_first import lowest_one, one_hot_index, one_hot_mux
from .grid_rows import GridRows


def checkerboard_sides(taps: Sequence[Tap]) -> list[list[Tap]]:
    """Taps that see a token of the same colour of the checkerboard, and of the other, if any."""
    sides = [[tap for tap in taps if (tap.down + tap.right) % 2 == odd] for odd in (0, 1)]
    return [side for side in sides if side]


class NeighbourWalk(wiring.Component):
    """For each token and part of it, lists the neighbours inside the grid: row and weight row.

    Overview
    --------
    Tokens come row by row of the grid; each has ``parts`` rows in a memory, see
    :class:`hw.grid_rows.GridRows`. For each token and part, ``o`` carries one event a cycle until
    all taps inside the grid are out. With two ``sides`` an event has a tap of each: neighbours at
    even and at odd distance are in different memories of a checkerboard, read side by side.

    Design
    ------
    Which taps lie inside follows from comparing the token's place with constants. A neighbour is a
    constant number of rows away; on a checkerboard that depends on the column's parity.

    ::

        GridRows --> taps inside --> lowest one --> offset --> + row --> (wrap) --> o
        weight rows ------------------------------> tap -----> + base ------------'

    Latency and resources
    ---------------------
    The first event is offered 4 cycles (with a ring 5) after ``open``; from then on a token and
    part takes as many cycles as its longest side has taps inside the grid. Per tap two comparisons
    with constants and a register; per side two adders.

    Parameters
    ----------
    grid : height and width
    sides : taps of each side, at least one side; the first has the centre
    parts : rows of a token
    blocks : images after which the weights are those of the first again
    checkerboard, ring : as for :class:`hw.grid_rows.GridRows`

    Members
    -------
    o : Out, events. ``sides``: tap ``present``, its neighbour's ``row``, its ``weight`` row in the
        side's own memory; ``row``: the token's own; ``odd``: the token is one of the second
        memory; ``own``: the first side's tap is the centre; ``first`` and ``last`` frame a token
        and part
    open : In, the next token may be walked
    stepped : Out, the last part of a token has been taken up
    """

    def __init__(
        self,
        *,
        grid: tuple[int, int],
        sides: Sequence[Sequence[Tap]],
        parts: int,
        blocks: int = 1,
        checkerboard: bool = False,
        ring: int | None = None,
    ) -> None:
        self.grid, self.sides, self.parts = grid, [list(side) for side in sides], parts
        self.blocks, self.checkerboard, self.ring = blocks, checkerboard, ring
        self.place = GridRows(grid, parts, checkerboard=checkerboard, ring=ring)
        self.rows, self.tokens = self.place.rows, grid[0] * grid[1]
        self.weight_rows = [blocks * parts * len(side) for side in self.sides]
        sides_layout = {
            f"{n}": data.StructLayout(
                {"present": 1, "row": range(self.rows), "weight": range(rows)}
            )
            for n, rows in enumerate(self.weight_rows)
        }
        event = {
            "sides": data.StructLayout(sides_layout),
            "row": range(self.rows),
            **dict.fromkeys(("odd", "own", "first", "last"), 1),
        }
        super().__init__(
            {
                "o": Out(stream.Signature(data.StructLayout(event))),
                "open": In(1),
                "stepped": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the masks of taps, and behind them the addresses."""
        m = Module()
        m.submodules.place = place = self.place
        pending = [Signal(len(side), name=f"pending_{n}") for n, side in enumerate(self.sides)]
        weights = [
            Signal(range(rows), name=f"weights_{n}") for n, rows in enumerate(self.weight_rows)
        ]
        valid, first, advance = Signal(), Signal(), Signal()
        row, odd, column = Signal(range(self.rows)), Signal(), Signal()
        lowest = [lowest_one(mask) for mask in pending]
        last = ~Cat(rest for _, rest in lowest).any()
        m.d.comb += [
            place.step.eq(self.open & (~valid | (advance & last))),
            self.stepped.eq(place.step & place.last_part),
        ]
        with m.If(place.step):
            m.d.sync += [
                valid.eq(1),
                first.eq(1),
                row.eq(place.row),
                odd.eq(place.odd),
                column.eq(place.x[:1]),
            ]
            for mask, side in zip(pending, self.sides, strict=True):
                m.d.sync += mask.eq(Cat(self._inside(tap) for tap in side))
            for base, held in zip(self._weight_bases(m), weights, strict=True):
                m.d.sync += held.eq(base)
        with m.Elif(advance):
            m.d.sync += [valid.eq(valid & ~last), first.eq(0)]
            for mask, (_, rest) in zip(pending, lowest, strict=True):
                m.d.sync += mask.eq(rest)

        stages = 4 if self.ring else 3
        flags = Signal(stages)
        m.d.comb += [advance.eq(~flags[-1] | self.o.ready), self.o.valid.eq(flags[-1])]
        with m.If(advance):
            m.d.sync += flags.eq(Cat(valid, flags))

        def delayed(value: Value, count: int, name: str) -> Value:
            for number in range(count):
                held = Signal.like(value, name=f"{name}_{number}", reset_less=True)
                with m.If(advance):
                    m.d.sync += held.eq(value)
                value = held
            return value

        centre = [(tap.down, tap.right) for tap in self.sides[0]].index((0, 0))
        frame = Cat(odd, lowest[0][0][centre], first, last)
        own = delayed(row, 2, "row")
        event = self.o.p
        m.d.comb += [
            Cat(event.odd, event.own, event.first, event.last).eq(delayed(frame, stages, "frame")),
            event.row.eq(delayed(own, stages - 2, "own")),
        ]
        columns = delayed(column, 1, "column")
        for n, side in enumerate(self.sides):
            select = delayed(lowest[n][0], 1, f"select_{n}")
            offset = delayed(self._offset(side, select, columns), 1, f"offset_{n}")
            tap = delayed(one_hot_index(select), 1, f"tap_{n}")
            weight = delayed(weights[n], 2, f"weight_{n}") + tap
            total = delayed(own + offset, 1, f"sum_{n}")
            if self.ring:
                wrapped = total - self.rows
                total = delayed(Mux(wrapped < 0, total, wrapped), 1, f"wrapped_{n}")
            target = event.sides[f"{n}"]
            m.d.comb += [
                target.present.eq(delayed(select.any(), stages - 1, f"present_{n}")),
                target.row.eq(total),
                target.weight.eq(delayed(weight[: len(weights[n])], stages - 2, f"place_{n}")),
            ]
        return m

    def _weight_bases(self, m: Module) -> list[Signal]:
        """First weight row of the next part, by side: again for each token, on for each block."""
        place, bases = self.place, []
        block = Signal(range(self.blocks))
        last_block = block == self.blocks - 1
        with m.If(place.step & place.last):
            m.d.sync += block.eq(Mux(last_block, 0, block + 1))
        for n, (side, rows) in enumerate(zip(self.sides, self.weight_rows, strict=True)):
            base, begin = (Signal(range(rows), name=f"{name}_{n}") for name in ("base", "begin"))
            onward = (base + len(side))[: len(base)]
            with m.If(place.step):
                m.d.sync += base.eq(Mux(place.last_part, begin, onward))
                with m.If(place.last):
                    following = Mux(last_block, 0, onward)
                    m.d.sync += [base.eq(following), begin.eq(following)]
            bases.append(base)
        return bases

    def _inside(self, tap: Tap) -> Value:
        """Whether the tap of the next token lies inside the grid."""
        height, width = self.grid
        return _inside(tap.down, self.place.y, height) & _inside(tap.right, self.place.x, width)

    def _offset(self, side: Sequence[Tap], select: Value, column: Value) -> Value:
        """Rows from a token to the neighbour that ``select`` points at, signed."""
        even, odd = (self._offsets(side, parity) for parity in (0, 1))
        bits = 1 + max(abs(offset) for offset in even + odd).bit_length()
        words = [
            Mux(column, Const(b % 2**bits, bits), Const(a % 2**bits, bits))
            if a != b
            else Const(a % 2**bits, bits)
            for a, b in zip(even, odd, strict=True)
        ]
        return one_hot_mux(select, words).as_signed()

    def _offsets(self, side: Sequence[Tap], column: int) -> list[int]:
        """Rows from a token of a column of this parity to its neighbours; in a ring, upwards."""
        width = self.grid[1]
        if self.checkerboard:
            line = -(-width // 2)
            tokens = [tap.down * line + (tap.right + column) // 2 for tap in side]
        else:
            tokens = [tap.down * width + tap.right for tap in side]
        rows = [offset * self.parts for offset in tokens]
        return [offset % self.rows for offset in rows] if self.ring else rows


def _inside(offset: int, position: Value, size: int) -> Value:
    """Whether ``position + offset`` is from 0 to ``size - 1``."""
    if abs(offset) >= size:
        return Const(0)
    if offset < 0:
        return position >= -offset
    return position < size - offset if offset else Const(1)
