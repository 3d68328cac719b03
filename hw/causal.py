"""Causal attention: each token charges the state of K^T V and reads it at once."""

from amaranth.hdl import Module
from amaranth.lib import wiring

from .attention_base import AttentionBase
from .attention_neuron import AttentionNeuron
from .attention_shape import AttentionShape
from .causal_state import CausalState
from .head_intake import HeadIntake


class CausalCore(AttentionBase):
    """``SN(q_n S_n)`` with ``S_n = beta S_{n-1} + k_n^T v_n``, in one pass over the tokens.

    Overview
    --------
    Streams are those of :class:`hw.attention.AttentionCore`, but a token's spikes leave before the
    next token's, whatever the number of tokens: a token sees itself and those before it (LRF-Dyn
    paper, arXiv 2603.19290, equation 11 without its local term; the decay is our addition).

    Design
    ------
    ::

        i --> HeadIntake --> CausalState --> AttentionNeuron --> o

    Latency and throughput
    ----------------------
    With s = d / NL and r rows of the head (d with a decay or for the first token, else the
    channels whose K or Q is not 0, at least 1): the first slice of a head is offered
    ``r + T + 10`` cycles after its last slice was taken, if the head before is done, and the last
    one ``s - 1`` later. Nothing here depends on N.

    Resources
    ---------
    Those of the parts; state of ``H * T * d * d * kv_state_bits`` bits.

    Parameters
    ----------
    time_steps, tokens, heads, head_channels, lanes, key_bits, value_bits, threshold : T, N, H, d,
        NL, b, bits of a value on ``i``, and V_th, as for :class:`hw.attention.AttentionCore`
    decay_shift, reset : of the neurons
    state_decay_shift : s of the state's decay ``1 - 2**-s`` a token; 0 for none

    Members
    -------
    i : In, slices of K, V and Q
    o : Out, slices of spikes
    charging : Out, slices of a head are arriving
    reading : Out, a head is being worked on

    Raises
    ------
    ValueError
        If a parameter is not one of the above.
    """

    def __init__(
        self,
        *,
        threshold: int,
        decay_shift: int = 1,
        reset: str = "hard",
        state_decay_shift: int = 0,
        **sizes: int,
    ) -> None:
        if state_decay_shift < 0:
            raise ValueError(
                f"state_decay_shift is {state_decay_shift}: must be at least 1, or 0 for no decay"
            )
        self.state_decay_shift = state_decay_shift
        super().__init__(
            shape=AttentionShape(**sizes),
            coefficients={},
            threshold=threshold,
            decay_shift=decay_shift,
            reset=reset,
        )

    def elaborate(self, platform) -> Module:
        """Join the parts."""
        m = Module()
        m.submodules.intake = intake = HeadIntake(self.shape)
        m.submodules.product = product = CausalState(self.shape, decay_shift=self.state_decay_shift)
        m.submodules.neuron = neuron = AttentionNeuron(
            self.shape,
            threshold=self.threshold,
            decay_shift=self.decay_shift,
            reset=self.reset,
        )
        wiring.connect(m, wiring.flipped(self.i), intake.i)
        wiring.connect(m, intake.o, product.i)
        wiring.connect(m, product.o, neuron.i)
        wiring.connect(m, neuron.o, wiring.flipped(self.o))
        m.d.comb += [self.charging.eq(intake.begun), self.reading.eq(product.busy)]
        return m
