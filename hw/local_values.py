"""The local branch of LRF-SSA: weighted V of each token's neighbours."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.local_taps import Tap, local_taps
from golden.widths import signed_bits

from .grid_rows import GridRows
from .layouts import values_layout
from .neighbour_walk import NeighbourWalk, checkerboard_sides
from .signed_add import add_carry
from .storage import Storage, connect_write, write_port

SIDES = ("local_even", "local_odd")


@dataclass(frozen=True, kw_only=True)
class LocalTerm:
    """What a local branch on V adds.

    Parameters
    ----------
    grid : height and width of the token grid
    dilations : of the 3x3 kernels
    weight_bits : bits of a weight, signed
    frac_bits : fraction bits of a weight below the unit of Q K^T V
    causal : without neighbours that come later than the token
    blocks : attention layers, each with weights of its own
    """

    grid: tuple[int, int]
    dilations: tuple[int, ...]
    weight_bits: int
    frac_bits: int
    causal: bool = False
    blocks: int = 1

    @property
    def sides(self) -> dict[str, list[Tap]]:
        """Taps by the name of the memory that holds their weights."""
        taps = local_taps(self.dilations, causal=self.causal)
        return dict(zip(SIDES, checkerboard_sides(taps), strict=False))

    def shapes(self, heads: int, head_channels: int) -> dict[str, tuple[int, int]]:
        """Rows and bits of the memories of weights: d weights for each block, head and tap."""
        return {
            name: (self.blocks * heads * len(side), head_channels * self.weight_bits)
            for name, side in self.sides.items()
        }

    @property
    def most(self) -> int:
        """Largest size of the sum."""
        return sum(map(len, self.sides.values())) << (self.weight_bits - 1)


class LocalValues(wiring.Component):
    """Adds ``sum over taps of r[c, tap] * V[n + tap, c]`` for all channels and steps of a head.

    Overview
    --------
    ``i`` carries V of an image, which is stored. ``start`` reads it back: for each token and head
    in order, ``o`` carries the sums of all T time steps. V is ternary, so each tap adds its weight,
    its negative, or nothing (LRF-SSA, arXiv 2603.19290, equation 8). Neighbours outside the grid
    are not visited: zero padding.

    Design
    ------
    V lies on a checkerboard of two memories, so that two taps at odd distance from each other are
    read in one cycle: the two kernels' 17 taps take at most 9. Each of the two has weights of its
    own, which the host writes, a row of d weights for each head and tap.

    ::

        i --> V, even tokens --\\ /--> +- weight (even tap) --.
          '-> V, odd tokens  --/ \\--> +- weight (odd tap) ---+--> + --> sums --> o
        NeighbourWalk --> rows                                ^----------'

    Latency and throughput
    ----------------------
    The first sums are offered ``taps + 8`` cycles after ``start``; then a head takes
    ``taps`` cycles, the larger of its taps inside the grid at even and at odd distance.

    Resources
    ---------
    ``N * H * d * T * 2`` bits of V (on a grid of odd width ``(width + 1) / width`` as many),
    ``blocks * H * taps * d * weight_bits`` bits of weights, ``2 * d * T`` adders, a register of
    ``d * T`` sums.

    Parameters
    ----------
    heads, head_channels, lanes, time_steps : H, d, NL, T
    term : the branch

    Members
    -------
    i : In, slices of V, two's complement in 2 bits; always ready
    o : Out, sums of a token and head
    start : In, V of an image is complete
    local_even, local_odd : In, write ports of the weights, as far as the branch has such taps
    """

    def __init__(
        self, *, heads: int, head_channels: int, lanes: int, time_steps: int, term: LocalTerm
    ) -> None:
        self.heads, self.head_channels = heads, head_channels
        self.lanes, self.time_steps, self.term = lanes, time_steps, term
        self.bits = signed_bits(-term.most, term.most)
        steps = data.ArrayLayout(signed(self.bits), time_steps)
        self.sums_layout = data.ArrayLayout(steps, head_channels)
        self.shapes = term.shapes(heads, head_channels)
        self.walk = NeighbourWalk(
            grid=term.grid,
            sides=list(term.sides.values()),
            parts=heads,
            blocks=term.blocks,
            checkerboard=True,
        )
        super().__init__(
            {
                "i": In(stream.Signature(values_layout(lanes, time_steps, 2), always_ready=True)),
                "o": Out(stream.Signature(self.sums_layout)),
                "start": In(1),
                **{name: In(write_port(*shape)) for name, shape in self.shapes.items()},
            }
        )

    def elaborate(self, platform) -> Module:
        """Build memories, walk and accumulators."""
        m = Module()
        m.submodules.walk = walk = self.walk
        channels, steps = self.head_channels, self.time_steps
        memories = self._store(m)

        # One run over the grid for each start.
        tokens_left = Signal(range(walk.tokens + 1))
        m.d.comb += walk.open.eq(tokens_left != 0)
        with m.If(self.start):
            m.d.sync += tokens_left.eq(walk.tokens)
        with m.Elif(walk.stepped):
            m.d.sync += tokens_left.eq(tokens_left - 1)

        event, advance, look, done = walk.o.p, Signal(), Signal(), Signal()
        m.d.comb += [
            advance.eq(~done | self.o.ready),
            walk.o.ready.eq(advance),
            look.eq(advance & walk.o.valid),
        ]
        parities = [(side[0].down + side[0].right) % 2 for side in walk.sides]
        for index, memory in enumerate(memories):
            # The token's own memory serves the taps at even distance.
            row = event.sides["0"].row
            if len(parities) > 1:
                row = Mux(event.odd ^ index, event.sides["1"].row, row)
            m.d.comb += [memory.read_addr.eq(row), memory.read_en.eq(look)]
        frame = Signal(data.StructLayout(dict.fromkeys(("valid", "odd", "first", "last"), 1)))
        looked = Signal.like(frame)
        held = [Signal.like(frame, name=f"frame_{n}") for n in range(2)]
        m.d.comb += frame.eq(Cat(walk.o.valid, event.odd, event.first, event.last))
        with m.If(advance):
            m.d.sync += [looked.eq(frame), held[0].eq(looked), held[1].eq(held[0])]

        value_layout = data.ArrayLayout(data.ArrayLayout(unsigned(2), steps), channels)
        weight_layout = data.ArrayLayout(signed(self.term.weight_bits), channels)
        values, weights = [], []
        for n, (name, parity) in enumerate(zip(self.term.sides, parities, strict=True)):
            m.submodules[name] = memory = Storage(*self.shapes[name])
            connect_write(m, memory, getattr(self, name))
            side = event.sides[f"{n}"]
            present = Signal(name=f"present_{n}")
            value = Signal(value_layout, name=f"values_{n}", reset_less=True)
            weight = Signal(weight_layout, name=f"weights_{n}", reset_less=True)
            m.d.comb += [memory.read_addr.eq(side.weight), memory.read_en.eq(look)]
            own, other = (memories[parity ^ odd].read_data for odd in (0, 1))
            found = Mux(looked.odd, other, own)
            with m.If(advance):
                m.d.sync += [
                    present.eq(side.present),
                    value.as_value().eq(Mux(present, found, 0)),
                    weight.as_value().eq(memory.read_data),
                ]
            values.append(value)
            weights.append(weight)

        pair_bits = self.term.weight_bits + 1
        sums = Signal(self.sums_layout, reset_less=True)
        with m.If(advance):
            m.d.sync += done.eq(held[1].valid & held[1].last)
        m.d.comb += [self.o.valid.eq(done), self.o.payload.eq(sums)]
        for c in range(channels):
            for t in range(steps):
                terms = []
                for value, weight in zip(values, weights, strict=True):
                    plus, minus = value[c][t][0], value[c][t][1]
                    amount = weight[c].as_unsigned() & plus.replicate(self.term.weight_bits)
                    flipped = (amount ^ minus.replicate(self.term.weight_bits)).as_signed()
                    terms.append((flipped, minus))
                (first, carry), *others = terms
                pair = Signal(signed(pair_bits), name=f"pair_{c}_{t}", reset_less=True)
                late = Signal(name=f"late_{c}_{t}", reset_less=True)
                second, late_carry = others[0] if others else (Const(0, signed(1)), Const(0))
                before = Mux(held[1].first, 0, sums[c][t])
                with m.If(advance):
                    m.d.sync += [
                        pair.eq(add_carry(first, second, carry)),
                        late.eq(late_carry),
                    ]
                    with m.If(held[1].valid):
                        m.d.sync += sums[c][t].eq(add_carry(before, pair, late))
        return m

    def _store(self, m: Module) -> list[Storage]:
        """Two memories of V, and what fills them."""
        slices, width = self.head_channels // self.lanes, self.lanes * self.time_steps * 2
        m.submodules.filling = filling = GridRows(self.term.grid, self.heads, checkerboard=True)
        slot = Signal(range(slices))
        last_slot = slot == slices - 1
        with m.If(self.i.valid):
            m.d.sync += slot.eq(Mux(last_slot, 0, slot + 1))
        m.d.comb += filling.step.eq(self.i.valid & last_slot)
        memories = []
        for index, name in enumerate(("values_even", "values_odd")):
            m.submodules[name] = memory = Storage(filling.rows, slices * width, granularity=width)
            chosen = self.i.valid & (filling.odd == index)
            m.d.comb += [
                memory.write_addr.eq(filling.row),
                memory.write_data.eq(Cat(self.i.payload).replicate(slices)),
                memory.write_en.eq(Cat(chosen & (slot == k) for k in range(slices))),
            ]
            memories.append(memory)
        return memories
