"""LRF-Dyn attention: dendrites charged token by token, a local branch on what they read out."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring

from golden.coefficients import MAX_DENDRITES
from golden.local_taps import local_taps, reach, window_tokens

from .attention_base import AttentionBase
from .attention_shape import AttentionShape
from .dendrites import REUSE, Dendrites, dendrite_layout
from .layouts import NeuronKind
from .local_readout import LocalReadout
from .neuron_array import NeuronArray
from .storage import Storage
from .token_window import TokenWindow
from .two_powers import COEFFICIENT


@dataclass(frozen=True, kw_only=True)
class DendriteTerm:
    """What makes the attention of LRF-Dyn.

    Parameters
    ----------
    grid : height and width of the token grid
    dilations : of the local branch's 3x3 kernels; none for no branch
    causal : the local branch sees no token that comes later
    dendrites : states a channel, 1 to 8
    state_bits, state_frac_bits : signed bits of a state, fraction bits below the unit of K
    read_bits, read_frac_bits : of the read-out, likewise
    blocks : attention layers, each with coefficients of its own

    Raises
    ------
    ValueError
        If ``dendrites`` is not 1 to 8, or a format is impossible.
    """

    grid: tuple[int, int]
    dilations: tuple[int, ...]
    causal: bool
    dendrites: int
    state_bits: int
    state_frac_bits: int
    read_bits: int
    read_frac_bits: int
    blocks: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.dendrites <= MAX_DENDRITES:
            raise ValueError(f"dendrites is {self.dendrites}: must be 1 to {MAX_DENDRITES}")
        if not 0 <= self.read_frac_bits <= self.state_frac_bits:
            raise ValueError(
                f"read_frac_bits is {self.read_frac_bits}:"
                f" must be 0 to state_frac_bits, {self.state_frac_bits}"
            )

    def shapes(self, slices: int, lanes: int) -> dict[str, tuple[int, int]]:
        """Rows and bits of the memories of coefficients."""
        taps = len(local_taps(self.dilations, causal=self.causal))
        found = {"dendrites": (self.blocks * slices * self.dendrites, dendrite_layout(lanes).size)}
        if taps:
            found["local"] = (self.blocks * slices * taps, lanes * COEFFICIENT.size)
        return found

    @property
    def window(self) -> int:
        """Tokens in the ring: those that a token sees, those between, and one that arrives."""
        held = window_tokens(self.dilations, self.grid, causal=self.causal)
        return min(self.grid[0] * self.grid[1], held + 1)


class LrfDynCore(AttentionBase):
    """``q_n (.) SN(y_n + local term)``, with y the read-out of a few dendrites a channel.

    Overview
    --------
    Streams are those of :class:`hw.attention.AttentionCore`, but there is neither a state of d x d
    words nor a map of N x N: each channel has k states, charged by one token after another
    (LRF-Dyn, arXiv 2603.19290, equations 12 and 13; that a token is K V, and that Q gates the
    spikes, are our readings). With a ``causal`` branch a token's spikes leave before later tokens
    arrive; else they wait for the ``reach`` tokens that the local branch looks ahead.

    Design
    ------
    ::

        i --> K (a head) --> Dendrites --> LocalReadout --> NeuronArray --> & --> o
          |--> V --------------^                                            ^
          '--> Q ------------------------------> Storage -------------------'

    A token comes in only when the window has room for it: ``i`` waits for that, and for the
    dendrites. What was taken never waits but for ``o``.

    Latency and throughput
    ----------------------
    With s = d / NL slices a head, S = H * s slices a token and k dendrites: a token takes
    ``P = H * max(s * k, (s - 1) * k + 2 * s + 1)`` cycles on ``i`` (:meth:`token_cycles`, also
    for ``S * k`` below 9) and ``taps * S`` in the local branch, with the taps inside the grid. A
    causal branch gives the first slice of a token at most ``k + taps + T + 22`` cycles after the
    token's last slice was taken, whatever N is, if nothing before it waits. Without the mask it
    waits for ``reach`` tokens more, or for the last of the image.

    A window below N holds two tokens on their way beside those that the branch sees: token n + 2
    comes in once token n has left (without the mask, token n + ``reach`` + 2). With L cycles from
    the last slice of a token taken to the last of its spikes, two tokens take up to
    ``P + max(P, L)`` cycles then.

    Resources
    ---------
    Those of the parts: ``S * k`` rows of ``NL * T * state_bits`` of state whatever N is, and
    ``window * D * T * (read_bits + 1)`` bits for the local branch and Q.

    Parameters
    ----------
    time_steps, tokens, heads, head_channels, lanes, key_bits, value_bits, threshold : T, N, H, d,
        NL, b, bits of a value on ``i``, and V_th, as for :class:`hw.attention.AttentionCore`
    term : dendrites and local branch
    decay_shift, reset : of the neurons

    Members
    -------
    i : In, slices of K, V and Q
    o : Out, slices of spikes
    charging : Out, an image is arriving
    reading : Out, spikes are leaving
    dendrites : In, write port of rows of :func:`hw.dendrites.dendrite_layout`
    local : In, write port of the local branch's weights, if it has dilations

    Raises
    ------
    ValueError
        If a parameter is not one of the above.
    """

    def __init__(
        self,
        *,
        threshold: int,
        term: DendriteTerm,
        decay_shift: int = 1,
        reset: str = "hard",
        **sizes: int,
    ) -> None:
        shape = AttentionShape(**sizes)
        if term.grid[0] * term.grid[1] != shape.tokens:
            raise ValueError(
                f"grid is {term.grid[0]}x{term.grid[1]}: must have {shape.tokens} tokens"
            )
        self.term, self.slices = term, shape.heads * shape.slices
        super().__init__(
            shape=shape,
            coefficients=term.shapes(self.slices, shape.lanes),
            threshold=threshold,
            decay_shift=decay_shift,
            reset=reset,
        )

    def token_cycles(self) -> int:
        """Cycles a token on ``i`` at most, while the window has room."""
        slices, dendrites = self.shape.slices, self.term.dendrites
        charge = slices * dendrites
        head = last = max(charge, charge - dendrites + 2 * slices + 1)
        if self.slices * dendrites < REUSE:
            # The next token's first slice waits until the dendrites are idle.
            last = max(head, charge + REUSE + 1)
        return (self.heads - 1) * head + last

    def elaborate(self, platform) -> Module:
        """Join the parts."""
        m = Module()
        term = self.term
        m.submodules.bank = bank = Dendrites(
            tokens=self.tokens,
            slices=self.slices,
            lanes=self.lanes,
            time_steps=self.time_steps,
            dendrites=term.dendrites,
            key_bits=self.key_bits,
            state_bits=term.state_bits,
            state_frac_bits=term.state_frac_bits,
            read_bits=term.read_bits,
            read_frac_bits=term.read_frac_bits,
            blocks=term.blocks,
        )
        m.submodules.readout = readout = LocalReadout(
            grid=term.grid,
            slices=self.slices,
            lanes=self.lanes,
            time_steps=self.time_steps,
            read_bits=term.read_bits,
            dilations=term.dilations,
            causal=term.causal,
            ring=term.window,
            blocks=term.blocks,
        )
        far = reach(term.dilations, term.grid[1])
        m.submodules.window = window = TokenWindow(
            self.tokens, term.window, before=far, after=0 if term.causal else far
        )
        m.submodules.neurons = NeuronArray(
            lanes=self.lanes,
            time_steps=self.time_steps,
            width=readout.bits,
            threshold_bits=self.threshold.bit_length(),
            value_bits=1,
            key_shift=0,
            key_bits=1,
            decay_shift=self.decay_shift,
            reset=self.reset,
            kinds=frozenset({NeuronKind.BINARY}),
        )
        wiring.connect(m, wiring.flipped(self.dendrites), bank.coefficients)
        if term.dilations:
            wiring.connect(m, wiring.flipped(self.local), readout.weights)
        wiring.connect(m, bank.o, readout.i)
        m.d.comb += [
            window.written.eq(readout.written),
            window.walked.eq(readout.walked),
            readout.open.eq(window.open),
        ]
        self._intake(m)
        self._spikes(m)
        return m

    def _intake(self, m: Module) -> None:
        """K waits for its V, both charge the dendrites, Q goes to its memory."""
        bank, window, shape = m.submodules.bank, m.submodules.window, self.shape
        lanes, steps, bits = self.lanes, self.time_steps, self.key_bits
        rows = self.term.window * self.slices
        m.submodules.queries = queries = Storage(rows, lanes * steps)
        part, slot, head = Signal(range(3)), Signal(range(shape.slices)), Signal(range(self.heads))
        token, row = Signal(range(self.tokens)), Signal(range(rows))
        last_slot, last_head = slot == shape.slices - 1, head == self.heads - 1
        arrived, charges = self.i.p.values, part == 1
        keys = Signal(shape.slices * lanes * steps * bits, reset_less=True)
        take = self.i.valid & self.i.ready
        m.d.comb += [
            self.i.ready.eq(window.room & (~charges | bank.i.ready)),
            bank.i.valid.eq(self.i.valid & window.room & charges),
            bank.i.p.keys.as_value().eq(keys),
            bank.i.p.values.as_value().eq(Cat(step[:2] for lane in arrived for step in lane)),
            queries.write_addr.eq(row),
            queries.write_data.eq(Cat(step[0] for lane in arrived for step in lane)),
            queries.write_en.eq(take & (part == 2)),
            window.arrived.eq(take & (part == 2) & last_slot & last_head),
            self.charging.eq((part != 0) | (slot != 0) | (head != 0) | (token != 0)),
        ]
        with m.If(take):
            m.d.sync += slot.eq(Mux(last_slot, 0, slot + 1))
            with m.If(last_slot):
                m.d.sync += part.eq(Mux(part == 2, 0, part + 1))
        piece = Cat(step[:bits] for lane in arrived for step in lane)
        with m.If(take & (part != 2)):
            # The slices of V turn the keys once around and out.
            m.d.sync += keys.eq(Cat(keys, piece)[len(piece) :])
        with m.If(queries.write_en):
            last = window.arrived & (token == self.tokens - 1)
            m.d.sync += row.eq(Mux(last | (row == rows - 1), 0, row + 1))
            with m.If(last_slot):
                m.d.sync += head.eq(Mux(last_head, 0, head + 1))
        with m.If(window.arrived):
            m.d.sync += token.eq(Mux(token == self.tokens - 1, 0, token + 1))

    def _spikes(self, m: Module) -> None:
        """From sums to spikes, and those where Q is 1 to the output."""
        readout, neurons, window = m.submodules.readout, m.submodules.neurons, m.submodules.window
        queries = m.submodules.queries
        rows = self.term.window * self.slices
        m.d.comb += [
            neurons.threshold.eq(self.threshold),
            neurons.i.valid.eq(readout.o.valid),
            readout.o.ready.eq(neurons.i.ready),
            neurons.i.p.sums.eq(readout.o.p.sums),
            neurons.i.p.kind.eq(NeuronKind.BINARY),
            self.reading.eq(readout.o.valid | neurons.o.valid),
        ]
        # Q of a slice is read as soon as that of the slice before has left.
        row, slot = Signal(range(rows)), Signal(range(self.slices))
        token, waiting = Signal(range(self.tokens)), Signal(range(self.time_steps + 3))
        fetched = Signal()
        leave = self.o.valid & self.o.ready
        entered = neurons.i.valid & neurons.i.ready
        m.d.comb += [
            queries.read_addr.eq(row),
            queries.read_en.eq((waiting != 0) & (~fetched | leave)),
            neurons.o.ready.eq(fetched & self.o.ready),
            self.o.valid.eq(fetched & neurons.o.valid),
        ]
        m.d.sync += waiting.eq(waiting + entered - queries.read_en)
        last_slot = slot == self.slices - 1
        last = last_slot & (token == self.tokens - 1)
        with m.If(queries.read_en):
            m.d.sync += [
                fetched.eq(1),
                slot.eq(Mux(last_slot, 0, slot + 1)),
                row.eq(Mux(last | (row == rows - 1), 0, row + 1)),
            ]
            with m.If(last_slot):
                m.d.sync += token.eq(Mux(last, 0, token + 1))
        with m.Elif(leave):
            m.d.sync += fetched.eq(0)
        # The slice that leaves is the one before the slot to be fetched.
        m.d.comb += window.left.eq(leave & (slot == 0))
        for lane in range(self.lanes):
            asked = queries.read_data[lane * self.time_steps : (lane + 1) * self.time_steps]
            fired = Cat(neurons.o.p.values[lane])
            m.d.comb += self.o.p.bundles[lane].eq(fired & asked)
