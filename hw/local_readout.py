"""The local branch of LRF-Dyn: weighted read-outs of each token's neighbours."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.coefficients import COEFFICIENT_SHIFT
from golden.local_taps import Tap, local_taps

from .layouts import sums_layout
from .neighbour_walk import NeighbourWalk
from .signed_add import add_carry
from .storage import Storage, connect_write, write_port
from .two_powers import COEFFICIENT, term_of


class LocalReadout(wiring.Component):
    """``o_n = y_n + floor(sum over taps of r[c, tap] y[n + tap, c] / 2**7)``, slice by slice.

    Overview
    --------
    ``i`` carries the read-outs of a slice of channels after another, token by token; they are kept
    in a ring of ``ring`` tokens. While ``open`` is high, ``o`` carries the next token's slices with
    the weighted neighbours added (LRF-Dyn, arXiv 2603.19290, equation 13). Neighbours outside the
    grid are not visited. Weights are sums of at most two signed powers of two in units of
    ``2**-7``, a row for each slice and tap, written by the host. Without dilations ``o`` carries
    the read-outs as they are.

    Design
    ------
    A tap of all channels and steps of a slice a cycle::

        i --> Storage --> two terms --> + --> + --> >> 7 --> + --> o
        NeighbourWalk --> weights --^         ^---'          ^
                   own read-out -----------------------------'

    Latency and throughput
    ----------------------
    The first slice is offered ``taps + 10`` cycles after ``open`` (9 if the ring holds the whole
    grid), from then on one in as many cycles as it has taps inside the grid.

    Resources
    ---------
    ``ring * S * NL * T * read_bits`` bits of read-outs, ``blocks * S * taps`` rows of ``10 * NL``
    bits of weights; for each of NL channels and T steps 2 shifters and 3 adders.

    Parameters
    ----------
    grid : height and width of the token grid
    slices, lanes, time_steps : S, NL, T
    read_bits : signed bits of a read-out
    dilations : of the 3x3 kernels; may be none
    causal : without neighbours that come later than the token
    ring : tokens kept, at least those that a token sees and those between them
    blocks : images after which the weights are those of the first again

    Members
    -------
    i : In, slices of read-outs; always ready
    o : Out, slices of :func:`hw.layouts.sums_layout`
    open : In, the next token may be walked
    written : Out, pulse: the last slice of a token is in the ring
    walked : Out, pulse: the last slice of a token is being walked
    weights : In, write port, if there are dilations
    """

    def __init__(
        self,
        *,
        grid: tuple[int, int],
        slices: int,
        lanes: int,
        time_steps: int,
        read_bits: int,
        dilations: tuple[int, ...],
        causal: bool,
        ring: int,
        blocks: int = 1,
    ) -> None:
        self.grid, self.slices, self.lanes, self.time_steps = grid, slices, lanes, time_steps
        self.read_bits, self.dilations, self.causal = read_bits, dilations, causal
        self.ring, self.blocks = ring, blocks
        self.taps = local_taps(dilations, causal=causal) or [Tap(0, 1, 1, 0, 0)]
        # Two terms of 1 a tap at most, and the read-out itself.
        self.sum_bits = read_bits + COEFFICIENT_SHIFT + 1 + len(self.taps).bit_length()
        self.bits = self.sum_bits - COEFFICIENT_SHIFT + 1 if dilations else read_bits
        self.walk = NeighbourWalk(
            grid=grid,
            sides=[self.taps],
            parts=slices,
            blocks=blocks,
            ring=ring if ring < grid[0] * grid[1] else None,
        )
        self.words = data.ArrayLayout(data.ArrayLayout(signed(read_bits), time_steps), lanes)
        self.weight_width = lanes * COEFFICIENT.size
        port = {"weights": In(write_port(self.walk.weight_rows[0], self.weight_width))}
        super().__init__(
            {
                "i": In(stream.Signature(self.words, always_ready=True)),
                "o": Out(stream.Signature(sums_layout(lanes, time_steps, self.bits))),
                "open": In(1),
                "written": Out(1),
                "walked": Out(1),
                **(port if dilations else {}),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the ring, the walk and the sums."""
        m = Module()
        m.submodules.walk = walk = self.walk
        m.submodules.ring = ring = Storage(walk.rows, self.words.size)
        self._write(m)
        event, advance = walk.o.p, Signal()
        look = walk.o.valid & advance
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready),
            walk.open.eq(self.open),
            self.walked.eq(walk.stepped),
            walk.o.ready.eq(advance),
            ring.read_addr.eq(event.sides["0"].row),
            ring.read_en.eq(look),
        ]
        # Looked up, held, terms, pair, sum.
        frame = Signal(data.StructLayout(dict.fromkeys(("valid", "own", "first", "last"), 1)))
        frames = [Signal.like(frame, name=f"frame_{n}") for n in range(5)]
        m.d.comb += frame.eq(Cat(walk.o.valid, event.own, event.first, event.last))
        held, own = (Signal(self.words, name=name, reset_less=True) for name in ("held", "own"))
        with m.If(advance):
            for before, after in zip([frame, *frames], frames, strict=False):
                m.d.sync += after.eq(before)
            m.d.sync += [
                held.as_value().eq(ring.read_data),
                self.o.valid.eq(frames[4].valid & frames[4].last),
            ]
        words = held.as_value()
        for number in range(2):
            later = Signal.like(words, name=f"own_{number}", reset_less=True)
            with m.If(advance):
                m.d.sync += later.eq(words)
            words = later
        with m.If(advance & frames[3].valid & frames[3].own):
            m.d.sync += own.as_value().eq(words)
        sums = self._sums(m, look, held, advance, frames[3]) if self.dilations else None
        for lane in range(self.lanes):
            for t in range(self.time_steps):
                total = own[lane][t]
                if sums is not None:
                    total = total + (sums[lane][t] >> COEFFICIENT_SHIFT)
                with m.If(advance):
                    m.d.sync += self.o.p.sums[lane][t].eq(total)
        return m

    def _write(self, m: Module) -> None:
        """Fill the ring, which begins at its first row with each image."""
        ring, rows, tokens = m.submodules.ring, self.walk.rows, self.walk.tokens
        row, slot, token = Signal(range(rows)), Signal(range(self.slices)), Signal(range(tokens))
        last_slot = slot == self.slices - 1
        last = last_slot & (token == tokens - 1)
        m.d.comb += [
            ring.write_addr.eq(row),
            ring.write_data.eq(self.i.payload.as_value()),
            ring.write_en.eq(self.i.valid),
            self.written.eq(self.i.valid & last_slot),
        ]
        with m.If(self.i.valid):
            m.d.sync += [
                row.eq(Mux(last | (row == rows - 1), 0, row + 1)),
                slot.eq(Mux(last_slot, 0, slot + 1)),
            ]
            with m.If(last_slot):
                m.d.sync += token.eq(Mux(last, 0, token + 1))

    def _sums(self, m: Module, look, held, advance, frame) -> Signal:
        """Weighted sums of the taps so far, in units of ``2**-7``."""
        m.submodules.local = memory = Storage(self.walk.weight_rows[0], self.weight_width)
        connect_write(m, memory, self.weights)
        weights = Signal(data.ArrayLayout(COEFFICIENT, self.lanes), reset_less=True)
        m.d.comb += [
            memory.read_addr.eq(self.walk.o.p.sides["0"].weight),
            memory.read_en.eq(look),
        ]
        with m.If(advance):
            m.d.sync += weights.as_value().eq(memory.read_data)
        shape = data.ArrayLayout(
            data.ArrayLayout(signed(self.sum_bits), self.time_steps), self.lanes
        )
        sums = Signal(shape, reset_less=True)
        term_bits = self.read_bits + COEFFICIENT_SHIFT
        for lane in range(self.lanes):
            for t in range(self.time_steps):
                where = f"{lane}_{t}"
                terms = [
                    Signal(signed(term_bits), name=f"term_{k}_{where}", reset_less=True)
                    for k in range(2)
                ]
                signs = [Signal(name=f"sign_{k}_{where}", reset_less=True) for k in range(2)]
                pair = Signal(signed(term_bits + 1), name=f"pair_{where}", reset_less=True)
                late = Signal(name=f"late_{where}", reset_less=True)
                before = Mux(frame.first, Const(0), sums[lane][t])
                with m.If(advance):
                    for k, (term, sign) in enumerate(zip(terms, signs, strict=True)):
                        m.d.sync += [
                            term.eq(term_of(held[lane][t], weights[lane][k])),
                            sign.eq(weights[lane][k].minus),
                        ]
                    m.d.sync += [pair.eq(add_carry(*terms, signs[0])), late.eq(signs[1])]
                    with m.If(frame.valid):
                        m.d.sync += sums[lane][t].eq(add_carry(before, pair, late))
        return sums
