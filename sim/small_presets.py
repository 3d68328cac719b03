"""Presets of a few channels and pixels, that together have every shape of layer."""

from golden.spec import Preset, parse_preset

# Name: channels, height and width of an image; stages; lanes; neuron lanes.
SHAPES = {
    # Odd grids, three pixel channels, stride 2, several groups and chunks.
    "odd": ((3, 5, 7), [{"channels": 4}, {"channels": 8, "stride": 2}], 4, 2),
    # Pools after pixels and after spikes, even grids, two groups a window.
    "pool": (
        (1, 8, 12),
        [{"channels": 4, "pool": True}, {"channels": 8, "pool": True}, {"channels": 8}],
        4,
        4,
    ),
    # Stride and pool in one layer, which ends in a single column.
    "column": (
        (1, 8, 4),
        [{"channels": 8, "stride": 2, "pool": True}, {"channels": 16}],
        8,
        4,
    ),
    # Even grid under stride 2.
    "even": ((2, 4, 6), [{"channels": 16}, {"channels": 16, "stride": 2}], 16, 8),
    # One position, of which the border hides every tap but one.
    "point": ((1, 2, 2), [{"channels": 4, "stride": 2}, {"channels": 4}], 4, 2),
}


def small_preset(name: str, **changes: object) -> Preset:
    """Make one of the presets, with fields changed as by :meth:`Preset.replace`."""
    (channels, height, width), stages, lanes, neuron_lanes = SHAPES[name]
    image = {"channels": channels, "height": height, "width": width}
    tree = {
        "name": name,
        "data": {"dataset": "none", "classes": lanes + 1, **image},
        "network": {"stages": stages, "blocks": 1, "heads": 2, "mlp_ratio": 2, "time_steps": 2},
        "engine": {"lanes": lanes, "neuron_lanes": neuron_lanes, "widths": "format"},
    }
    return parse_preset(tree, name).replace(**changes)
