"""Layers in order, and a memory map in which nothing overlaps."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from golden.network import SpikingTransformer
from golden.schedule import MemoryMap, coefficient_shapes, network_layers
from golden.spec import SpecError, load_preset, preset_names
from tests.small_networks import LOCAL_NETWORKS, NETWORKS, small_preset


def test_layers_of_tiny():
    layers = {x.name: x for x in network_layers(load_preset("tiny"))}
    assert list(layers) == [
        "stage0",
        "stage1",
        "position",
        "block0.qkv",
        "block0.attention",
        "block0.fc1",
        "block0.fc2",
        "head",
    ]
    assert [x.kind for x in layers.values()] == [
        "pixels",
        "conv",
        "conv",
        "dense",
        "attention",
        "dense",
        "dense",
        "head",
    ]
    assert [x.residual for x in layers.values()] == [
        "none",
        "set",
        "add",
        "none",
        "add",
        "none",
        "add",
        "none",
    ]
    first = layers["stage0"]
    assert (first.positions, first.pooled_positions, first.fan_in) == (64, 16, 9)
    assert layers["block0.qkv"].weight_shape == (96, 32)
    assert layers["stage1"].weight_shape == (32, 16, 3, 3)
    assert layers["head"].groups(16) == 1
    assert layers["head"].positions == 1


def test_projection_takes_over_the_residual():
    layers = {x.name: x for x in network_layers(small_preset(network__projection=True))}
    assert layers["block0.attention"].residual == "none"
    assert layers["block0.projection"].residual == "add"


@pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)
def test_shapes_are_those_of_the_network(changes):
    preset = small_preset(**changes)
    synapses = SpikingTransformer(preset).synapses()
    layers = {x.name: x for x in network_layers(preset) if x.has_weights}
    assert list(synapses) == list(layers)
    for name, synapse in synapses.items():
        assert tuple(synapse.weight.shape) == layers[name].weight_shape


def check_map(preset) -> None:
    """Every row of weights and biases belongs to one layer; spikes are read where written."""
    where = MemoryMap(preset)
    lanes, width = preset.engine.lanes, preset.engine.neuron_lanes
    owners = {"weight": {}, "bias": {}}
    live = range(0)
    deepest = 0
    for layer in where.layers:
        groups = -(-layer.outputs // lanes)
        if layer.has_weights:
            taps = layer.kernel * layer.kernel
            for kind, base, rows in (
                ("weight", where.weight_base, groups * taps * layer.inputs),
                ("bias", where.bias_base, groups * lanes // width),
            ):
                for row in range(base[layer.name], base[layer.name] + rows):
                    assert owners[kind].setdefault(row, layer.name) == layer.name
        if live:
            assert where.spikes_in[layer.name] == live.start, layer.name
        # A router's spikes are routes, and those of experts' second layers are counted.
        counted = layer.kind == "expert" and layer.name.endswith(".fc2")
        if layer.neuron != "binary" or layer.kind == "router" or counted:
            continue
        if layer.kind == "expert":
            groups = groups // layer.experts * preset.network.moe.most
        height, breadth = layer.out_grid
        cells = (height // 2) * (breadth // 2) if layer.pool else height * breadth
        start = where.spikes_out[layer.name]
        written = range(start, start + cells * groups)
        assert written.start >= 0 and written.stop <= where.spike_rows
        assert written.stop <= live.start or live.stop <= written.start, layer.name
        deepest = max(deepest, len(live) + len(written))
        live = written
    assert sorted(owners["weight"]) == list(range(where.weight_rows))
    assert sorted(owners["bias"]) == list(range(where.bias_rows))
    assert where.spike_rows == deepest
    check_coefficients(where, preset)
    assert where.residual_rows * width == preset.tokens * preset.network.channels
    assert where.image_rows == preset.data.channels * preset.data.height * preset.data.width


def check_coefficients(where: MemoryMap, preset) -> None:
    """A row for each layer, slice of channels, and tap or dendrite."""
    net, kind = preset.network, preset.network.attention
    slices = net.channels // preset.engine.neuron_lanes
    taps = 0
    if kind in ("lrf-ssa", "lrf-dyn") and net.dilations:
        taps = (5 if net.local_causal else 9) + (len(net.dilations) - 1) * (
            4 if net.local_causal else 8
        )
    for bases, rows, each in (
        (where.local_base, where.local_rows, taps),
        (where.dendrite_base, where.dendrite_rows, net.dendrites if kind == "lrf-dyn" else 0),
    ):
        names = [f"block{index}.attention" for index in range(net.blocks)]
        assert bases == {name: index * slices * each for index, name in enumerate(names)}
        assert rows == net.blocks * slices * each


@pytest.mark.parametrize("changes", LOCAL_NETWORKS.values(), ids=LOCAL_NETWORKS)
def test_coefficients_of_other_kinds(changes):
    preset = small_preset(**changes, network__blocks=2)
    check_map(preset)
    names = {name.rpartition(".")[2] for name in coefficient_shapes(preset)}
    local = {"local"} if preset.dilations else set()
    dyn = {"a", "gamma", "c"} if preset.network.attention == "lrf-dyn" else set()
    assert names == local | dyn


@pytest.mark.parametrize("name", preset_names())
def test_map_of_shipped(name):
    check_map(load_preset(name))


stages = st.lists(
    st.fixed_dictionaries(
        {
            "channels": st.sampled_from([8, 16, 32]),
            "stride": st.sampled_from([1, 2]),
            "pool": st.booleans(),
        }
    ),
    min_size=2,
    max_size=4,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    stages=stages,
    height=st.integers(1, 16),
    width=st.integers(1, 16),
    classes=st.integers(2, 40),
    blocks=st.integers(1, 2),
    ratio=st.integers(1, 4),
    projection=st.booleans(),
    neuron_lanes=st.sampled_from([1, 4, 8]),
)
def test_map_of_any(stages, height, width, classes, blocks, ratio, projection, neuron_lanes):
    changes = {"data__height": height, "data__width": width, "data__classes": classes}
    changes |= {"network__stages": stages, "network__blocks": blocks, "network__heads": 1}
    changes |= {"network__mlp_ratio": ratio, "network__projection": projection}
    try:
        preset = small_preset(**changes, engine__neuron_lanes=neuron_lanes)
    except SpecError:
        assume(False)
    check_map(preset)
