"""Attention in the order Q (K^T V): a state of d x d words a head and time step."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .attention_shape import AttentionShape
from .find_first import flat_row
from .signed_add import add_signed
from .storage import Storage


class KvProduct(wiring.Component):
    """Charges ``S[r, :] += K[n, r] * V[n, :]``, then reads ``o[:] += S[r, :]`` where Q is 1.

    Overview
    --------
    Row ``(h, t, r)`` of the state holds d signed words. V selects plus K, nothing or minus K, and
    Q gates whole rows, so there are only additions (A2OS2A, arXiv 2503.00226).

    Design
    ------
    Charging is a pipeline of read, add, write. An event whose row is still in it waits: 2 cycles
    if the row is that of the event before, 1 cycle if that of the one before it. Rows of one
    token and head differ, so this needs short heads and the same head again.
    Reading is a pipeline of read and accumulate; it stands still as a whole while ``o`` waits.
    Charging and reading use the same read port and must not overlap.

    Latency and throughput
    ----------------------
    One event a cycle. A charge event taken in cycle c is written in ``c + 3``. Sums are offered 3
    cycles after the last event of their time step was taken.

    Resources
    ---------
    A memory of ``H * T * d`` rows of d words of ``kv_state_bits``; 2 d adders;
    ``d * (kv_state_bits + attention_bits + 4) + 2 * b`` registers, four row numbers and
    a few flags.

    ::

        charge --> row, K, V --> Storage --> +- --> write
        query ---> row -----------^   '----> + --> o
                                             ^-----'

    Parameters
    ----------
    shape : sizes of the core

    Members
    -------
    charge : In, non-zero K with their V
    query : In, ones of Q; a silent time step is one event not ``present``
    o : Out, sums of a time step
    clear : In, write zeros to ``clear_row``; only while not ``busy``
    clear_row : In, row of the state
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
        """Build the state and the two pipelines."""
        m = Module()
        shape = self.shape
        channels, bits = shape.head_channels, shape.state_bits
        words = data.ArrayLayout(signed(bits), channels)
        m.submodules.state = state = Storage(shape.rows, channels * bits)
        contents = data.View(words, state.read_data)

        def row_of(event):
            return flat_row(
                (event.head, shape.heads),
                (event.step, shape.time_steps),
                (event.index, channels),
            )

        # Charge: fetch, add, store.
        fetch_valid, add_valid, store_valid = Signal(), Signal(), Signal()
        fetch_row, add_row, store_row = (
            Signal(range(shape.rows), reset_less=True) for _ in range(3)
        )
        fetch_key, add_key = (Signal(shape.key_bits, reset_less=True) for _ in range(2))
        fetch_values, add_values = (
            Signal.like(self.charge.p.values, reset_less=True) for _ in range(2)
        )
        total = Signal(words, reset_less=True)
        hazard = (add_valid & (add_row == fetch_row)) | (store_valid & (store_row == fetch_row))
        fetch = Signal()
        m.d.comb += [
            fetch.eq(fetch_valid & ~hazard),
            self.charge.ready.eq(~fetch_valid | ~hazard),
        ]
        with m.If(self.charge.ready):
            m.d.sync += fetch_valid.eq(self.charge.valid)
            with m.If(self.charge.valid):
                m.d.sync += [
                    fetch_row.eq(row_of(self.charge.p)),
                    fetch_key.eq(self.charge.p.key),
                    fetch_values.eq(self.charge.p.values),
                ]
        m.d.sync += [add_valid.eq(fetch), store_valid.eq(add_valid)]
        with m.If(fetch):
            m.d.sync += [
                add_row.eq(fetch_row),
                add_key.eq(fetch_key),
                add_values.eq(fetch_values),
            ]
        with m.If(add_valid):
            m.d.sync += store_row.eq(add_row)
            for c in range(channels):
                present, minus = add_values[c][0], add_values[c][1]
                amount = Mux(present, add_key, 0)
                m.d.sync += total[c].eq(add_signed(contents[c], amount, present & minus, bits))

        # Read: look up, accumulate.
        look_valid, look_present, look_last = Signal(), Signal(), Signal()
        sum_valid, sum_present, sum_last = Signal(), Signal(), Signal()
        look_row = Signal(range(shape.rows), reset_less=True)
        fresh = Signal(init=1)
        sums = Signal.like(self.o.p.sums, reset_less=True)
        done = Signal()
        advance = Signal()
        m.d.comb += [
            advance.eq(~done | self.o.ready),
            self.query.ready.eq(advance),
            self.o.valid.eq(done),
            self.o.p.sums.eq(sums),
        ]
        with m.If(advance):
            m.d.sync += [
                look_valid.eq(self.query.valid),
                look_row.eq(row_of(self.query.p)),
                look_present.eq(self.query.p.present),
                look_last.eq(self.query.p.last),
                sum_valid.eq(look_valid),
                sum_present.eq(look_present),
                sum_last.eq(look_last),
                done.eq(sum_valid & sum_last),
            ]
            with m.If(sum_valid):
                m.d.sync += fresh.eq(sum_last)
                for c in range(channels):
                    before = Mux(fresh, 0, sums[c])
                    m.d.sync += sums[c].eq(before + Mux(sum_present, contents[c], 0))

        look = look_valid & look_present & advance
        m.d.comb += [
            state.read_addr.eq(Mux(look_valid, look_row, fetch_row)),
            state.read_en.eq(fetch | look),
            state.write_addr.eq(Mux(self.clear, self.clear_row, store_row)),
            state.write_en.eq(self.clear | store_valid),
            state.write_data.eq(Mux(self.clear, 0, total.as_value())),
            self.busy.eq(
                Cat(fetch_valid, add_valid, store_valid, look_valid, sum_valid, done).any()
            ),
        ]
        return m
