"""Dendrites of LRF-Dyn: a few states a channel, charged by one token after another."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.coefficients import COEFFICIENT_SHIFT

from .signed_add import add_carry
from .storage import Storage, connect_write, write_port
from .two_powers import COEFFICIENT, saturate, term_of

# Cycles from reading a dendrite's state to the first cycle in which it can be read again.
REUSE = 9


def dendrite_layout(lanes: int) -> data.ArrayLayout:
    """Row of coefficients of one dendrite of ``lanes`` channels.

    ``a`` is what it takes of the dendrite before, of itself and of the one after, ``gamma`` what it
    takes of a token, ``c`` what the soma takes of it. Dendrites that are not there have a 0 in
    ``a``.
    """
    fields = {"a": data.ArrayLayout(COEFFICIENT, 3), "gamma": COEFFICIENT, "c": COEFFICIENT}
    return data.ArrayLayout(data.StructLayout(fields), lanes)


class Dendrites(wiring.Component):
    """``X[j] = A[j-1..j+1] X + Gamma[j] K V`` for each dendrite j, and the read-out ``y = C X``.

    Overview
    --------
    ``i`` carries K and V of one slice of channels after another; ``o`` carries the slice's read-out
    after this token. Each channel and time step has ``dendrites`` words of state. Coefficients are
    sums of at most two signed powers of two, one row a dendrite and slice, written by the host
    (LRF-Dyn, arXiv 2603.19290, equations 12 and 13; Token = K V is our reading)::

        X_n[j] = sat((a0 X[j-1] + a1 X[j] + a2 X[j+1] + gamma (Token_n << state_frac_bits)) >> 7)
        y_n    = sat((sum over j of c X_n[j]) >> (7 + state_frac_bits - read_frac_bits))

    with coefficients in units of ``2**-7``, old X on the right, exact sums, and a floor by ``>>``.

    Design
    ------
    One dendrite of all channels and steps of a slice a cycle. States stream through three
    registers, in which a dendrite sees the one before and the one after; eight shifted terms meet
    in a tree of adders. The first token takes every state as 0. Nothing ever waits once a slice was
    taken::

        Storage --> ahead --> here --> behind
           ^          '---------+--------' terms --> + --> + --> + --> sat --.
           '-------------------------------------------------------------- X +--> terms --> + --> y

    Latency and throughput
    ----------------------
    With k dendrites and S slices a token, ``o`` carries the read-out ``k + 12`` cycles after the
    slice was taken; a slice takes k cycles. If ``S * k`` is below 9, the first slice of a token
    waits until all slices before it are out.

    Resources
    ---------
    A memory of ``S * k`` rows of ``NL * T * state_bits`` (N does not occur), one of
    ``blocks * S * k`` rows of ``50 * NL`` bits of coefficients; for each of NL channels and T steps
    10 shifters and 10 adders of about ``state_bits + 10`` bits.

    Parameters
    ----------
    tokens, slices, lanes, time_steps, dendrites : N, S, NL, T, k
    key_bits : b, bits of K
    state_bits, state_frac_bits : of X, the latter below the unit of K
    read_bits, read_frac_bits : of y, likewise
    blocks : images after which the coefficients are those of the first again

    Members
    -------
    i : In, slices: K unsigned, V two's complement in 2 bits
    o : Out, slices of read-outs; the sink must always be ready
    coefficients : In, write port of the rows of :func:`dendrite_layout`
    """

    def __init__(
        self,
        *,
        tokens: int,
        slices: int,
        lanes: int,
        time_steps: int,
        dendrites: int,
        key_bits: int,
        state_bits: int,
        state_frac_bits: int,
        read_bits: int,
        read_frac_bits: int,
        blocks: int = 1,
    ) -> None:
        self.tokens, self.slices, self.lanes, self.time_steps = tokens, slices, lanes, time_steps
        self.dendrites, self.key_bits, self.blocks = dendrites, key_bits, blocks
        self.state_bits, self.state_frac_bits = state_bits, state_frac_bits
        self.read_bits, self.read_frac_bits = read_bits, read_frac_bits
        self.rows = slices * dendrites

        def words(shape: object) -> data.ArrayLayout:
            return data.ArrayLayout(data.ArrayLayout(shape, time_steps), lanes)

        token = {"keys": words(unsigned(key_bits)), "values": words(unsigned(2))}
        self.words = words
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout(token))),
                "o": Out(stream.Signature(words(signed(read_bits)), always_ready=True)),
                "coefficients": In(write_port(blocks * self.rows, dendrite_layout(lanes).size)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the counters, the charge and the read-out."""
        m = Module()
        taken = Signal.like(self.i.payload, reset_less=True)
        active, later = Signal(), Signal(9)
        flights = Cat(active, later)
        m.d.sync += later.eq(flights)
        fresh = self._issue(m, taken, active, flights)
        charged, weights = self._charge(m, taken, fresh)
        self._read_out(m, charged, weights, flights)
        return m

    def _issue(self, m: Module, taken: Signal, active: Signal, flights: Value) -> Signal:
        """Read states and coefficients, a dendrite a cycle; give whether it is the first token."""
        blocks_rows = self.blocks * self.rows
        m.submodules.states = states = Storage(
            self.rows, self.lanes * self.time_steps * self.state_bits
        )
        m.submodules.dendrites = memory = Storage(blocks_rows, dendrite_layout(self.lanes).size)
        connect_write(m, memory, self.coefficients)
        dendrite = Signal(range(self.dendrites))
        row, at, begin = Signal(range(self.rows)), *(Signal(range(blocks_rows)) for _ in range(2))
        token = Signal(range(self.tokens))
        last = dendrite == self.dendrites - 1
        last_row, last_token = row == self.rows - 1, token == self.tokens - 1
        ready = Signal()
        m.d.comb += [
            ready.eq(~active | last),
            self.i.ready.eq(ready),
            states.read_addr.eq(row),
            states.read_en.eq(active),
            memory.read_addr.eq(at),
            memory.read_en.eq(active),
        ]
        if self.rows < REUSE:
            # The slice that comes next is the token's first, unless one is being read.
            first = Mux(active, last_row, row == 0)
            m.d.comb += self.i.ready.eq(ready & ~(first & flights.any()))
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [active.eq(1), taken.eq(self.i.payload)]
        with m.Elif(last):
            m.d.sync += active.eq(0)
        with m.If(active):
            onward = Mux(at == blocks_rows - 1, 0, at + 1)
            m.d.sync += [
                dendrite.eq(Mux(last, 0, dendrite + 1)),
                row.eq(Mux(last_row, 0, row + 1)),
                at.eq(Mux(last_row & ~last_token, begin, onward)),
            ]
            with m.If(last_row):
                m.d.sync += token.eq(Mux(last_token, 0, token + 1))
                with m.If(last_token):
                    m.d.sync += begin.eq(onward)
        fresh = Signal()
        m.d.sync += fresh.eq(token == 0)
        return fresh

    def _charge(self, m: Module, taken: Signal, fresh: Signal) -> tuple[Signal, Signal]:
        """New states from old ones and the token, and the coefficients of their read-out."""
        lanes, steps = self.lanes, self.time_steps
        states, memory = m.submodules.states, m.submodules.dendrites
        words = self.words(signed(self.state_bits))
        ahead, here, behind, charged = (
            Signal(words, name=name, reset_less=True)
            for name in ("ahead", "here", "behind", "charged")
        )
        row_layout = dendrite_layout(lanes)
        weights_ahead, weights = (Signal(row_layout, reset_less=True) for _ in range(2))
        m.d.sync += [
            ahead.as_value().eq(Mux(fresh, 0, states.read_data)),
            here.eq(ahead),
            behind.eq(here),
            weights_ahead.as_value().eq(memory.read_data),
            weights.eq(weights_ahead),
        ]
        for lane in range(lanes):
            row = weights[lane]
            for t in range(steps):
                key, value = taken.keys[lane][t], taken.values[lane][t]
                amount = key & value[0].replicate(self.key_bits)
                token = Signal(signed(self.key_bits + 1), name=f"token_{lane}_{t}")
                waiting = Signal.like(token, name=f"waiting_{lane}_{t}")
                plus, minus = (
                    Signal.like(token, name=f"{name}_{lane}_{t}") for name in ("plus", "minus")
                )
                m.d.sync += [
                    token.eq(Mux(value[1], -amount, amount)),
                    waiting.eq(token),
                    plus.eq(waiting),
                    minus.eq(-waiting),
                ]
                around = (behind[lane][t], here[lane][t], ahead[lane][t])
                total = self._tree(m, around, plus, minus, row, f"{lane}_{t}")
                m.d.sync += charged[lane][t].eq(
                    saturate(total >> COEFFICIENT_SHIFT, self.state_bits)
                )
        # The soma's coefficients wait for the state that they belong to.
        c = Cat(row.c.as_value() for row in weights)
        for number in range(5):
            later = Signal.like(c, name=f"soma_{number}", reset_less=True)
            m.d.sync += later.eq(c)
            c = later
        soma = Signal(data.ArrayLayout(COEFFICIENT, lanes))
        m.d.comb += soma.as_value().eq(c)
        return charged, soma

    def _tree(self, m: Module, around, plus, minus, row, where: str) -> Signal:
        """Sum of a dendrite's eight terms, 4 cycles later."""

        def register(value, name: str) -> Signal:
            held = Signal(value.shape(), name=f"{name}_{where}", reset_less=True)
            m.d.sync += held.eq(value)
            return held

        pairs, late = [], []
        for number, (x, coefficient) in enumerate(zip(around, row.a, strict=True)):
            first, second = (
                register(term_of(x, coefficient[k]), f"term_{number}_{k}") for k in range(2)
            )
            signs = [register(coefficient[k].minus, f"sign_{number}_{k}") for k in range(2)]
            pairs.append(register(add_carry(first, second, signs[0]), f"pair_{number}"))
            late.append((signs[1], number))
        charges = []
        for k in range(2):
            term = row.gamma[k]
            # A token has few bits, so its negative is at hand and no sign is left over.
            token = Mux(term.minus, minus, plus) << self.state_frac_bits
            scaled = token << (~term.shift)[: len(term.shift)]
            gated = Mux(term.present, scaled, 0).as_signed()
            charges.append(register(gated, f"charge_{k}"))
        # Each addition has room for one sign: two of the pairs' own, one in the token's.
        (early, _), (second_late, _), (third_late, _) = late
        charge = register(add_carry(*charges, early), "charge")
        second_late, third_late = (
            register(bit, f"late_{n}") for n, bit in enumerate((second_late, third_late))
        )
        left = register(add_carry(pairs[0], pairs[1], second_late), "left")
        right = register(add_carry(pairs[2], charge, third_late), "right")
        return register(left + right, "total")

    def _read_out(self, m: Module, charged: Signal, soma: Signal, flights: Value) -> None:
        """Write states back, and add them up."""
        states = m.submodules.states
        write_row, dendrite = Signal(range(self.rows)), Signal(range(self.dendrites))
        summed = Signal()
        valid = flights[8]
        m.d.comb += [
            states.write_addr.eq(write_row),
            states.write_en.eq(valid),
            states.write_data.eq(charged.as_value()),
        ]
        with m.If(valid):
            m.d.sync += write_row.eq(Mux(write_row == self.rows - 1, 0, write_row + 1))
        # Terms, pair, sum, result.
        steps = Signal(2)
        m.d.sync += steps.eq(Cat(valid, steps))
        last = dendrite == self.dendrites - 1
        with m.If(steps[1]):
            m.d.sync += dendrite.eq(Mux(last, 0, dendrite + 1))
        m.d.sync += [summed.eq(steps[1] & last), self.o.valid.eq(summed)]
        fraction = COEFFICIENT_SHIFT + self.state_frac_bits - self.read_frac_bits
        bits = self.state_bits + COEFFICIENT_SHIFT + 1
        sum_bits = bits + (self.dendrites - 1).bit_length() + 1
        for lane in range(self.lanes):
            for t in range(self.time_steps):
                terms, signs = [], []
                for k in range(2):
                    term = Signal(signed(bits - 1), name=f"read_{k}_{lane}_{t}", reset_less=True)
                    sign = Signal(name=f"read_sign_{k}_{lane}_{t}", reset_less=True)
                    m.d.sync += [
                        term.eq(term_of(charged[lane][t], soma[lane][k])),
                        sign.eq(soma[lane][k].minus),
                    ]
                    terms.append(term)
                    signs.append(sign)
                pair = Signal(signed(bits), name=f"read_pair_{lane}_{t}", reset_less=True)
                late = Signal(name=f"read_late_{lane}_{t}", reset_less=True)
                total = Signal(signed(sum_bits), name=f"read_sum_{lane}_{t}", reset_less=True)
                before = Mux(dendrite == 0, 0, total)
                m.d.sync += [pair.eq(add_carry(*terms, signs[0])), late.eq(signs[1])]
                with m.If(steps[1]):
                    m.d.sync += total.eq(add_carry(before, pair, late))
                m.d.sync += self.o.payload[lane][t].eq(saturate(total >> fraction, self.read_bits))
        return
