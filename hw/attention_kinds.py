"""Which attention a preset has: its neurons, and the core that computes it."""

from amaranth.lib import wiring

from golden.spec import Preset

from .attention import AttentionCore
from .layouts import NeuronKind

KINDS = {
    "a2os2a": (NeuronKind.RELU, NeuronKind.TERNARY, NeuronKind.BINARY),
    "ssa": (NeuronKind.BINARY, NeuronKind.BINARY, NeuronKind.BINARY),
}


def qkv_kinds(preset: Preset) -> tuple[NeuronKind, NeuronKind, NeuronKind]:
    """Neurons of K, V and Q."""
    return KINDS[preset.network.attention]


def qkv_bits(preset: Preset) -> int:
    """Bits of a value of K, V or Q on the way into the core."""
    return max(2, preset.key_bits)


def make_attention(preset: Preset) -> wiring.Component:
    """Core of a tile's heads; every one has the streams of :class:`AttentionCore`."""
    net = preset.network
    return AttentionCore(
        time_steps=net.time_steps,
        tokens=preset.tokens,
        heads=net.heads // preset.engine.tiles,
        head_channels=net.head_channels,
        lanes=preset.engine.neuron_lanes,
        key_bits=preset.key_bits,
        value_bits=qkv_bits(preset),
        threshold=preset.attention_threshold,
        decay_shift=net.neuron.decay_shift,
        reset=net.neuron.reset,
        order=preset.attention_order,
    )
