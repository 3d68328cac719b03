"""The state of causal attention: charged with a token, read by it, row by row."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .attention_shape import AttentionShape
from .find_first import flat_row, one_hot_index, one_hot_mux
from .head_intake import head_layout
from .signed_add import add_signed
from .step_scan import StepScan
from .storage import Storage

# Cycles between reading a row and the first cycle in which it can be read again.
REUSE = 4


class CausalState(wiring.Component):
    """``S[r, :] += K[r] * V[:]``, then ``o[:] += S[r, :]`` where Q[r] is 1, for one row a cycle.

    Overview
    --------
    For each token in order and each of its heads in order, ``i`` carries K, V and Q; ``o`` carries
    ``q_n S_n`` of one time step after another. The state forgets a share of ``2**-s`` with every
    token if ``decay_shift`` s is not 0: ``S - floor(S / 2**s)``.

    Design
    ------
    A row of the memory holds d words of each time step, so that all T steps of a channel are
    worked on in one cycle. A row is read, decayed, charged, stored and added to the sums. Rows
    whose K and Q are 0 are left out; with a decay, and for the first token, none is. The first
    token takes every row as 0, so that nothing needs to be cleared::

        i --> active rows --> Storage --> (- S >> s) --> +- K --> Storage
                                                          '---> + --> sums --> o, step by step

    With fewer than 4 heads, a head waits until the one before it has left the pipeline, as its
    rows might be the same.

    Latency and throughput
    ----------------------
    With r the rows of a head that are not left out, at least 1, the sums of its first time step
    are offered ``r + 6`` cycles after the head was taken. A head takes ``r`` cycles, ``r + 4``
    with fewer than 4 heads, and at least T.

    Resources
    ---------
    A memory of ``H * d`` rows of ``T * d`` words of ``kv_state_bits``; ``2 * T * d`` adders,
    ``3 * T * d`` with a decay.

    Parameters
    ----------
    shape : sizes of the core
    decay_shift : s; 0 for no decay

    Members
    -------
    i : In, heads
    o : Out, sums of a time step
    busy : Out, a head is being worked on
    """

    def __init__(self, shape: AttentionShape, *, decay_shift: int = 0) -> None:
        self.shape, self.decay_shift = shape, decay_shift
        super().__init__(
            {
                "i": In(stream.Signature(head_layout(shape))),
                "o": Out(stream.Signature(shape.result_layout())),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the scanner and the pipeline behind it."""
        m = Module()
        shape = self.shape
        channels, steps, bits = shape.head_channels, shape.time_steps, shape.state_bits
        rows = shape.heads * channels
        m.submodules.scan = scan = StepScan(channels, 1)
        m.submodules.state = state = Storage(rows, steps * channels * bits)
        advance = Signal()

        # What the events of the head in the scanner are about.
        head = Signal.like(self.i.payload, reset_less=True)
        number, fresh = Signal(range(shape.heads)), Signal()
        next_number, token = Signal(range(shape.heads)), Signal(range(shape.tokens))
        last_head = next_number == shape.heads - 1
        flights = Signal(5)
        clear = Signal(init=1)
        if shape.heads < REUSE:
            m.d.comb += clear.eq(~flights.any() & ~scan.o.valid)
        everything = (token == 0) | (self.decay_shift != 0)
        m.d.comb += [
            scan.i.valid.eq(self.i.valid & clear),
            self.i.ready.eq(scan.i.ready & clear),
            scan.i.p.visit.eq(1),
            scan.i.p.masks[0].eq(self.i.p.active | everything.replicate(channels)),
            scan.o.ready.eq(advance),
            self.busy.eq(scan.o.valid | flights.any() | self.o.valid),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                head.eq(self.i.payload),
                number.eq(next_number),
                fresh.eq(token == 0),
                next_number.eq(Mux(last_head, 0, next_number + 1)),
            ]
            with m.If(last_head):
                m.d.sync += token.eq(Mux(token == shape.tokens - 1, 0, token + 1))

        # A stage of registers each: pick, look up, decay, charge, sum.
        select = scan.o.p.select
        event = data.StructLayout(
            {
                "row": range(rows),
                "fresh": 1,
                "last": 1,
                "keys": shape.key_bits * steps,
                "queries": steps,
                "values": head.values.shape(),
            }
        )
        stages = [Signal(event, name=f"stage_{n}", reset_less=True) for n in range(4)]
        pick, look, add, store = stages
        with m.If(advance):
            m.d.sync += flights.eq(Cat(scan.o.valid, flights))
            for before, after in zip(stages, stages[1:], strict=False):
                m.d.sync += after.eq(before)
            m.d.sync += [
                pick.row.eq(flat_row((number, shape.heads), (one_hot_index(select), channels))),
                pick.fresh.eq(fresh),
                pick.last.eq(scan.o.p.last),
                pick.keys.eq(one_hot_mux(select, [key.as_value() for key in head.keys])),
                pick.queries.eq(one_hot_mux(select, [q.as_value() for q in head.queries])),
                pick.values.eq(head.values),
            ]
        words = data.ArrayLayout(data.ArrayLayout(signed(bits), channels), steps)
        contents = data.View(words, state.read_data)
        old, new = (Signal(words, reset_less=True) for _ in range(2))
        sums = Signal(data.ArrayLayout(shape.result_layout(), steps), reset_less=True)
        begin = Signal(init=1)
        m.d.comb += [
            state.read_addr.eq(pick.row),
            state.read_en.eq(flights[0] & advance),
            state.write_addr.eq(store.row),
            state.write_en.eq(flights[3] & advance),
            state.write_data.eq(new.as_value()),
        ]
        with m.If(advance & flights[3]):
            m.d.sync += begin.eq(store.last)
        for t in range(steps):
            keys = add.keys.word_select(t, shape.key_bits)
            for c in range(channels):
                word, value = contents[t][c], add.values[c][t]
                if self.decay_shift:
                    word = word - (word >> self.decay_shift)
                amount = keys & value[0].replicate(shape.key_bits)
                total = sums[t].sums[c]
                before = Mux(begin, 0, total)
                with m.If(advance):
                    m.d.sync += [
                        old[t][c].eq(Mux(look.fresh, 0, word)),
                        new[t][c].eq(add_signed(old[t][c], amount, value[0] & value[1], bits)),
                    ]
                    with m.If(flights[3]):
                        m.d.sync += total.eq(before + Mux(store.queries[t], new[t][c], 0))

        # Sums of a head leave step by step.
        done = flights[4] & begin
        left = Signal(range(steps + 1))
        leaving = Signal.like(sums, reset_less=True)
        free = (left == 0) | ((left == 1) & self.o.ready)
        m.d.comb += [
            advance.eq(~done | free),
            self.o.valid.eq(left != 0),
            self.o.payload.eq(leaving[0]),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += left.eq(left - 1)
            for t in range(steps - 1):
                m.d.sync += leaving[t].eq(leaving[t + 1])
        with m.If(done & free):
            m.d.sync += [left.eq(steps), leaving.eq(sums)]
        return m
