"""Images and labels: unsigned 8-bit pixels, from packages that ship them."""

import gzip
import os
import zlib
from pathlib import Path

import numpy as np

from .spec import Preset, SpecError

FASHION_MNIST_PACKAGE = "dataset-fashion-mnist"
FASHION_MNIST_DIR = Path("/usr/share/datasets/fashion-mnist")
SAMPLE_DIR = Path(__file__).resolve().parent.parent / "checkpoints"


def load_split(preset: Preset, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Read the ``"train"`` or held-out ``"test"`` split of the preset's data set.

    Returns
    -------
    tuple of ndarray
        Images, uint8, shape (count, channels, height, width), and labels, int64, shape (count,).

    Raises
    ------
    SpecError
        If the preset has no data, the package is missing, or images are not of the preset's shape.
    """
    dataset = preset.data.dataset
    if dataset == "none":
        raise SpecError(f"preset {preset.name} has no data set (data.dataset is none): shapes only")
    images, labels = (_digits if dataset == "digits" else _fashion_mnist)(split)
    _check_shape(images, preset)
    return images, labels


def load_test_images(preset: Preset, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """First ``count`` test images and labels, from the repository's own sample where it suffices.

    The sample (Fashion-MNIST's first 1,000 test images, MIT licence) lets the simulation run
    without the data package.
    """
    sample = SAMPLE_DIR / f"{preset.data.dataset}.npz"
    if count is not None and sample.is_file():
        with np.load(sample) as stored:
            if count <= len(stored["labels"]):
                _check_shape(stored["images"], preset)
                return stored["images"][:count], stored["labels"][:count]
    images, labels = load_split(preset, "test")
    return images[:count], labels[:count]


def _check_shape(images: np.ndarray, preset: Preset) -> None:
    data = preset.data
    shape = (data.channels, data.height, data.width)
    if images.shape[1:] != shape:
        raise SpecError(
            f"{data.dataset} images are {images.shape[1:]}: preset {preset.name} has {shape}"
        )


def _digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    # Pixels there run from 0 to 16.
    images = np.minimum(images * 16, 255).astype(np.uint8).reshape(-1, 1, 8, 8)
    parts = train_test_split(images, labels, test_size=0.25, random_state=0, stratify=labels)
    train_images, test_images, train_labels, test_labels = parts
    if split == "train":
        return train_images, train_labels.astype(np.int64)
    return test_images, test_labels.astype(np.int64)


def _fashion_mnist(split: str) -> tuple[np.ndarray, np.ndarray]:
    folder = Path(os.environ.get("SPIKESTACK_FASHION_MNIST", FASHION_MNIST_DIR))
    stem = "train" if split == "train" else "t10k"
    files = folder / f"{stem}-images-idx3-ubyte.gz", folder / f"{stem}-labels-idx1-ubyte.gz"
    for path in files:
        if not path.is_file():
            raise SpecError(
                f"no Fashion-MNIST in {folder}: install the Debian package {FASHION_MNIST_PACKAGE},"
                " or set SPIKESTACK_FASHION_MNIST to the folder of its four .gz files"
            )
    images = _read_idx(files[0], header=16, size=28 * 28).reshape(-1, 1, 28, 28)
    labels = _read_idx(files[1], header=8, size=1).astype(np.int64)
    if len(images) != len(labels):
        raise SpecError(f"{files[0]} has {len(images)} images and {len(labels)} labels")
    return images, labels


def _read_idx(path: Path, header: int, size: int) -> np.ndarray:
    """Bytes behind the header of a compressed IDX file, if they are its count of whole items."""
    try:
        with gzip.open(path) as stream:
            content = stream.read()
    except (EOFError, OSError, zlib.error) as error:
        raise SpecError(f"{path} is not a whole gzip file: {error}") from None
    count = int.from_bytes(content[4:8], "big")
    if not count or len(content) != header + count * size:
        raise SpecError(
            f"{path} has {len(content)} bytes:"
            f" must be {header} and {size} for each of its {count} items"
        )
    return np.frombuffer(content, np.uint8, offset=header)
