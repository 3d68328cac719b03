"""Checkpoints: integers in a safetensors file, with the network's shape in its metadata.

Tensors are ``<layer>.weight`` (int8), ``<layer>.bias`` (int32) and the attention's coefficients
(int16); the metadata hold the preset, the power-of-two scale of each layer and how the checkpoint
came about. Imports no torch.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .coefficients import two_powers
from .files import whole_file
from .schedule import Layer, coefficient_shapes, network_layers
from .sections import Section
from .spec import MAX_ALIGN, PIXEL_BITS, Preset, SpecError, parse_preset, preset_option

FORMAT = "spikestack-1"
WEIGHTED = (".weight", ".bias")
CHECKPOINT_DIR = Path(__file__).resolve().parent.parent / "checkpoints"


@dataclass(frozen=True)
class Checkpoint:
    """A trained network in integers.

    Members
    -------
    preset : the network's shape and formats
    weights : int8 by layer name, shapes as in :attr:`Layer.weight_shape`
    biases : int32 by layer name, shape (outputs,), in units of :meth:`sum_frac_bits`
    scales : by layer name, s of the weights' unit ``2**-s``
    info : how it was trained, for people
    coefficients : int16 by tensor name, shapes as in :func:`golden.schedule.coefficient_shapes`;
        weights of LRF-SSA's local branch have ``local_bits`` bits, all others are sums of two
        powers of two (:mod:`golden.coefficients`)
    """

    preset: Preset
    weights: dict[str, np.ndarray]
    biases: dict[str, np.ndarray]
    scales: dict[str, int]
    info: dict[str, str] = field(default_factory=dict)
    coefficients: dict[str, np.ndarray] = field(default_factory=dict)

    def align(self, layer: Layer) -> int:
        """Left shift that brings the layer's weights to the unit of its sums."""
        if layer.kind in ("pixels", "head"):
            return 0
        return self.preset.quant.frac_bits - self.scales[layer.tensors]

    def sum_frac_bits(self, layer: Layer) -> int:
        """Fraction bits of the layer's sums: F, but those of the weights for pixels and head."""
        if layer.kind == "pixels":
            return self.scales[layer.name] + PIXEL_BITS
        return self.scales[layer.tensors] + self.align(layer)

    def threshold(self, layer: Layer) -> int:
        """V_th in the unit of the layer's sums."""
        if not layer.has_weights or layer.neuron == "none":
            return self.preset.threshold
        return round(self.preset.network.neuron.threshold * 2 ** self.sum_frac_bits(layer))

    def save(self, path: Path) -> None:
        """Write the file whole or not at all."""
        tensors = {}
        for name, weight in self.weights.items():
            tensors[f"{name}.weight"] = np.ascontiguousarray(weight)
            tensors[f"{name}.bias"] = np.ascontiguousarray(self.biases[name])
        for name, values in self.coefficients.items():
            tensors[name] = np.ascontiguousarray(values)
        metadata = {
            "format": FORMAT,
            "preset": self.preset.model_dump_json(),
            "scales": json.dumps(self.scales),
            **{f"info.{key}": value for key, value in self.info.items()},
        }
        with whole_file(path) as partial:
            save_file(tensors, partial, metadata=metadata)

    @classmethod
    def load(cls, path: Path, preset: Preset | None = None) -> "Checkpoint":
        """Read and check a checkpoint.

        Parameters
        ----------
        path : the ``.safetensors`` file
        preset : what it must fit (its engine replaces the checkpoint's own); any if None

        Raises
        ------
        SpecError
            If the file is missing, truncated, of another format or shape, or has values out of
            range; in one line.
        """
        if path.is_dir():
            raise SpecError(f"checkpoint {path} is a folder: must be a .safetensors file")
        if not path.is_file():
            name = preset_option(preset.name) if preset is not None else path.stem
            raise SpecError(
                f"no checkpoint {path}: train one with `python -m golden train --preset {name}`"
            )
        try:
            with safe_open(path, framework="numpy") as stored:
                metadata = stored.metadata() or {}
                names = stored.keys()
                tensors = {name: stored.get_tensor(name) for name in names}
        except (SafetensorError, ValueError, TypeError) as error:
            raise SpecError(
                f"checkpoint {path.name}: not a whole safetensors file: {error}"
            ) from None
        if metadata.get("format") != FORMAT:
            raise SpecError(
                f"checkpoint {path.name}: format is {metadata.get('format')}: must be {FORMAT}"
            )
        own = parse_preset(_metadata(path.name, metadata, "preset"), source=path.name)
        if preset is not None:
            _same_shape(path.name, own, preset)
        checkpoint = cls(
            preset=preset or own,
            weights=_named(tensors, ".weight"),
            biases=_named(tensors, ".bias"),
            scales=_metadata(path.name, metadata, "scales"),
            info={k[5:]: v for k, v in metadata.items() if k.startswith("info.")},
            coefficients={k: v for k, v in tensors.items() if not k.endswith(WEIGHTED)},
        )
        checkpoint.check(path.name)
        return checkpoint

    def check(self, source: str) -> None:
        """Raise :class:`SpecError` unless every tensor has its shape, type and range."""
        quant = self.preset.quant
        layers = [layer for layer in network_layers(self.preset) if layer.has_weights]
        known = {layer.name for layer in layers}
        for name in sorted({*self.weights, *self.biases, *self.scales} - known):
            raise SpecError(f"checkpoint {source}: layer {name} is not of {self.preset.name}")
        for layer in layers:
            name = layer.name
            if not (name in self.weights and name in self.biases and name in self.scales):
                raise SpecError(f"checkpoint {source}: layer {name} is missing")
            where = f"checkpoint {source}: {name}"
            weight, bias, scale = self.weights[name], self.biases[name], self.scales[name]
            _check_tensor(f"{where}.weight", weight, np.int8, layer.weight_shape, quant.weight_bits)
            _check_tensor(f"{where}.bias", bias, np.int32, (layer.outputs,), quant.bias_bits)
            low = 0 if layer.kind == "head" else max(0, quant.frac_bits - MAX_ALIGN)
            if type(scale) is not int or not low <= scale <= quant.frac_bits:
                raise SpecError(
                    f"checkpoint {source}: scale of {name} is {scale}:"
                    f" must be {low} to {quant.frac_bits}"
                )
        self._check_coefficients(source)
        accuracy = self.info.get("float_accuracy")
        if accuracy is not None and not _is_percentage(accuracy):
            raise SpecError(
                f"checkpoint {source}: info.float_accuracy is {accuracy}:"
                " must be a number from 0 to 100"
            )

    def _check_coefficients(self, source: str) -> None:
        shapes = coefficient_shapes(self.preset)
        for name in sorted(self.coefficients.keys() - shapes.keys()):
            raise SpecError(f"checkpoint {source}: {name} is not of {self.preset.name}")
        plain = self.preset.network.attention == "lrf-ssa"
        bits = self.preset.quant.local_bits if plain else 16
        for name, shape in shapes.items():
            if name not in self.coefficients:
                raise SpecError(f"checkpoint {source}: {name} is missing")
            where, values = f"checkpoint {source}: {name}", self.coefficients[name]
            _check_tensor(where, values, np.int16, shape, bits)
            if not plain:
                try:
                    two_powers(values)
                except ValueError as error:
                    raise SpecError(f"{where} has {error}") from None
            if name.endswith(".local") and values[:, 1:, 1, 1].any():
                raise SpecError(
                    f"{where} is not 0 at the centre of a kernel after the first:"
                    " all centres are one tap, which the first kernel holds"
                )
            if name.endswith(".a") and (values[:, 0, 0].any() or values[:, -1, 2].any()):
                raise SpecError(f"{where} is not 0 beside the first or the last dendrite")


def checkpoint_path(preset: Preset) -> Path:
    """Where the repository keeps the preset's trained checkpoint."""
    return CHECKPOINT_DIR / f"{preset.name}.safetensors"


def load_start(preset: Preset) -> Checkpoint:
    """Read the checkpoint that ``train.start`` of a preset names.

    Raises
    ------
    SpecError
        As for :meth:`Checkpoint.load`.
    """
    start = preset.train.start
    try:
        return Checkpoint.load(CHECKPOINT_DIR / f"{start}.safetensors")
    except SpecError as error:
        raise SpecError(f"train.start is {start}: {error}") from None


def _is_percentage(text: str) -> bool:
    try:
        return 0 <= float(text) <= 100
    except ValueError:
        return False


def _named(tensors: dict[str, np.ndarray], ending: str) -> dict[str, np.ndarray]:
    return {k.removesuffix(ending): v for k, v in tensors.items() if k.endswith(ending)}


def _metadata(source: str, metadata: dict[str, str], key: str) -> dict:
    """Read a dict that is stored as JSON."""
    try:
        value = json.loads(metadata[key])
    except (KeyError, json.JSONDecodeError):
        value = None
    if not isinstance(value, dict):
        raise SpecError(f"checkpoint {source}: {key} in its metadata is missing or not readable")
    return value


def _same_shape(source: str, own: Preset, wanted: Preset) -> None:
    for section in ("data", "network", "quant"):
        _same_fields(source, section, getattr(own, section), getattr(wanted, section), wanted.name)


def _same_fields(source: str, where: str, own: Section, wanted: Section, preset: str) -> None:
    for key in type(own).model_fields:
        # Where images lie is no part of the network, and differs from folder to folder.
        if (where, key) == ("data", "dataset"):
            continue
        mine, theirs = getattr(own, key), getattr(wanted, key)
        if isinstance(mine, Section) and isinstance(theirs, Section):
            _same_fields(source, f"{where}.{key}", mine, theirs, preset)
        elif mine != theirs:
            raise SpecError(
                f"checkpoint {source}: {where}.{key} is {mine}: preset {preset} has {theirs}"
            )


def _check_tensor(
    name: str, tensor: np.ndarray, kind: type, shape: tuple[int, ...], bits: int
) -> None:
    if tensor.dtype != kind:
        raise SpecError(f"{name} is of type {tensor.dtype}: must be {np.dtype(kind)}")
    if tensor.shape != shape:
        raise SpecError(f"{name} has shape {tensor.shape}: must be {shape}")
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if tensor.min() < low or tensor.max() > high:
        raise SpecError(
            f"{name} has values {tensor.min()} to {tensor.max()}: must be {low} to {high}"
        )
