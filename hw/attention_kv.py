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
    Charging is a pipeline of read, arrive, add, write. An event whose row is still in it waits: 3
    cycles if the row is that of the event before, 2 if that of the one before it, 1 if that of the
    third before. Rows of one token and head differ, so this needs short heads and the same head
    again. Reading is a pipeline of read, arrive and accumulate; it stands still as a whole while
    ``o`` waits. Charging and reading use the same read port, and must not overlap.
    What arrives from the memory goes straight into a register: the memory, and the wires from it,
    have a cycle of their own.

    Latency and throughput
    ----------------------
    One event a cycle. A charge event taken in cycle c is written in ``c + 4``. Sums are offered 4
    cycles after the last event of their time step was taken.

    Resources
    ---------
    A memory of ``H * T * d`` rows of d words of ``kv_state_bits``; 2 d adders;
    ``d * (2 * kv_state_bits + attention_bits + 6) + 3 * b`` registers, five row numbers and
    a few flags.

    ::

        charge --> row, K, V --> Storage --> [words] --> +- --> write
        query ---> row -----------^             '------> + --> o
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
        contents = Signal(words, reset_less=True)

        def row_of(event):
            return flat_row(
                (event.head, shape.heads),
                (event.step, shape.time_steps),
                (event.index, channels),
            )

        # Charge: fetch, arrive, add, store.
        fetch_valid, arrive_valid, add_valid, store_valid = (Signal() for _ in range(4))
        fetch_row, arrive_row, add_row, store_row = (
            Signal(range(shape.rows), reset_less=True) for _ in range(4)
        )
        fetch_key, arrive_key, add_key = (Signal(shape.key_bits, reset_less=True) for _ in range(3))
        fetch_values, arrive_values, add_values = (
            Signal.like(self.charge.p.values, reset_less=True) for _ in range(3)
        )
        total = Signal(words, reset_less=True)
        hazard = Cat(
            valid & (row == fetch_row)
            for valid, row in (
                (arrive_valid, arrive_row),
                (add_valid, add_row),
                (store_valid, store_row),
            )
        ).any()
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
        m.d.sync += [
            arrive_valid.eq(fetch),
            add_valid.eq(arrive_valid),
            store_valid.eq(add_valid),
        ]
        with m.If(fetch):
            m.d.sync += [
                arrive_row.eq(fetch_row),
                arrive_key.eq(fetch_key),
                arrive_values.eq(fetch_values),
            ]
        with m.If(arrive_valid):
            m.d.sync += [
                add_row.eq(arrive_row),
                add_key.eq(arrive_key),
                add_values.eq(arrive_values),
            ]
        with m.If(add_valid):
            m.d.sync += store_row.eq(add_row)
            for c in range(channels):
                present, minus = add_values[c][0], add_values[c][1]
                amount = Mux(present, add_key, 0)
                m.d.sync += total[c].eq(add_signed(contents[c], amount, present & minus, bits))

        # Read: look up, arrive, accumulate.
        event_layout = data.StructLayout({"valid": 1, "present": 1, "last": 1})
        look, arrive, add = (Signal(event_layout, name=name) for name in ("look", "arrive", "add"))
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
                look.valid.eq(self.query.valid),
                look_row.eq(row_of(self.query.p)),
                look.present.eq(self.query.p.present),
                look.last.eq(self.query.p.last),
                arrive.eq(look),
                add.eq(arrive),
                done.eq(add.valid & add.last),
            ]
            with m.If(add.valid):
                m.d.sync += fresh.eq(add.last)
                for c in range(channels):
                    before = Mux(fresh, 0, sums[c])
                    m.d.sync += sums[c].eq(before + Mux(add.present, contents[c], 0))
        with m.If(arrive_valid | (arrive.valid & arrive.present & advance)):
            m.d.sync += contents.eq(state.read_data)

        m.d.comb += [
            state.read_addr.eq(Mux(look.valid, look_row, fetch_row)),
            state.read_en.eq(fetch | (look.valid & look.present & advance)),
            state.write_addr.eq(Mux(self.clear, self.clear_row, store_row)),
            state.write_en.eq(self.clear | store_valid),
            state.write_data.eq(Mux(self.clear, 0, total.as_value())),
            self.busy.eq(
                Cat(
                    *(fetch_valid, arrive_valid, add_valid, store_valid),
                    *(look.valid, arrive.valid, add.valid, done),
                ).any()
            ),
        ]
        return m
