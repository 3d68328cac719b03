"""Shapes of what moves between blocks.

A *bundle* is the T spikes of one channel of one token, bit t for time step t. A *slice* is a few
adjacent channels of one token; slices come in channel order, tokens in token order.
"""

from amaranth.hdl import signed, unsigned
from amaranth.lib import data, enum


class NeuronKind(enum.Enum, shape=2):
    """What a neuron makes of its synaptic input."""

    BINARY = 0
    TERNARY = 1
    RELU = 2
    NONE = 3


def bundles_layout(lanes: int, time_steps: int) -> data.StructLayout:
    """Slice of binary spikes: ``lanes`` bundles of ``time_steps`` bits."""
    return data.StructLayout({"bundles": data.ArrayLayout(unsigned(time_steps), lanes)})


def values_layout(lanes: int, time_steps: int, bits: int) -> data.StructLayout:
    """Slice of neuron outputs, ``bits`` bits a step.

    Binary spikes are 0 or 1; ternary ones two's complement in the low 2 bits; K is unsigned.
    """
    steps = data.ArrayLayout(unsigned(bits), time_steps)
    return data.StructLayout({"values": data.ArrayLayout(steps, lanes)})


def sums_layout(lanes: int, time_steps: int, width: int) -> data.StructLayout:
    """Slice of synaptic sums, signed, ``width`` bits a step."""
    steps = data.ArrayLayout(signed(width), time_steps)
    return data.StructLayout({"sums": data.ArrayLayout(steps, lanes)})


def chunk_layout(entries: int, time_steps: int, row_bits: int) -> data.StructLayout:
    """Neighbouring bundles of one input position and the weight row of the first of them.

    ``last`` marks the last chunk of an output group.
    """
    return data.StructLayout(
        {
            "bundles": data.ArrayLayout(unsigned(time_steps), entries),
            "row": unsigned(row_bits),
            "last": 1,
        }
    )


def event_layout(entries: int, time_steps: int, row_bits: int) -> data.StructLayout:
    """One non-zero bundle: its place in the chunk, its spikes, its weight row.

    ``last`` marks the last event of an output group; a group without any non-zero bundle is one
    event whose ``gates`` are 0.
    """
    return data.StructLayout(
        {
            "index": range(entries),
            "gates": unsigned(time_steps),
            "row": unsigned(row_bits),
            "last": 1,
        }
    )


def weighted_event_layout(
    lanes: int, time_steps: int, weight_bits: int, shift_bits: int
) -> data.StructLayout:
    """An event with its row of synaptic weights and the shift that aligns them.

    ``last`` marks the last event of an output group.
    """
    return data.StructLayout(
        {
            "weights": data.ArrayLayout(signed(weight_bits), lanes),
            "shift": unsigned(shift_bits),
            "gates": unsigned(time_steps),
            "last": 1,
        }
    )


def neuron_input_layout(lanes: int, time_steps: int, width: int) -> data.StructLayout:
    """Slice of synaptic sums, signed, ``width`` bits a step, and the neuron that takes them."""
    steps = data.ArrayLayout(signed(width), time_steps)
    return data.StructLayout({"sums": data.ArrayLayout(steps, lanes), "kind": NeuronKind})


def routes_layout(experts: int, bits: int) -> data.ArrayLayout:
    """Which experts serve a token: a bit each, or T bits each, of the time steps that count."""
    return data.ArrayLayout(unsigned(bits), experts)


def token_layout(
    entries: int, time_steps: int, *, experts: int, route_bits: int, row_bits: int
) -> data.StructLayout:
    """Chunk of a token on its way to the experts of a tile.

    ``last`` marks the token's last chunk; with it come the token's routes to the tile's experts and
    the first row of its counts.
    """
    return data.StructLayout(
        {
            "bundles": data.ArrayLayout(unsigned(time_steps), entries),
            "routes": routes_layout(experts, route_bits),
            "row": unsigned(row_bits),
            "last": 1,
        }
    )


def expert_spikes_layout(lanes: int, time_steps: int, row_bits: int) -> data.StructLayout:
    """Slice of an expert's spikes, and the row of counts that they are added to."""
    bundles = bundles_layout(lanes, time_steps).members
    return data.StructLayout({**bundles, "row": unsigned(row_bits)})


def addressed_layout(payload: data.Layout, tiles: int) -> data.StructLayout:
    """Payload for one of the tiles."""
    return data.StructLayout({"payload": payload, "tile": range(tiles)})


def counts_layout(lanes: int, time_steps: int, bits: int) -> data.StructLayout:
    """Slice of how many experts fired, unsigned, ``bits`` bits a step."""
    steps = data.ArrayLayout(unsigned(bits), time_steps)
    return data.StructLayout({"counts": data.ArrayLayout(steps, lanes)})
