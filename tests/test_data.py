"""Data sets: shapes, and the text of every refusal."""

import gzip

import numpy as np
import pytest

from golden import data
from golden.data import FASHION_MNIST_DIR, load_split, load_test_images
from golden.spec import SpecError, load_preset
from tests.small_networks import small_preset

PACKAGE = (
    "install the Debian package dataset-fashion-mnist,"
    " or set SPIKESTACK_FASHION_MNIST to the folder of its four .gz files"
)


def test_digits():
    preset = load_preset("tiny")
    images, labels = load_split(preset, "train")
    held_out, answers = load_split(preset, "test")
    assert images.dtype == held_out.dtype == np.uint8
    assert labels.dtype == answers.dtype == np.int64
    assert (images.shape, held_out.shape) == ((1347, 1, 8, 8), (450, 1, 8, 8))
    assert (images.min(), images.max()) == (0, 255)
    assert set(labels) == set(answers) == set(range(10))
    # A few digits are drawn alike; a split that leaks would share far more.
    seen = {image.tobytes() for image in images}
    assert sum(image.tobytes() in seen for image in held_out) < 5
    again, _ = load_split(preset, "test")
    np.testing.assert_array_equal(held_out, again)


def test_first_images():
    preset = load_preset("tiny")
    all_images, all_labels = load_test_images(preset)
    images, labels = load_test_images(preset, 7)
    np.testing.assert_array_equal(images, all_images[:7])
    np.testing.assert_array_equal(labels, all_labels[:7])


def test_more_images_than_there_are():
    text = r"^images is 451: must be at most 450, the test images of digits$"
    with pytest.raises(SpecError, match=text):
        load_test_images(load_preset("tiny"), 451)
    assert len(load_test_images(load_preset("tiny"), 450)[1]) == 450


def write_idx(folder, stem: str, images: np.ndarray, labels: np.ndarray) -> None:
    for kind, values, shape in (("images-idx3", images, (28, 28)), ("labels-idx1", labels, ())):
        header = bytes([0, 0, 8, 1 + len(shape)])
        for size in (len(values), *shape):
            header += size.to_bytes(4, "big")
        with gzip.open(folder / f"{stem}-{kind}-ubyte.gz", "wb") as stream:
            stream.write(header + values.astype(np.uint8).tobytes())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Fashion-MNIST of three images, and no sample of the repository's own."""
    monkeypatch.setenv("SPIKESTACK_FASHION_MNIST", str(tmp_path))
    monkeypatch.setattr(data, "SAMPLE_DIR", tmp_path)
    images = np.random.default_rng(1).integers(0, 256, (3, 28, 28))
    for stem in ("train", "t10k"):
        write_idx(tmp_path, stem, images, np.array([9, 0, 4]))
    return tmp_path


def test_fashion_mnist(folder):
    images, labels = load_split(load_preset("base"), "test")
    assert (images.shape, images.dtype) == ((3, 1, 28, 28), np.uint8)
    assert labels.tolist() == [9, 0, 4]
    np.savez(folder / "fashion-mnist.npz", images=images[:2] ^ 255, labels=9 - labels[:2])
    sample, answers = load_test_images(load_preset("base"), 2)
    np.testing.assert_array_equal(sample, images[:2] ^ 255)
    assert answers.tolist() == [0, 9]
    assert load_test_images(load_preset("base"), 3)[1].tolist() == [9, 0, 4]


def test_missing_package(tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKESTACK_FASHION_MNIST", str(tmp_path))
    with pytest.raises(SpecError) as error:
        load_split(load_preset("base"), "test")
    assert str(error.value) == f"no Fashion-MNIST in {tmp_path}: {PACKAGE}"


def test_sample_in_place_of_the_package(tmp_path, monkeypatch, capsys):
    """All images are then those of the sample, and a line says so; more of them are not there."""
    monkeypatch.setenv("SPIKESTACK_FASHION_MNIST", str(tmp_path))
    images, labels = load_test_images(load_preset("base"))
    assert (images.shape, labels.shape) == ((1000, 1, 28, 28), (1000,))
    assert capsys.readouterr().out == (
        f"no Fashion-MNIST in {tmp_path}: {PACKAGE};"
        " taken instead: the first 1,000 test images, shipped here\n"
    )
    with pytest.raises(SpecError) as error:
        load_test_images(load_preset("base"), 1001)
    assert str(error.value) == f"no Fashion-MNIST in {tmp_path}: {PACKAGE}"


def test_truncated_package(folder):
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SpecError) as error:
        load_split(load_preset("base"), "test")
    assert str(error.value).startswith(f"{path} is not a whole gzip file: ")
    path.write_bytes(b"no gzip")
    with pytest.raises(SpecError) as error:
        load_split(load_preset("base"), "test")
    assert str(error.value) == f"{path} is not a whole gzip file: Not a gzipped file (b'no')"


def test_wrong_count(folder):
    path = folder / "t10k-images-idx3-ubyte.gz"
    with gzip.open(path) as stream:
        content = stream.read()
    with gzip.open(path, "wb") as stream:
        stream.write(content[:-1])
    with pytest.raises(SpecError) as error:
        load_split(load_preset("base"), "test")
    assert str(error.value) == (
        f"{path} has 2367 bytes: must be 16 and 784 for each of its 3 items"
    )
    write_idx(folder, "t10k", np.zeros((2, 28, 28)), np.zeros(3))
    with pytest.raises(SpecError) as error:
        load_split(load_preset("base"), "test")
    assert str(error.value) == f"{path} has 2 images and 3 labels"


@pytest.mark.skipif(not FASHION_MNIST_DIR.is_dir(), reason="Fashion-MNIST is not installed")
def test_fashion_mnist_package():
    images, labels = load_split(load_preset("base"), "test")
    assert (images.shape, images.dtype) == ((10_000, 1, 28, 28), np.uint8)
    assert np.bincount(labels).tolist() == [1000] * 10
    # The repository's sample, where it is, is the package's beginning.
    sample, answers = load_test_images(load_preset("base"), 1000)
    np.testing.assert_array_equal(sample, images[:1000])
    np.testing.assert_array_equal(answers, labels[:1000])


def test_shapes_only():
    text = r"^preset small has no data set \(data\.dataset is none\): shapes only$"
    with pytest.raises(SpecError, match=text):
        load_split(small_preset(), "test")


def test_images_of_another_shape(folder):
    preset = load_preset("tiny").replace(data__width=10)
    text = r"^digits images are \(1, 8, 8\): preset tiny has \(1, 8, 10\)$"
    with pytest.raises(SpecError, match=text):
        load_split(preset, "train")
    np.savez(folder / "digits.npz", images=np.zeros((2, 1, 8, 8), np.uint8), labels=[1, 2])
    with pytest.raises(SpecError, match=text):
        load_test_images(preset, 1)


@pytest.mark.parametrize("split", ["train", "test"])
def test_more_labels_than_classes(split):
    preset = load_preset("tiny").replace(data__classes=5)
    text = r"^data\.classes is 5: digits has labels up to 9, must be at least 10$"
    with pytest.raises(SpecError, match=text):
        load_split(preset, split)
