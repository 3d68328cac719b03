"""The spike generators: integrate-and-fire neurons whose time steps are unrolled in space."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.layouts import NeuronKind, neuron_input_layout, values_layout
from hw.pipeline import elastic_stages
from hw.signed_add import add_carry


@dataclass
class _Neuron:
    """One neuron at one time step, after its comparison."""

    whole: Value
    """floor(U), signed."""
    below: Value
    """U below the point, or whether any bit of that is set."""
    negative: Value
    fired: Value
    keep: Value
    """H is U decayed, not 0."""
    left: Value
    """floor(U) after a soft reset, one too few if ``carry``."""
    carry: Value


def membrane_formats(
    width: int, time_steps: int, decay_shift: int, ternary: bool
) -> list[tuple[int, int]]:
    """Whole bits (signed) and bits below the point of U at each time step.

    Whole bits: an input that stays at its minimum never makes a binary neuron fire, so
    ``U[t] = -2**(width-1) * (1 + beta + ... + beta**t)`` occurs, and no other input, reset or
    threshold leads further from 0. For ``decay_shift=1`` that is ``width``, then ``width + 1``.

    Bits below the point: see :class:`NeuronArray`.
    """
    guard = time_steps - 1
    low = least = -(2 ** (width - 1)) << guard
    formats = []
    for step in range(time_steps):
        whole = (~(low >> guard)).bit_length() + 1
        exact = min(guard, decay_shift * step)
        sticky = int(ternary and step > 0)
        formats.append((whole, sticky if decay_shift == 1 else exact))
        low = least + low - (low >> decay_shift)
    return formats


class NeuronArray(wiring.Component):
    """Neurons of ``lanes`` channels, each over all its time steps, a slice a cycle.

    Overview
    --------
    Takes the synaptic sums of a slice and gives what its neurons make of them: binary or ternary
    spikes of a leaky integrate-and-fire neuron that starts at 0, a clipped ReLU, or the sums
    themselves. The kind travels with the slice. Bit for bit ``golden.neurons``.

    Design
    ------
    Stage t holds time step t of all lanes; no membrane potential outlives its slice. A stage first
    compares ``U[t]`` with V_th and then makes ``U[t+1] = X[t+1] + H``, so that the first step needs
    no adder and only sums two or more steps ahead wait in registers. A hard reset is a gate at an
    adder input. A soft reset takes the difference that the comparison made. ReLU and none gate H
    likewise, so that U is X in every step.

    Bits below the point: V_th and X are whole, hence ``U >= V_th`` is ``floor(U) >= V_th``. With
    ``beta = 1/2``, ``floor(U/2) = floor(floor(U)/2)``: a binary neuron needs no bit below the
    point, and a ternary one only whether any such bit is set (``U <= -V_th`` is
    ``floor(U) + sticky <= -V_th``), which is one sticky bit instead of T - 1 guard bits. Other
    decays keep ``min(T-1, decay_shift*t)`` bits at step t: the rest of the golden model's are 0.

    Latency and resources
    ---------------------
    ``time_steps`` cycles from transfer to transfer; a slice a cycle. With ternary neurons
    ``i.ready`` is low in the first cycle after a reset, in which V_th - 1 is computed.

    Longest path: a comparison and a ``width + 1`` bit adder, from ``i.payload`` in the first stage;
    one adder more where ``decay_shift > 1``, on top of the comparison only with a soft reset.

    With ``decay_shift=1``, W the width, v the bits of the widest value that ``kinds`` make, and
    6-input LUTs, a lane takes about ``C*T + (W+1)*(T-1)`` LUTs for comparisons and additions, where
    C is 2W/3 (binary, hard), W + 1 (ternary or soft) or 6 to 8 (binary, hard, constant threshold),
    and 3 to 5 a step for ReLU; and ``(W+1)*(T-1) + W*(T-1)*(T-2)/2 + v*T*(T+1)/2`` flip-flops, with
    a sticky bit a step for ternary neurons. Yosys 0.70 needs 10 LUTs a step more than this where
    only binary neurons with a soft reset are built.

    ::

              x[0]      x[1]     x[2]     x[3]
               |          |        |        |
               |          |      [reg]    [reg]
               |          v        |      [reg]
               +-> U0 >>1 (+)-[reg]-> U1 >>1 (+)-[reg]-> U2 >>1 (+)-[reg]-> U3
                   |   ^ gate         |   ^ gate         |   ^ gate         |
                 >=V_th+            >=V_th+            >=V_th+            >=V_th
                   v                  v                  v                  v
                 S0 -----[reg]------------[reg]-------------[reg]--------[reg]--> o

    Parameters
    ----------
    lanes : channels of a slice
    time_steps : T
    width : signed bits of a synaptic sum
    threshold_bits : unsigned bits of the threshold
    value_bits : bits of an output value
    key_shift, key_bits : ReLU is ``clip(floor(x / 2**key_shift), 0, 2**key_bits - 1)``
    decay_shift : s of ``beta = 1 - 2**-s``
    reset : ``"hard"`` (to 0) or ``"soft"`` (by V_th)
    kinds : NeuronKinds to build; a slice of another kind gives values without meaning

    Members
    -------
    i : In, stream of :func:`hw.layouts.neuron_input_layout`
    o : Out, stream of :func:`hw.layouts.values_layout`; binary 0 or 1, ternary two's complement in
        the low 2 bits, ReLU unsigned, none the sum sign-extended
    threshold : In, V_th in the unit of the sums, at least 1; constant from the cycle before the
        first slice is offered until the last has left

    Raises
    ------
    ValueError
        If a parameter is out of range, or ``value_bits`` too few for one of ``kinds``.
    """

    def __init__(
        self,
        *,
        lanes: int,
        time_steps: int,
        width: int,
        threshold_bits: int,
        value_bits: int,
        key_shift: int,
        key_bits: int,
        decay_shift: int = 1,
        reset: str = "hard",
        kinds: frozenset[NeuronKind],
    ) -> None:
        sizes = {
            "lanes": (lanes, 1),
            "time_steps": (time_steps, 1),
            "width": (width, 2),
            "threshold_bits": (threshold_bits, 1),
            "value_bits": (value_bits, 1),
            "key_shift": (key_shift, 0),
            "key_bits": (key_bits, 1),
            "decay_shift": (decay_shift, 1),
        }
        for name, (value, least) in sizes.items():
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} is {value!r}: must be an integer of at least {least}")
        if reset not in ("hard", "soft"):
            raise ValueError(f"reset is {reset!r}: must be 'hard' or 'soft'")
        kinds = frozenset(kinds)
        if not kinds or not all(isinstance(kind, NeuronKind) for kind in kinds):
            raise ValueError(f"kinds is {set(kinds) or '{}'}: must be one or more of NeuronKind")
        needs = {
            NeuronKind.BINARY: 1,
            NeuronKind.TERNARY: 2,
            NeuronKind.RELU: key_bits,
            NeuronKind.NONE: width,
        }
        for kind in sorted(kinds, key=lambda kind: kind.value):
            if value_bits < needs[kind]:
                raise ValueError(
                    f"value_bits is {value_bits}: must be at least {needs[kind]} for {kind.name}"
                )
        self.lanes, self.time_steps, self.width = lanes, time_steps, width
        self.threshold_bits, self.value_bits = threshold_bits, value_bits
        self.key_shift, self.key_bits = key_shift, key_bits
        self.decay_shift, self.reset, self.kinds = decay_shift, reset, kinds
        super().__init__(
            {
                "i": In(stream.Signature(neuron_input_layout(lanes, time_steps, width))),
                "o": Out(stream.Signature(values_layout(lanes, time_steps, value_bits))),
                "threshold": In(unsigned(threshold_bits)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build a stage of registers after each time step's comparison."""
        m = Module()
        self._formats = membrane_formats(
            self.width, self.time_steps, self.decay_shift, NeuronKind.TERNARY in self.kinds
        )
        known = Const(1)
        if NeuronKind.TERNARY in self.kinds:
            known, self._below = Signal(), Signal(self.threshold_bits)
            m.d.sync += [known.eq(1), self._below.eq(self.threshold - 1)]
        loads = elastic_stages(m, platform, self.i, self.o, self.time_steps, open=known)

        kind = self.i.payload.kind
        waiting = [list(lane) for lane in self.i.payload.sums]
        potentials = [sums.pop(0) for sums in waiting]
        values: list[list[Value]] = [[] for _ in range(self.lanes)]
        for step, load in enumerate(loads):
            updates = []

            def register(value: Value, name: str, updates=updates) -> Signal:
                held = Signal.like(value, name=name, reset_less=True)
                updates.append(held.eq(value))
                return held

            for lane in range(self.lanes):
                where = f"{step}_{lane}"
                neuron = self._neuron(m, step, potentials[lane], kind, where)
                row = [*values[lane], self._value(m, neuron, kind, where)]
                values[lane] = [register(v, f"s{t}_{where}") for t, v in enumerate(row)]
                if waiting[lane]:
                    following = self._next(step, neuron, waiting[lane].pop(0))
                    potentials[lane] = register(following, f"u_{where}")
                    waiting[lane] = [register(x, f"x_{where}") for x in waiting[lane]]
            if step < self.time_steps - 1:
                kind = register(Value.cast(kind), f"kind_{step}")
            with m.If(load):
                m.d.sync += updates
        m.d.comb += [
            self.o.payload.values[lane][step].eq(value)
            for lane, row in enumerate(values)
            for step, value in enumerate(row)
        ]
        return m

    def _neuron(self, m: Module, step: int, potential: Value, kind: Value, where: str) -> _Neuron:
        """Compare a potential with V_th."""
        ternary, binary = NeuronKind.TERNARY in self.kinds, NeuronKind.BINARY in self.kinds
        soft = self.reset == "soft"
        _, point = self._formats[step]
        below, whole = potential[:point], potential[point:].as_signed()
        negative = whole[-1]
        sticky = below.any() if point else Const(0)
        fired, carry = Signal(name=f"fired_{where}"), Const(0)
        # U without its sign bit; where that is too short for V_th, with some of them.
        size = max(len(whole) - 1, self.threshold_bits)
        bits = Cat(whole, negative.replicate(size))[:size]
        gap = Signal(size + 1, name=f"gap_{where}")
        if ternary:
            # One chain for both signs: U - V_th where U >= 0, else U + 2**size + (V_th - 1), with
            # U rounded up. Either fires if it leaves the top bit 0.
            level = Mux(negative, self._below, ~Cat(self._below, Const(0, size + 1))[: size + 1])
            m.d.comb += gap.eq(_add(bits, level, negative & sticky, step > 0))
            m.d.comb += fired.eq(
                ~gap[-1] & (~negative | (kind == NeuronKind.TERNARY if binary else Const(1)))
            )
            carry = fired & negative & ~sticky
        elif binary and soft:
            m.d.comb += gap.eq(bits - self.threshold)
            m.d.comb += fired.eq(~negative & ~gap[-1])
        elif binary:
            m.d.comb += fired.eq(~negative & (whole[:-1] >= self.threshold))
        rest = Cat(gap[: len(whole) - 1], negative).as_signed()
        spiking = self._one_of(kind, NeuronKind.BINARY, NeuronKind.TERNARY)
        return _Neuron(
            whole,
            below,
            negative,
            fired,
            keep=spiking if soft else spiking & ~fired,
            left=Mux(fired, rest, whole) if soft else whole,
            carry=carry if soft else Const(0),
        )

    def _next(self, step: int, neuron: _Neuron, x: Value) -> Value:
        """U of the next time step: X and what is left of this step's U, decayed."""
        _, point = self._formats[step]
        bits, to = self._formats[step + 1]
        if self.decay_shift == 1:
            carry = neuron.left[0] & neuron.carry
            lost = neuron.below | (neuron.left[0] ^ neuron.carry)
            below, whole = lost[:to], neuron.left >> 1
        else:
            carry = Const(0)
            left = Cat(Const(0, to - point), neuron.below, neuron.left + neuron.carry).as_signed()
            held = left - (left >> self.decay_shift)
            below, whole = held[:to], held[to:].as_signed()
        soft_ternary = self.reset == "soft" and NeuronKind.TERNARY in self.kinds
        # As wide as the sum: Yosys wires the narrower summand straight to the carry chain and
        # merges gates into the chain's LUTs only for the wider one.
        held = Mux(neuron.keep, whole, Const(0, signed(bits)))
        total = _add(x, held, carry & neuron.keep, soft_ternary)
        return Cat(Mux(neuron.keep, below, Const(0, to)), total[:bits]).as_signed()

    def _value(self, m: Module, neuron: _Neuron, kind: Value, where: str) -> Value:
        """What the neuron puts out."""
        shapes = {
            NeuronKind.BINARY: unsigned(1),
            NeuronKind.TERNARY: unsigned(2),
            NeuronKind.RELU: unsigned(self.key_bits),
            NeuronKind.NONE: unsigned(self.value_bits),
        }
        value = Signal(max(shapes[k].width for k in self.kinds), name=f"value_{where}")
        spike = Cat(neuron.fired, neuron.fired & neuron.negative)
        scaled = neuron.whole >> self.key_shift
        top = 2**self.key_bits - 1
        clipped = Mux(scaled[self.key_bits :].any(), top, scaled[: self.key_bits])
        results = {
            NeuronKind.BINARY: neuron.fired,
            NeuronKind.TERNARY: spike,
            NeuronKind.RELU: Mux(neuron.negative, 0, clipped),
            NeuronKind.NONE: neuron.whole,
        }
        # In the enum's own order: that of a set changes from run to run, and the netlist with it.
        built = [each for each in NeuronKind if each in self.kinds]
        if len(built) == 1:
            m.d.comb += value.eq(results[built[0]])
            return value
        with m.Switch(kind):
            for each in built:
                with m.Case(each):
                    m.d.comb += value.eq(results[each])
        return value

    def _one_of(self, kind: Value, *wanted: NeuronKind) -> Value:
        """Whether a slice of one of the kinds built is one of those wanted."""
        found = [each for each in wanted if each in self.kinds]
        if len(found) == len(self.kinds):
            return Const(1)
        return Cat(kind == each for each in found).any() if found else Const(0)


def _add(a: Value, b: Value, carry: Value, with_carry: bool) -> Value:
    """Sum, with a carry bit where there can be one."""
    return add_carry(a, b, carry) if with_carry else a + b
