"""Which attention a preset has: its neurons, the core that computes it, what the core stores."""

from amaranth.lib import wiring

from golden.spec import Preset

from .attention import PRODUCTS, AttentionCore
from .causal import CausalCore
from .causal_state import CausalState
from .dendrites import Dendrites
from .head_map import HeadMap
from .head_rank import HeadRank
from .layouts import NeuronKind
from .local_readout import LocalReadout
from .local_values import LocalTerm, LocalValues
from .lrf_dyn import DendriteTerm, LrfDynCore
from .pruned_attention import PrunedAttention
from .spike_queue import QueuedCore

HYBRID = (NeuronKind.RELU, NeuronKind.TERNARY, NeuronKind.BINARY)
BINARY = (NeuronKind.BINARY, NeuronKind.BINARY, NeuronKind.BINARY)

# Kinds whose spikes leave while the layer of K, V and Q still runs.
ONE_PASS = ("causal", "lrf-dyn")


def qkv_kinds(preset: Preset) -> tuple[NeuronKind, NeuronKind, NeuronKind]:
    """Neurons of K, V and Q."""
    return HYBRID if preset.hybrid else BINARY


def qkv_bits(preset: Preset) -> int:
    """Bits of a value of K, V or Q on the way into the core."""
    return max(2, preset.key_bits)


def make_attention(preset: Preset) -> wiring.Component:
    """Core of a tile's heads; every one has the streams of :class:`AttentionCore`."""
    core = make_core(preset)
    if preset.prunes_heads:
        return PrunedAttention(core, _rank(preset))
    if preset.network.attention not in ONE_PASS:
        return core
    return QueuedCore(core, preset.tokens * _slices(preset))


def make_core(preset: Preset) -> wiring.Component:
    """The core alone, for the heads that attend."""
    net = preset.network
    common = {
        "time_steps": net.time_steps,
        "tokens": preset.tokens,
        "heads": _heads(preset),
        "head_channels": net.head_channels,
        "lanes": preset.engine.neuron_lanes,
        "key_bits": preset.key_bits,
        "value_bits": qkv_bits(preset),
        "threshold": preset.attention_threshold,
        "decay_shift": net.neuron.decay_shift,
        "reset": net.neuron.reset,
    }
    if net.attention == "causal":
        return CausalCore(**common, state_decay_shift=net.causal_decay_shift)
    if net.attention == "lrf-dyn":
        return LrfDynCore(**common, term=dendrite_term(preset))
    local = local_term(preset) if net.attention == "lrf-ssa" else None
    return AttentionCore(**common, order=preset.attention_order, local=local)


def attention_blocks(preset: Preset) -> tuple[type[wiring.Component], ...]:
    """Core of a tile's heads, and the blocks in it that say how many cycles its work takes."""
    kind = preset.network.attention
    if kind == "causal":
        return CausalCore, CausalState
    if kind == "lrf-dyn":
        return LrfDynCore, Dendrites, LocalReadout
    local = (LocalValues,) if preset.dilations else ()
    return AttentionCore, PRODUCTS[preset.attention_order], *local


def make_head_map(
    preset: Preset, *, address_bits: int, part_rows: int, part_units: int, ahead: bool
) -> HeadMap:
    """Map of the heads that are computed; see :class:`HeadMap`."""
    return HeadMap(
        address_bits=address_bits,
        heads=preset.network.heads,
        count=preset.kept_heads,
        part_rows=part_rows,
        part_units=part_units,
        ahead=ahead,
    )


def coefficient_shapes(preset: Preset) -> dict[str, tuple[int, int]]:
    """Rows and bits of the memories of a tile's coefficients, by the core's write ports."""
    net = preset.network
    if net.attention == "lrf-ssa":
        return local_term(preset).shapes(_heads(preset), net.head_channels)
    if net.attention == "lrf-dyn":
        return dendrite_term(preset).shapes(_slices(preset), preset.engine.neuron_lanes)
    return {}


def local_term(preset: Preset) -> LocalTerm:
    """The local branch of LRF-SSA."""
    quant = preset.quant
    return LocalTerm(
        **_branch(preset), weight_bits=quant.local_bits, frac_bits=quant.local_frac_bits
    )


def dendrite_term(preset: Preset) -> DendriteTerm:
    """Dendrites and local branch of LRF-Dyn."""
    quant = preset.quant
    return DendriteTerm(
        **_branch(preset),
        dendrites=preset.network.dendrites,
        state_bits=quant.state_bits,
        state_frac_bits=quant.state_frac_bits,
        read_bits=quant.read_bits,
        read_frac_bits=quant.read_frac_bits,
    )


def _branch(preset: Preset) -> dict:
    """What every local branch is made from."""
    net = preset.network
    return {
        "grid": preset.grid,
        "dilations": preset.dilations,
        "causal": net.local_causal,
        "blocks": net.blocks,
    }


def _rank(preset: Preset) -> HeadRank:
    net = preset.network
    return HeadRank(
        heads=net.heads,
        count=preset.kept_heads,
        tokens=preset.tokens,
        head_channels=net.head_channels,
        time_steps=net.time_steps,
        lanes=preset.engine.neuron_lanes,
    )


def _heads(preset: Preset) -> int:
    return preset.kept_heads // preset.engine.tiles


def _slices(preset: Preset) -> int:
    """Slices of a tile's channels of a token."""
    return _heads(preset) * preset.network.head_channels // preset.engine.neuron_lanes
