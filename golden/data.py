"""Images and labels: unsigned 8-bit pixels, from packages that ship them or a file of one's own."""

import gzip
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from .spec import Preset, SpecError

FASHION_MNIST_PACKAGE = "dataset-fashion-mnist"
FASHION_MNIST_DIR = Path("/usr/share/datasets/fashion-mnist")
SAMPLE_DIR = Path(__file__).resolve().parent.parent / "checkpoints"


class MissingPackage(SpecError):
    """A data set whose package is not installed."""


def load_split(preset: Preset, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Read the ``"train"`` or held-out ``"test"`` split of the preset's data set.

    Returns
    -------
    tuple of ndarray
        Images, uint8, shape (count, channels, height, width), and labels, int64, shape (count,).

    Raises
    ------
    SpecError
        If the preset has no data, the package or file is missing or damaged, or images or labels
        do not fit the preset.
    """
    dataset = preset.data.dataset
    if dataset == "none":
        raise SpecError(f"preset {preset.name} has no data set (data.dataset is none): shapes only")
    shipped = {"digits": _digits, "fashion-mnist": _fashion_mnist}.get(dataset)
    images, labels = shipped(split) if shipped else _own_file(Path(dataset), split)
    _check_fits(images, labels, preset)
    return images, labels.astype(np.int64)


def load_test_images(preset: Preset, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """First ``count`` test images and labels, from the repository's own sample where it suffices.

    The sample (Fashion-MNIST's first 1,000 test images, MIT licence) lets the simulation run
    without the data package. Without the package, all images are those of the sample; a printed
    line says so.

    Raises
    ------
    SpecError
        As for :func:`load_split`, or if there are fewer than ``count`` test images.
    """
    sample = _sample(preset)
    if sample is not None and count is not None and count <= len(sample[1]):
        images, labels = sample
    else:
        try:
            images, labels = load_split(preset, "test")
        except MissingPackage as error:
            if sample is None or count is not None:
                raise
            images, labels = sample
            print(f"{error}; taken instead: the first {len(labels):,} test images, shipped here")
    if count is not None and count > len(labels):
        raise SpecError(
            f"images is {count}: must be at most {len(labels)},"
            f" the test images of {preset.data.dataset}"
        )
    return images[:count], labels[:count]


def _sample(preset: Preset) -> tuple[np.ndarray, np.ndarray] | None:
    path = SAMPLE_DIR / f"{preset.data.dataset}.npz"
    if not path.is_file():
        return None
    with np.load(path) as stored:
        images, labels = stored["images"], stored["labels"]
    _check_fits(images, labels, preset)
    return images, labels


def _check_fits(images: np.ndarray, labels: np.ndarray, preset: Preset) -> None:
    data = preset.data
    shape = (data.channels, data.height, data.width)
    if images.shape[1:] != shape:
        raise SpecError(
            f"{data.dataset} images are {images.shape[1:]}: preset {preset.name} has {shape}"
        )
    low, top = int(labels.min()), int(labels.max())
    if low < 0:
        raise SpecError(f"{data.dataset} has labels down to {low}: must be at least 0")
    if top >= data.classes:
        raise SpecError(
            f"data.classes is {data.classes}: {data.dataset} has labels up to {top},"
            f" must be at least {top + 1}"
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
        return train_images, train_labels
    return test_images, test_labels


def _own_file(path: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Read a split from an .npz file with arrays ``train_images`` to ``test_labels``."""
    if not path.is_file():
        raise SpecError(
            f"data.dataset is {path}: no such file, seen from the folder the command runs in"
        )
    names = [f"{part}_{kind}" for part in ("train", "test") for kind in ("images", "labels")]
    wanted = names[:2] if split == "train" else names[2:]
    try:
        with np.load(path, allow_pickle=False) as stored:
            missing = [name for name in names if name not in stored]
            arrays = [stored[name] for name in wanted if name in stored]
    # A .npy file gives an array, which is no context manager: a TypeError.
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise SpecError(f"{path} is not a readable .npz file: {error}") from None
    if missing:
        raise SpecError(f"{path} has no array {missing[0]}: must have {', '.join(names)}")
    images, labels = arrays
    if images.dtype != np.uint8:
        raise SpecError(f"{path}: {wanted[0]} is of type {images.dtype}: must be uint8")
    if not np.issubdtype(labels.dtype, np.integer):
        raise SpecError(f"{path}: {wanted[1]} is of type {labels.dtype}: must be of integers")
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or not len(images):
        raise SpecError(
            f"{path}: {wanted[0]} has shape {images.shape}: must be (images, channels, height,"
            " width), or (images, height, width) for one channel, with at least one image"
        )
    if labels.shape != images.shape[:1]:
        raise SpecError(
            f"{path}: {wanted[1]} has shape {labels.shape}: must be {images.shape[:1]},"
            f" a label for each of {wanted[0]}"
        )
    return images, labels


def _fashion_mnist(split: str) -> tuple[np.ndarray, np.ndarray]:
    folder = Path(os.environ.get("SPIKESTACK_FASHION_MNIST", FASHION_MNIST_DIR))
    stem = "train" if split == "train" else "t10k"
    files = folder / f"{stem}-images-idx3-ubyte.gz", folder / f"{stem}-labels-idx1-ubyte.gz"
    for path in files:
        if not path.is_file():
            raise MissingPackage(
                f"no Fashion-MNIST in {folder}: install the Debian package {FASHION_MNIST_PACKAGE},"
                " or set SPIKESTACK_FASHION_MNIST to the folder of its four .gz files"
            )
    images = _read_idx(files[0], header=16, size=28 * 28).reshape(-1, 1, 28, 28)
    labels = _read_idx(files[1], header=8, size=1)
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
