"""What every attention core has: its sizes, its neuron and its two streams."""

from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .attention_neuron import check_neuron
from .attention_shape import AttentionShape
from .layouts import bundles_layout, values_layout
from .storage import write_port


class AttentionBase(wiring.Component):
    """Parameters and ports that all cores share; a core adds what computes.

    Parameters
    ----------
    coefficients : rows and bits of the memories of loaded coefficients, by their write ports
    threshold : V_th in the integer units of the neuron's input
    decay_shift : s of ``beta = 1 - 2**-s``
    reset : ``"hard"`` or ``"soft"``
    shape : the other sizes; T, N, H, d, NL, b and the bits of a value are attributes too

    Members
    -------
    i : In, slices of K, V and Q: K unsigned in the low b bits, V two's complement in the low 2
        bits, Q in the lowest
    o : Out, slices of spikes
    charging, reading : Out, what the core is at
    and a write port, In, for each of ``coefficients``

    Raises
    ------
    ValueError
        If a parameter is not one of the above.
    """

    def __init__(
        self,
        *,
        shape: AttentionShape,
        coefficients: dict[str, tuple[int, int]],
        threshold: int,
        decay_shift: int,
        reset: str,
    ) -> None:
        check_neuron(threshold, decay_shift, reset)
        self.shape = shape
        self.time_steps, self.tokens, self.heads = shape.time_steps, shape.tokens, shape.heads
        self.head_channels, self.lanes = shape.head_channels, shape.lanes
        self.key_bits, self.value_bits = shape.key_bits, shape.value_bits
        self.threshold, self.decay_shift, self.reset = threshold, decay_shift, reset
        values = values_layout(self.lanes, self.time_steps, self.value_bits)
        super().__init__(
            {
                "i": In(stream.Signature(values)),
                "o": Out(stream.Signature(bundles_layout(self.lanes, self.time_steps))),
                "charging": Out(1),
                "reading": Out(1),
                **{name: In(write_port(*each)) for name, each in coefficients.items()},
            }
        )
