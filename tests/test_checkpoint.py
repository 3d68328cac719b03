"""Checkpoints: a round trip, and the text of every refusal."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from golden.checkpoint import FORMAT, Checkpoint, checkpoint_path
from golden.export import export
from golden.files import whole_file
from golden.network import SpikingTransformer
from golden.ranges import checkpoint_widths, format_widths
from golden.schedule import network_layers
from golden.spec import SpecError, load_preset, preset_names
from hw.memory_image import checkpoint_requests, image_requests
from tests.small_networks import LOCAL_NETWORKS, random_checkpoint, random_images, small_preset


@pytest.fixture
def checkpoint() -> Checkpoint:
    return random_checkpoint(small_preset())


def test_round_trip(checkpoint, tmp_path):
    path = tmp_path / "deep" / "net.safetensors"
    checkpoint.save(path)
    again = Checkpoint.load(path)
    assert (again.preset, again.scales, again.info) == (
        checkpoint.preset,
        checkpoint.scales,
        checkpoint.info,
    )
    for name, weight in checkpoint.weights.items():
        assert again.weights[name].dtype == np.int8
        assert again.biases[name].dtype == np.int32
        np.testing.assert_array_equal(again.weights[name], weight)
        np.testing.assert_array_equal(again.biases[name], checkpoint.biases[name])
    assert [x.name for x in path.parent.iterdir()] == ["net.safetensors"]


def test_engine_may_differ(checkpoint, tmp_path):
    path = tmp_path / "net.safetensors"
    checkpoint.save(path)
    wanted = small_preset(engine__lanes=4, name="other")
    assert Checkpoint.load(path, wanted).preset == wanted


def test_data_set_may_lie_elsewhere(checkpoint, tmp_path):
    path = tmp_path / "net.safetensors"
    checkpoint.save(path)
    for dataset in ("digits", "own.npz", "/some/where/own.npz"):
        wanted = small_preset(data__dataset=dataset)
        assert Checkpoint.load(path, wanted).preset == wanted


def test_units(checkpoint):
    layers = {x.name: x for x in network_layers(checkpoint.preset)}
    scales = checkpoint.scales
    scales["stage0"], scales["stage1"], scales["head"] = 5, 6, 3
    assert [checkpoint.align(layers[n]) for n in ("stage0", "stage1", "head")] == [0, 2, 0]
    assert [checkpoint.sum_frac_bits(layers[n]) for n in ("stage0", "stage1", "head")] == [13, 8, 3]
    assert checkpoint.threshold(layers["stage0"]) == 1 << 13
    assert checkpoint.threshold(layers["stage1"]) == 1 << 8


def test_missing_file(tmp_path):
    path = tmp_path / "none.safetensors"
    with pytest.raises(SpecError) as error:
        Checkpoint.load(path)
    assert str(error.value) == (
        f"no checkpoint {path}: train one with `python -m golden train --preset none`"
    )


@pytest.mark.parametrize("size", [0, 7, 300, -1])
def test_truncated(checkpoint, tmp_path, size):
    path = tmp_path / "net.safetensors"
    checkpoint.save(path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(
        SpecError, match=r"^checkpoint net\.safetensors: not a whole safetensors file: [^\n]+$"
    ):
        Checkpoint.load(path)


def stored_with(checkpoint, path, tensors=None, metadata=None) -> None:
    """Save a checkpoint with tensors or metadata replaced; None removes."""
    checkpoint.save(path)
    kept = load_file(path) | (tensors or {})
    noted = {
        "format": FORMAT,
        "preset": checkpoint.preset.model_dump_json(),
        "scales": json.dumps(checkpoint.scales),
    } | (metadata or {})
    kept, noted = ({k: v for k, v in each.items() if v is not None} for each in (kept, noted))
    save_file(kept, path, metadata=noted)


def scales_with(**changes) -> str:
    scales = random_checkpoint(small_preset()).scales | changes
    return json.dumps({k: v for k, v in scales.items() if v is not None})


UNREADABLE = "{} in its metadata is missing or not readable"
REFUSED = [
    ({}, {"format": None}, "format is None: must be spikestack-1"),
    ({}, {"format": "spikestack-9"}, "format is spikestack-9: must be spikestack-1"),
    ({}, {"preset": None}, UNREADABLE.format("preset")),
    ({}, {"preset": "{"}, UNREADABLE.format("preset")),
    ({}, {"scales": None}, UNREADABLE.format("scales")),
    ({}, {"scales": "[8]"}, UNREADABLE.format("scales")),
    ({"stage1.weight": None}, {}, "layer stage1 is missing"),
    ({"head.bias": None}, {}, "layer head is missing"),
    ({}, {"scales": scales_with(position=None)}, "layer position is missing"),
    ({"block9.fc1.bias": np.zeros(4, np.int32)}, {}, "layer block9.fc1 is not of small"),
    (
        {"stage1.weight": np.zeros((16, 8, 3, 3), np.int16)},
        {},
        "stage1.weight is of type int16: must be int8",
    ),
    (
        {"stage1.weight": np.zeros((16, 8, 3, 3), np.float32)},
        {},
        "stage1.weight is of type float32: must be int8",
    ),
    ({"head.bias": np.zeros(10, np.int64)}, {}, "head.bias is of type int64: must be int32"),
    (
        {"stage1.weight": np.zeros((8, 16, 3, 3), np.int8)},
        {},
        "stage1.weight has shape (8, 16, 3, 3): must be (16, 8, 3, 3)",
    ),
    ({"head.bias": np.zeros(11, np.int32)}, {}, "head.bias has shape (11,): must be (10,)"),
    (
        {"head.bias": np.full(10, 1 << 19, np.int32)},
        {},
        "head.bias has values 524288 to 524288: must be -524288 to 524287",
    ),
    ({}, {"scales": scales_with(head=9)}, "scale of head is 9: must be 0 to 8"),
    ({}, {"scales": scales_with(stage0=0)}, "scale of stage0 is 0: must be 1 to 8"),
    ({}, {"scales": scales_with(stage1=0)}, "scale of stage1 is 0: must be 1 to 8"),
    ({}, {"scales": scales_with(stage1=7.0)}, "scale of stage1 is 7.0: must be 1 to 8"),
    ({}, {"scales": scales_with(stage1=True)}, "scale of stage1 is True: must be 1 to 8"),
]


@pytest.mark.parametrize(("tensors", "metadata", "text"), REFUSED, ids=lambda x: str(x)[:40])
def test_refused(checkpoint, tmp_path, tensors, metadata, text):
    path = tmp_path / "net.safetensors"
    stored_with(checkpoint, path, tensors, metadata)
    with pytest.raises(SpecError) as error:
        Checkpoint.load(path)
    assert str(error.value) == f"checkpoint net.safetensors: {text}"


def other(name: str, place: tuple, value: int) -> np.ndarray:
    """A tensor of the random LRF-Dyn checkpoint with one coefficient replaced."""
    tensor = random_checkpoint(small_preset(**DYN)).coefficients[name].copy()
    tensor[place] = value
    return tensor


DYN = {"network__attention": "lrf-dyn"}
LRF = {"network__attention": "lrf-ssa", "quant__local_bits": 5}
AT = "block0.attention"
COEFFICIENTS_REFUSED = [
    (DYN, {f"{AT}.a": None}, f"{AT}.a is missing"),
    (DYN, {f"{AT}.b": np.zeros(3, np.int16)}, f"{AT}.b is not of small"),
    (
        DYN,
        {f"{AT}.c": other(f"{AT}.c", (3, 2), -23)},
        f"{AT}.c has coefficient -23 / 128: must be a sum of at most two of +-1 to +-2**-7",
    ),
    (
        DYN,
        {f"{AT}.gamma": other(f"{AT}.gamma", (0, 0), 257)},
        f"{AT}.gamma has coefficient 257 / 128: must be a sum of at most two of +-1 to +-2**-7",
    ),
    (
        DYN,
        {f"{AT}.gamma": np.zeros((16, 9), np.int16)},
        f"{AT}.gamma has shape (16, 9): must be (16, 8)",
    ),
    (
        DYN,
        {f"{AT}.c": np.zeros((16, 8), np.int8)},
        f"{AT}.c is of type int8: must be int16",
    ),
    (
        DYN,
        {f"{AT}.a": other(f"{AT}.a", (5, 7, 2), 64)},
        f"{AT}.a is not 0 beside the first or the last dendrite",
    ),
    (
        DYN,
        {f"{AT}.local": other(f"{AT}.local", (5, 1, 1, 1), 64)},
        f"{AT}.local is not 0 at the centre of a kernel after the first: all centres are one tap,"
        " which the first kernel holds",
    ),
    (
        LRF,
        {f"{AT}.local": np.full((16, 2, 3, 3), 16, np.int16)},
        f"{AT}.local has values 16 to 16: must be -16 to 15",
    ),
    ({}, {f"{AT}.local": np.zeros(3, np.int16)}, f"{AT}.local is not of small"),
]


@pytest.mark.parametrize(
    ("changes", "tensors", "text"), COEFFICIENTS_REFUSED, ids=lambda x: str(x)[:40]
)
def test_refused_coefficients(tmp_path, changes, tensors, text):
    path = tmp_path / "net.safetensors"
    stored_with(random_checkpoint(small_preset(**changes)), path, tensors)
    with pytest.raises(SpecError) as error:
        Checkpoint.load(path)
    assert str(error.value) == f"checkpoint net.safetensors: {text}"


@pytest.mark.parametrize("accuracy", ["abc", "", "nan", "-1", "101"])
def test_refused_accuracy(checkpoint, tmp_path, accuracy):
    path = tmp_path / "net.safetensors"
    replace(checkpoint, info={"float_accuracy": accuracy}).save(path)
    with pytest.raises(SpecError) as error:
        Checkpoint.load(path)
    assert str(error.value) == (
        f"checkpoint net.safetensors: info.float_accuracy is {accuracy}:"
        " must be a number from 0 to 100"
    )


@pytest.mark.parametrize("changes", LOCAL_NETWORKS.values(), ids=LOCAL_NETWORKS)
def test_coefficients_survive(tmp_path, changes):
    path, stored = tmp_path / "net.safetensors", random_checkpoint(small_preset(**changes))
    stored.save(path)
    again = Checkpoint.load(path).coefficients
    assert again.keys() == stored.coefficients.keys()
    assert all(np.array_equal(again[name], x) for name, x in stored.coefficients.items())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"network__mlp_ratio": 4}, "network.mlp_ratio is 2: preset small has 4"),
        ({"network__time_steps": 2}, "network.time_steps is 4: preset small has 2"),
        ({"data__classes": 5}, "data.classes is 10: preset small has 5"),
        ({"quant__weight_bits": 4}, "quant.weight_bits is 8: preset small has 4"),
    ],
)
def test_another_shape(checkpoint, tmp_path, changes, text):
    path = tmp_path / "net.safetensors"
    checkpoint.save(path)
    with pytest.raises(SpecError) as error:
        Checkpoint.load(path, small_preset(**changes))
    assert str(error.value) == f"checkpoint net.safetensors: {text}"


def test_eight_bits_in_a_four_bit_preset(checkpoint, tmp_path):
    four = small_preset(quant__weight_bits=4)
    stored = random_checkpoint(four)
    stored.weights["stage0"][0, 0, 0, :2] = -9, 100
    path = tmp_path / "net.safetensors"
    stored.save(path)
    text = r"^checkpoint net\.safetensors: stage0\.weight has values -9 to 100: must be -8 to 7$"
    with pytest.raises(SpecError, match=text):
        Checkpoint.load(path, four)


def test_hardware_too_narrow_for_the_checkpoint(checkpoint):
    needed = checkpoint_widths(checkpoint)
    narrow = type(needed)(**{**vars(needed), "sums": needed.sums - 1})
    with pytest.raises(SpecError) as error:
        checkpoint_requests(checkpoint, narrow)
    assert str(error.value) == (
        f"checkpoint needs {needed.sums} bits for sums: the hardware was built with"
        f" {needed.sums - 1}; build it for this checkpoint, or with engine.widths = format"
    )


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (np.zeros((8, 8), np.uint8), "uint8 of shape (8, 8)"),
        (np.zeros((1, 8, 7), np.uint8), "uint8 of shape (1, 8, 7)"),
        (np.zeros((1, 8, 8), np.int64), "int64 of shape (1, 8, 8)"),
    ],
)
def test_wrong_image(image, text):
    preset = small_preset()
    with pytest.raises(SpecError) as error:
        image_requests(image, preset, format_widths(preset))
    assert str(error.value) == f"image is {text}: must be uint8 of (1, 8, 8)"
    assert image_requests(random_images(preset, 1)[0], preset, format_widths(preset))


def test_export_needs_a_folded_network():
    text = r"^the network is not folded: call fold\(\) and train it with its integers$"
    with pytest.raises(ValueError, match=text):
        export(SpikingTransformer(small_preset()), {})


def test_writing_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", [n for n in preset_names() if load_preset(n).train])
def test_shipped(name):
    preset = load_preset(name)
    path = checkpoint_path(preset)
    stored = Checkpoint.load(path, preset)
    assert stored.preset == preset
    assert {"command", "seed", "float_accuracy"} <= set(stored.info)
