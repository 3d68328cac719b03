"""Attention in the order (Q K^T) V: a row of scores a token, K and V in memories."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .attention_shape import AttentionShape
from .find_first import flat_row, one_hot_index, one_hot_mux
from .signed_add import add_signed
from .step_scan import StepScan
from .storage import Storage


class QkProduct(wiring.Component):
    """Scores ``a[j] += K[j, r]`` where Q is 1, then sums ``o[:] += a[j] * V[j, :]``.

    Overview
    --------
    K is kept transposed: row ``(h, t, r)`` has the N words of one channel, so that a Q of 1 adds a
    row to the scores of all tokens. Row ``(h, t, n)`` of the other memory is V, which selects plus
    the score, nothing or minus the score. Only additions (A2OS2A, arXiv 2503.00226).

    Design
    ------
    A charge event writes one word of K; the last one of a token's head and step writes V. V of a
    step whose K are all zero is never written, because its scores are 0 and it is never read.
    Scores of the next time step are gathered while this one's are summed. The whole pipeline
    before a step that waits stands still with it.

    Latency and throughput
    ----------------------
    One charge event a cycle, written in the cycle it is taken. For the time steps k of all tokens
    and heads in order, let ``q[k]`` be the ones of Q and ``a[k]`` the scores that are not 0, each
    at least 1: step k takes ``max(q[k], a[k - 1])`` cycles. Sums are offered
    ``a[k] + 6`` cycles after the last Q event of their step was taken, if nothing waits.

    Resources
    ---------
    Memories of ``H * T * d`` rows of N words of b bits and ``H * T * N`` rows of ``2 * d`` bits; N
    adders of ``score_bits``, d of ``attention_bits``; ``(2 * N + 2) * score_bits + 3 * N`` and
    ``d * attention_bits`` registers, two row numbers and a few flags.

    ::

        charge --> K^T Storage --> + --> scores --> StepScan, select --> +- --> o
          |            ^           ^-------'                |            ^ ^----'
          |          query                                  v            |
          '--------------------------------------------> V Storage ------'

    Parameters
    ----------
    shape : sizes of the core

    Members
    -------
    charge : In, non-zero K with their V
    query : In, ones of Q; a silent time step is one event not ``present``
    o : Out, sums of a time step
    clear : In, write zeros to ``clear_row`` of K; only while not ``busy``
    clear_row : In, row of K
    busy : Out, events are in the pipelines
    """

    def __init__(self, shape: AttentionShape) -> None:
        self.shape = shape
        super().__init__(
            {
                "charge": In(stream.Signature(shape.charge_layout())),
                "query": In(stream.Signature(shape.query_layout())),
                "o": Out(stream.Signature(shape.result_layout())),
                "clear": In(1),
                "clear_row": In(range(shape.rows)),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build both memories and both phases."""
        m = Module()
        shape = self.shape
        tokens, channels = shape.tokens, shape.head_channels
        place = {"head": range(shape.heads), "step": range(shape.time_steps)}
        value_rows = shape.heads * shape.time_steps * tokens
        m.submodules.keys = keys = Storage(
            shape.rows, tokens * shape.key_bits, granularity=shape.key_bits
        )
        m.submodules.values = values = Storage(value_rows, channels * 2)
        m.submodules.scan = scan = StepScan(tokens, 1)

        def row_of(at, index, size):
            return flat_row((at.head, shape.heads), (at.step, shape.time_steps), (index, size))

        charge = self.charge.p
        m.d.comb += [
            self.charge.ready.eq(1),
            keys.write_addr.eq(
                Mux(self.clear, self.clear_row, row_of(charge, charge.index, channels))
            ),
            keys.write_data.eq(Mux(self.clear, 0, charge.key).replicate(tokens)),
            keys.write_en.eq(
                Cat(self.clear | (self.charge.valid & (charge.token == n)) for n in range(tokens))
            ),
            values.write_addr.eq(row_of(charge, charge.token, tokens)),
            values.write_data.eq(charge.values),
            values.write_en.eq(self.charge.valid & charge.last),
        ]

        # First phase: look up K, accumulate scores.
        look_valid, look_present, look_last = Signal(), Signal(), Signal()
        add_valid, add_present, add_last = Signal(), Signal(), Signal()
        look_row = Signal(range(shape.rows), reset_less=True)
        look_at, add_at, scored_at = (Signal(data.StructLayout(place)) for _ in range(3))
        fresh = Signal(init=1)
        scores_layout = data.ArrayLayout(unsigned(shape.score_bits), tokens)
        gathered = Signal(scores_layout, reset_less=True)
        scored = Signal()
        first_advance = Signal()
        row = data.View(data.ArrayLayout(unsigned(shape.key_bits), tokens), keys.read_data)
        m.d.comb += [
            first_advance.eq(~scored | scan.i.ready),
            self.query.ready.eq(first_advance),
            keys.read_addr.eq(look_row),
            keys.read_en.eq(look_valid & look_present & first_advance),
        ]
        with m.If(first_advance):
            m.d.sync += [
                look_valid.eq(self.query.valid),
                look_row.eq(row_of(self.query.p, self.query.p.index, channels)),
                look_present.eq(self.query.p.present),
                look_last.eq(self.query.p.last),
                look_at.head.eq(self.query.p.head),
                look_at.step.eq(self.query.p.step),
                add_valid.eq(look_valid),
                add_present.eq(look_present),
                add_last.eq(look_last),
                add_at.eq(look_at),
                scored.eq(add_valid & add_last),
                scored_at.eq(add_at),
            ]
            with m.If(add_valid):
                m.d.sync += fresh.eq(add_last)
                for n in range(tokens):
                    before = Mux(fresh, 0, gathered[n])
                    m.d.sync += gathered[n].eq(before + Mux(add_present, row[n], 0))

        # Second phase: pick a score, look up V, accumulate.
        scores = Signal(scores_layout, reset_less=True)
        at = Signal(data.StructLayout(place))
        m.d.comb += [
            scan.i.valid.eq(scored),
            scan.i.p.visit.eq(1),
            scan.i.p.masks[0].eq(Cat(gathered[n].any() for n in range(tokens))),
        ]
        with m.If(scan.i.valid & scan.i.ready):
            m.d.sync += [scores.eq(gathered), at.eq(scored_at)]

        pick_valid, pick_present, pick_last = Signal(), Signal(), Signal()
        sum_valid, sum_present, sum_last = Signal(), Signal(), Signal()
        pick_row = Signal(range(value_rows), reset_less=True)
        pick_score, sum_score = (Signal(shape.score_bits, reset_less=True) for _ in range(2))
        fresh_sum = Signal(init=1)
        sums = Signal.like(self.o.p.sums, reset_less=True)
        done = Signal()
        second_advance = Signal()
        event = scan.o.p
        signs = data.View(data.ArrayLayout(unsigned(2), channels), values.read_data)
        m.d.comb += [
            second_advance.eq(~done | self.o.ready),
            scan.o.ready.eq(second_advance),
            values.read_addr.eq(pick_row),
            values.read_en.eq(pick_valid & pick_present & second_advance),
            self.o.valid.eq(done),
            self.o.p.sums.eq(sums),
        ]
        with m.If(second_advance):
            m.d.sync += [
                pick_valid.eq(scan.o.valid),
                pick_row.eq(row_of(at, one_hot_index(event.select), tokens)),
                pick_score.eq(one_hot_mux(event.select, [scores[n] for n in range(tokens)])),
                pick_present.eq(event.select.any()),
                pick_last.eq(event.last),
                sum_valid.eq(pick_valid),
                sum_present.eq(pick_present),
                sum_score.eq(pick_score),
                sum_last.eq(pick_last),
                done.eq(sum_valid & sum_last),
            ]
            with m.If(sum_valid):
                m.d.sync += fresh_sum.eq(sum_last)
                for c in range(channels):
                    present = sum_present & signs[c][0]
                    minus = present & signs[c][1]
                    amount = Mux(present, sum_score, 0)
                    before = Mux(fresh_sum, 0, sums[c])
                    m.d.sync += sums[c].eq(add_signed(before, amount, minus, shape.sum_bits))

        flights = (look_valid, add_valid, scored, scan.o.valid, pick_valid, sum_valid, done)
        m.d.comb += self.busy.eq(Cat(flights).any())
        return m
