"""What a checkpoint and an image look like in the accelerator's memories. Plain numpy."""

import numpy as np

from golden.checkpoint import Checkpoint
from golden.ranges import Widths, checkpoint_widths
from golden.schedule import Layer, MemoryMap, network_layers
from golden.spec import Preset, SpecError

from . import spaces
from .attention_image import coefficient_rows, pack
from .frames import DEFAULT_MAX_PAYLOAD, load_requests


def checkpoint_requests(
    checkpoint: Checkpoint, widths: Widths, max_payload: int = DEFAULT_MAX_PAYLOAD
) -> list[bytes]:
    """Frames that load a checkpoint into hardware of these widths.

    Their payloads are up to ``max_payload`` bytes long, or longer where a row of the hardware is.

    Raises
    ------
    SpecError
        If the checkpoint's sums do not fit the widths that were built.
    """
    widths.check_fits(checkpoint_widths(checkpoint))
    preset = checkpoint.preset
    known = spaces.write_spaces(preset, widths)
    images = {
        spaces.WEIGHTS: known[spaces.WEIGHTS].pack(weight_rows(checkpoint)),
        spaces.BIASES: known[spaces.BIASES].pack(bias_rows(checkpoint)),
        spaces.FORMATS: known[spaces.FORMATS].pack(format_rows(checkpoint, widths)),
    }
    rows = coefficient_rows(checkpoint)
    for index, space in enumerate(known[spaces.IMAGE + 1 :], start=spaces.IMAGE + 1):
        images[index] = space.pack(rows[space.name])
    longest = spaces.max_payload(preset, widths, max_payload)
    return [
        frame
        for index, content in images.items()
        for frame in load_requests(known[index], index, content, longest)
    ]


def image_requests(
    image: np.ndarray, preset: Preset, widths: Widths, max_payload: int = DEFAULT_MAX_PAYLOAD
) -> list[bytes]:
    """Frames that load an image, uint8 of shape (channels, height, width), pixel by pixel.

    Raises
    ------
    SpecError
        If the image is not of the preset's shape and type.
    """
    shape = (preset.data.channels, preset.data.height, preset.data.width)
    if image.dtype != np.uint8 or image.shape != shape:
        raise SpecError(f"image is {image.dtype} of shape {image.shape}: must be uint8 of {shape}")
    content = image.transpose(1, 2, 0).tobytes()
    space = spaces.write_spaces(preset, widths)[spaces.IMAGE]
    return list(load_requests(space, spaces.IMAGE, content, max_payload))


def weight_rows(checkpoint: Checkpoint) -> list[int]:
    """Rows of the weight storage; see :class:`golden.schedule.MemoryMap` for their order."""
    preset, where = checkpoint.preset, MemoryMap(checkpoint.preset)
    lanes, bits, rows = preset.engine.all_lanes, preset.quant.weight_bits, []
    for layer in _weighted(preset):
        weight = checkpoint.weights[layer.name].reshape(layer.outputs, layer.inputs, -1)
        # Inputs that only fill a row up have no weights; they are the last.
        inputs = where.input_order[layer.name][: layer.inputs]
        by_tap = _ordered(weight[:, inputs].transpose(2, 1, 0), where.output_order[layer.name])
        for group in range(layer.groups(lanes)):
            part = by_tap[:, :, group * lanes : (group + 1) * lanes]
            rows += [pack(row, bits) for row in part.reshape(-1, lanes)]
    return rows


def bias_rows(checkpoint: Checkpoint) -> list[int]:
    """Rows of the bias storage, ``neuron_lanes`` biases of each tile."""
    preset, where = checkpoint.preset, MemoryMap(checkpoint.preset)
    engine, width, rows = preset.engine, preset.engine.neuron_lanes, []
    for layer in _weighted(preset):
        bias = _ordered(checkpoint.biases[layer.name], where.output_order[layer.name])
        slices = bias.reshape(-1, engine.tiles, engine.lanes // width, width).transpose(0, 2, 1, 3)
        rows += [
            pack(row, preset.quant.bias_bits) for row in slices.reshape(-1, engine.tiles * width)
        ]
    return rows


def format_rows(checkpoint: Checkpoint, widths: Widths) -> list[int]:
    """Rows of the format storage, one a layer."""
    layout = spaces.format_layout(widths)
    rows = []
    for layer in network_layers(checkpoint.preset):
        align = checkpoint.align(layer) if layer.synaptic else 0
        fields = {"align": align, "threshold": checkpoint.threshold(layer)}
        rows.append(layout.const(fields).as_value().value)
    return rows


def _weighted(preset: Preset) -> list[Layer]:
    return [layer for layer in network_layers(preset) if layer.has_weights]


def _ordered(values: np.ndarray, order: list[int]) -> np.ndarray:
    """Bring the last axis into an order that also has places beyond its end, which are 0."""
    missing = len(order) - values.shape[-1]
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])[..., order]
