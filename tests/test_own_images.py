"""Images of one's own: an .npz file in place of a data set, and the text of every refusal."""

import numpy as np
import pytest
import torch

from golden.data import load_split, load_test_images
from golden.evaluate import evaluate_preset
from golden.spec import Preset, SpecError
from golden.train import Run, finish
from tests.small_networks import small_preset

TRAIN = {
    "epochs": 1,
    "quant_epochs": 1,
    "batch": 8,
    "learning_rate": 1e-2,
    "quant_learning_rate": 1e-3,
}


@pytest.fixture
def arrays(tmp_path, monkeypatch) -> dict[str, np.ndarray]:
    """Arrays of a whole file; the folder is the one that commands run in."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(2)
    found = {}
    for part, count in (("train", 16), ("test", 5)):
        found[f"{part}_images"] = random.integers(0, 256, (count, 1, 8, 8), np.uint8)
        found[f"{part}_labels"] = random.integers(0, 10, count, np.uint8)
    return found


def own_preset(**changes) -> Preset:
    return small_preset(data__dataset="own.npz", train=TRAIN, **changes)


def test_both_splits(arrays):
    np.savez("own.npz", **arrays)
    for part in ("train", "test"):
        images, labels = load_split(own_preset(), part)
        np.testing.assert_array_equal(images, arrays[f"{part}_images"])
        np.testing.assert_array_equal(labels, arrays[f"{part}_labels"])
        assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
    np.testing.assert_array_equal(load_test_images(own_preset(), 2)[0], arrays["test_images"][:2])


@pytest.mark.parametrize("kind", [np.int8, np.uint16, np.int32, np.int64, np.uint64, ">i4"])
def test_labels_of_any_integers(arrays, kind):
    wide = {"test_labels": np.array([0, 9, 3, 100, 5], kind)}
    if np.dtype(kind).itemsize > 1:
        wide["test_labels"][3] = 999
    np.savez("own.npz", **arrays | wide)
    _, labels = load_split(own_preset(data__classes=1000), "test")
    assert labels.dtype == np.int64
    assert labels.tolist() == wide["test_labels"].tolist()


def test_labels_beyond_any_count(arrays):
    """Labels that 64 bits with a sign do not hold."""
    np.savez("own.npz", **arrays | {"test_labels": np.full(5, 2**64 - 1, np.uint64)})
    with pytest.raises(SpecError, match=r"^data\.classes is 10: own\.npz has labels up to 184467"):
        load_split(own_preset(), "test")


def test_one_channel_needs_no_axis(arrays):
    np.savez_compressed("own.npz", **{name: array.squeeze() for name, array in arrays.items()})
    images, _ = load_split(own_preset(), "train")
    np.testing.assert_array_equal(images, arrays["train_images"])


def test_train_and_evaluate(arrays, tmp_path):
    torch.manual_seed(1)
    np.savez("own.npz", **arrays)
    preset, path = own_preset(), tmp_path / "net.safetensors"
    finish(Run(preset, tmp_path / "build", compiled=False), path)
    assert evaluate_preset(preset, path, None)["golden.test_images"] == 5


REFUSED = {
    "no array": (
        {"test_labels": None},
        " has no array test_labels: must have train_images, train_labels, test_images, test_labels",
    ),
    "type of images": (
        {"train_images": np.zeros((16, 1, 8, 8))},
        ": train_images is of type float64: must be uint8",
    ),
    "type of labels": (
        {"train_labels": np.zeros(16, np.float32)},
        ": train_labels is of type float32: must be of integers",
    ),
    "labels of bits": (
        {"train_labels": np.zeros(16, bool)},
        ": train_labels is of type bool: must be of integers",
    ),
    "negative labels": (
        {"train_labels": np.full(16, -1, np.int16)},
        " has labels down to -1: must be at least 0",
    ),
    "flat images": (
        {"train_images": np.zeros((16, 64), np.uint8)},
        ": train_images has shape (16, 64): must be (images, channels, height, width), or"
        " (images, height, width) for one channel, with at least one image",
    ),
    "no images": (
        {"train_images": np.zeros((0, 1, 8, 8), np.uint8)},
        ": train_images has shape (0, 1, 8, 8): must be (images, channels, height, width), or"
        " (images, height, width) for one channel, with at least one image",
    ),
    "fewer labels": (
        {"train_labels": np.zeros(15, np.uint8)},
        ": train_labels has shape (15,): must be (16,), a label for each of train_images",
    ),
    "another size": (
        {"train_images": np.zeros((16, 1, 8, 9), np.uint8)},
        " images are (1, 8, 9): preset small has (1, 8, 8)",
    ),
    "another number of channels": (
        {"train_images": np.zeros((16, 3, 8, 8), np.uint8)},
        " images are (3, 8, 8): preset small has (1, 8, 8)",
    ),
    "objects": (
        {"train_labels": np.array([None] * 16)},
        " is not a readable .npz file: Object arrays cannot be loaded when allow_pickle=False",
    ),
}


@pytest.mark.parametrize(("changes", "text"), REFUSED.values(), ids=REFUSED)
def test_refused(arrays, changes, text):
    changed = arrays | changes
    np.savez("own.npz", **{name: array for name, array in changed.items() if array is not None})
    with pytest.raises(SpecError) as error:
        load_split(own_preset(), "train")
    assert str(error.value) == f"own.npz{text}"


def test_labels_beyond_the_classes(arrays):
    arrays["test_labels"][3] = 12
    np.savez("own.npz", **arrays)
    text = "data.classes is 10: own.npz has labels up to 12, must be at least 13"
    with pytest.raises(SpecError) as error:
        load_split(own_preset(), "test")
    assert str(error.value) == text


def test_no_such_file(arrays):
    with pytest.raises(SpecError) as error:
        load_split(own_preset(), "train")
    assert str(error.value) == (
        "data.dataset is own.npz: no such file, seen from the folder the command runs in"
    )


def test_not_an_archive(arrays, tmp_path):
    np.savez("own.npz", **arrays)
    path = tmp_path / "own.npz"
    whole = path.read_bytes()
    np.save("own.npy", arrays["train_images"])
    for content in (b"", b"text", whole[:-50], (tmp_path / "own.npy").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(SpecError, match=r"^own\.npz is not a readable \.npz file: .+"):
            load_split(own_preset(), "train")


def test_a_bad_test_split_is_refused_before_training(arrays, tmp_path):
    np.savez("own.npz", **arrays | {"test_images": np.zeros((5, 1, 9, 8), np.uint8)})
    run = Run(own_preset(), tmp_path / "build", compiled=False)
    with pytest.raises(SpecError, match=r"^own\.npz images are \(1, 9, 8\): preset small has"):
        run.train()
    assert run.epoch == 0
