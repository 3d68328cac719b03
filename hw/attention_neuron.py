"""Neurons of the attention: sums of one time step after another become bundles."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.widths import lif_membrane_bits

from .attention_shape import AttentionShape
from .layouts import bundles_layout


def check_neuron(threshold: int, decay_shift: int, reset: str) -> None:
    """Refuse parameters that make no neuron, by a ValueError."""
    if threshold < 1:
        raise ValueError(f"threshold is {threshold}: must be at least 1")
    if decay_shift < 1:
        raise ValueError(f"decay_shift is {decay_shift}: must be at least 1")
    if reset not in ("hard", "soft"):
        raise ValueError(f"reset is {reset!r}: must be 'hard' or 'soft'")


class AttentionNeuron(wiring.Component):
    """d leaky integrate-and-fire neurons, one time step a cycle.

    Overview
    --------
    ``i`` carries the sums of d channels, T payloads in time order for one token and head; ``o``
    carries their bundles, d / NL slices. Potentials start at 0 and follow
    :func:`golden.neurons.lif`, with T - 1 guard bits below the unit of the sums.

    Design
    ------
    One potential a channel, the U before its reset. It is compared with the threshold in the same
    cycle in which ``beta * U + X`` is prepared; the comparison then picks the sum or, with a hard
    reset, X alone. That is one adder and a multiplexer deep; the soft reset is two adders deep.
    With ``decay_shift`` 1, U is even as long as it still counts, so ``U - floor(U / 2)`` is a
    shift. Bundles are held once and emitted once, so neurons go on while slices leave.

    Latency and throughput
    ----------------------
    The first slice is offered 3 cycles after the last step's sums were taken. A payload a cycle,
    as long as the T payloads of a head take at least ``max(2, d / NL)`` cycles.

    Resources
    ---------
    Per channel: one ``lif_membrane_bits`` register, an adder, a comparator (and a subtractor if
    ``decay_shift`` is above 1), ``3 * T - 1`` bits of bundles.

    ::

        i --> + --> U --> >= V_th? --> bundles --> held --> emitted --> o
              ^     '-- reset, decay --.
              '------------------------'

    Parameters
    ----------
    shape : sizes of the core
    threshold : V_th in the unit of the sums, at least 1
    decay_shift : s of ``beta = 1 - 2**-s``, at least 1
    reset : ``"hard"`` (to 0) or ``"soft"`` (subtract V_th)

    Members
    -------
    i : In, sums of a time step
    o : Out, slices of bundles

    Raises
    ------
    ValueError
        If ``threshold``, ``decay_shift`` or ``reset`` is not one of the above.
    """

    def __init__(
        self, shape: AttentionShape, *, threshold: int, decay_shift: int, reset: str
    ) -> None:
        check_neuron(threshold, decay_shift, reset)
        self.shape, self.threshold = shape, threshold
        self.decay_shift, self.reset = decay_shift, reset
        slices = bundles_layout(shape.lanes, shape.time_steps)
        super().__init__(
            {
                "i": In(stream.Signature(shape.input_layout())),
                "o": Out(stream.Signature(slices)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the neurons and the two bundle registers."""
        m = Module()
        shape = self.shape
        steps, channels, lanes = shape.time_steps, shape.head_channels, shape.lanes
        guard = steps - 1
        level = self.threshold << guard
        bits = lif_membrane_bits(
            -shape.most,
            shape.most,
            time_steps=steps,
            threshold=self.threshold,
            decay_shift=self.decay_shift,
            reset=self.reset,
        )

        def decayed(potential):
            if self.decay_shift == 1:
                return potential >> 1
            return potential - (potential >> self.decay_shift)

        potentials = Signal(data.ArrayLayout(signed(bits), channels), reset_less=True)
        fired = Signal(channels)
        arriving, step = Signal(range(steps)), Signal(range(steps))
        valid, held_full = Signal(), Signal()
        final = step == guard
        advance = Signal()
        m.d.comb += [advance.eq(~(valid & final & held_full)), self.i.ready.eq(advance)]
        for c in range(channels):
            potential = potentials[c]
            m.d.comb += fired[c].eq(potential >= level)
            guarded = self.i.p.sums[c] << guard
            if self.reset == "hard":
                following = Mux(fired[c], guarded, decayed(potential) + guarded)
            else:
                following = decayed(Mux(fired[c], potential - level, potential)) + guarded
            with m.If(self.i.valid & advance):
                m.d.sync += potential.eq(Mux(arriving == 0, guarded, following))
        with m.If(advance):
            m.d.sync += valid.eq(self.i.valid)
            with m.If(self.i.valid):
                m.d.sync += [
                    step.eq(arriving),
                    arriving.eq(Mux(arriving == guard, 0, arriving + 1)),
                ]

        # Spikes of the steps before the last, oldest lowest.
        earlier = Signal(guard * channels, reset_less=True)
        if guard:
            with m.If(valid & ~final):
                m.d.sync += earlier.eq(Cat(earlier, fired)[channels:])
        spikes = Cat(earlier, fired)

        held = Signal(channels * steps, reset_less=True)
        emitted = Signal(channels * steps, reset_less=True)
        emitting = Signal()
        slot = Signal(range(shape.slices))
        last_slot = slot == shape.slices - 1
        width = lanes * steps
        with m.If(valid & final & advance):
            m.d.sync += held.eq(Cat(spikes[c::channels] for c in range(channels)))
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [
                slot.eq(Mux(last_slot, 0, slot + 1)),
                emitted.eq(emitted >> width),
            ]
        move = ~emitting | (self.o.ready & last_slot)
        m.d.sync += held_full.eq((valid & final & advance) | (held_full & ~move))
        with m.If(move):
            m.d.sync += [emitting.eq(held_full), emitted.eq(held)]
        m.d.comb += [
            self.o.valid.eq(emitting),
            self.o.payload.eq(emitted[:width]),
        ]
        return m
