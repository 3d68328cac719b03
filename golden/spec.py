"""The preset: one validated object that the model, the hardware, the docs and the tests share.

A preset is a TOML file. :func:`load_preset` reads it into a :class:`Preset`; everything that has a
width, a shape or a schedule derives it from there. This module imports no torch.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

PRESET_DIR = Path(__file__).resolve().parent.parent / "presets"

# Pixels are unsigned 8-bit integers p and stand for p / 256.
PIXEL_BITS = 8
# The hardware aligns a weight row to the membrane's format by a shift of 0 to 7.
MAX_ALIGN = 7

PositiveInt = Annotated[int, Field(ge=1)]


class SpecError(ValueError):
    """A preset, checkpoint or input that cannot be used, with one message that says why."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Data(_Section):
    """Where images come from and what they look like.

    Members
    -------
    dataset : ``"digits"`` (scikit-learn, 8x8), ``"fashion-mnist"`` (28x28), ``"none"`` (shape only)
    channels, height, width : shape of an image of unsigned 8-bit pixels
    classes : number of classes
    """

    dataset: Literal["digits", "fashion-mnist", "none"]
    channels: PositiveInt
    height: PositiveInt
    width: PositiveInt
    classes: Annotated[int, Field(ge=2)]


class Stage(_Section):
    """One step of patch splitting: Conv3x3 (padding 1), batch norm, spiking neuron, OR-pool.

    Members
    -------
    channels : output channels
    stride : 1 or 2
    pool : 2x2 max-pool of the spikes, which is an OR
    """

    channels: PositiveInt
    stride: Literal[1, 2] = 1
    pool: bool = False


class Neuron(_Section):
    """The leaky integrate-and-fire neuron of every spiking layer.

    Members
    -------
    threshold : V_th in real units; a multiple of ``2**-frac_bits``
    decay_shift : s of ``beta = 1 - 2**-s``; 1 gives 1/2
    reset : ``"hard"`` (to 0) or ``"soft"`` (subtract V_th)
    """

    threshold: Annotated[float, Field(gt=0, le=1024)] = 1.0
    decay_shift: Annotated[int, Field(ge=1, le=16)] = 1
    reset: Literal["hard", "soft"] = "hard"


class Network(_Section):
    """Shape of the spiking transformer.

    Members
    -------
    time_steps : T
    stages : patch splitting, first to last, at least two: the first reads pixels, the last starts
        the residual stream, and its channels are D
    blocks, heads : L and H
    mlp_ratio : hidden channels of the MLP over D
    attention : ``"a2os2a"`` (binary Q, ReLU K, ternary V) or ``"ssa"`` (all binary, scaled)
    attention_scale_shift : scale of the attention result as ``2**-shift`` (0: no scale)
    projection : Linear and batch norm after attention (off: our reading of the paper)
    neuron : the LIF neuron
    """

    time_steps: Annotated[int, Field(ge=1, le=16)] = 4
    stages: Annotated[tuple[Stage, ...], Field(min_length=2, strict=False)]
    blocks: PositiveInt
    heads: PositiveInt
    mlp_ratio: PositiveInt = 4
    attention: Literal["a2os2a", "ssa"] = "a2os2a"
    attention_scale_shift: Annotated[int, Field(ge=0, le=8)] = 0
    projection: bool = False
    neuron: Neuron = Neuron()

    @property
    def channels(self) -> int:
        """D, the channels of a token."""
        return self.stages[-1].channels

    @property
    def head_channels(self) -> int:
        """d, the channels of a head."""
        return self.channels // self.heads


class Quant(_Section):
    """Number formats.

    Members
    -------
    weight_bits : signed synaptic weights
    frac_bits : F, fraction bits of residuals and membranes (Q-format of the residual stream)
    bias_bits : signed folded bias, in units of ``2**-F``
    key_bits, key_frac_bits : b and fraction bits of the clipped ReLU K
    """

    weight_bits: Annotated[int, Field(ge=2, le=8)] = 8
    frac_bits: Annotated[int, Field(ge=1, le=12)] = 8
    bias_bits: Annotated[int, Field(ge=4, le=32)] = 20
    key_bits: Annotated[int, Field(ge=1, le=8)] = 4
    key_frac_bits: Annotated[int, Field(ge=0, le=8)] = 2


class Engine(_Section):
    """Size of the hardware.

    Members
    -------
    lanes : P, output channels of the synaptic array in parallel
    neuron_lanes : neurons evaluated a cycle, each over all T steps; divides ``lanes``
    attention_order : ``"kv"`` is Q (K^T V), ``"qk"`` is (Q K^T) V, ``"auto"`` the cheaper
    widths : accumulators for the weights of a ``"checkpoint"``, or for any of the ``"format"``
    counters : cycle and stall counters per layer
    """

    lanes: Annotated[int, Field(ge=1, le=256)]
    neuron_lanes: PositiveInt
    attention_order: Literal["auto", "kv", "qk"] = "auto"
    widths: Literal["checkpoint", "format"] = "checkpoint"
    counters: bool = True


class Train(_Section):
    """How the shipped checkpoint was trained.

    Members
    -------
    epochs : float epochs with batch norm
    quant_epochs : epochs with folded batch norm and quantised weights in the loop
    batch, learning_rate, quant_learning_rate, seed : as named
    firing_penalty : weight of the mean share of non-zero bundles in the loss
    shift_pixels : random shift of training images, 0 for none
    flip : random horizontal flip
    """

    epochs: PositiveInt
    quant_epochs: PositiveInt
    batch: PositiveInt
    learning_rate: Annotated[float, Field(gt=0)]
    quant_learning_rate: Annotated[float, Field(gt=0)]
    firing_penalty: Annotated[float, Field(ge=0)] = 0.0
    shift_pixels: Annotated[int, Field(ge=0)] = 0
    flip: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0


class Preset(_Section):
    """A network, its number formats and the engine that runs it. See the sections' own members."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    data: Data
    network: Network
    quant: Quant = Quant()
    engine: Engine
    train: Train | None = None

    @model_validator(mode="after")
    def _shapes_fit(self) -> "Preset":
        net, eng, q = self.network, self.engine, self.quant
        if net.channels % net.heads:
            raise ValueError(
                f"network.heads is {net.heads}: must divide the channels of a token, {net.channels}"
            )
        if eng.lanes % eng.neuron_lanes:
            raise ValueError(
                f"engine.neuron_lanes is {eng.neuron_lanes}: must divide engine.lanes, {eng.lanes}"
            )
        if net.head_channels % eng.neuron_lanes:
            raise ValueError(
                f"engine.neuron_lanes is {eng.neuron_lanes}: must divide the channels of a head,"
                f" {net.head_channels}"
            )
        for index, stage in enumerate(net.stages):
            if stage.channels % eng.lanes:
                raise ValueError(
                    f"network.stages[{index}].channels is {stage.channels}:"
                    f" must be a multiple of engine.lanes, {eng.lanes}"
                )
        if net.stages[-1].pool:
            raise ValueError(
                f"network.stages[{len(net.stages) - 1}].pool is true: the last stage leaves"
                " membrane potentials, which cannot be OR-pooled; use stride 2"
            )
        height, width = self.data.height, self.data.width
        for index, stage in enumerate(net.stages):
            height, width = -(-height // stage.stride), -(-width // stage.stride)
            if stage.pool:
                if height % 2 or width % 2:
                    raise ValueError(
                        f"network.stages[{index}].pool is true on a grid of {height}x{width}:"
                        " both sides must be even"
                    )
                height, width = height // 2, width // 2
        if (net.neuron.threshold * 2**q.frac_bits) % 1:
            raise ValueError(
                f"network.neuron.threshold is {net.neuron.threshold}:"
                f" must be a multiple of 2**-{q.frac_bits} (quant.frac_bits)"
            )
        if (net.neuron.threshold * 2 ** (self.key_frac_bits + net.attention_scale_shift)) % 1:
            raise ValueError(
                f"network.neuron.threshold is {net.neuron.threshold}: must be a multiple of"
                f" 2**-{self.key_frac_bits + net.attention_scale_shift}, the unit of Q K^T V"
            )
        if q.key_frac_bits > q.frac_bits:
            raise ValueError(
                f"quant.key_frac_bits is {q.key_frac_bits}: must be at most quant.frac_bits,"
                f" {q.frac_bits}"
            )
        return self

    @property
    def size_name(self) -> str:
        """``<blocks>-<channels>``, as the papers name models."""
        return f"{self.network.blocks}-{self.network.channels}"

    @property
    def attention_order(self) -> Literal["kv", "qk"]:
        """Association order in use: ``auto`` takes ``qk`` if N < d, else ``kv``."""
        if self.engine.attention_order != "auto":
            return self.engine.attention_order
        return "qk" if self.tokens < self.network.head_channels else "kv"

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the token grid."""
        height, width = self.data.height, self.data.width
        for stage in self.network.stages:
            height, width = -(-height // stage.stride), -(-width // stage.stride)
            if stage.pool:
                height, width = height // 2, width // 2
        return height, width

    @property
    def tokens(self) -> int:
        """N, the tokens of an image."""
        height, width = self.grid
        return height * width

    @property
    def key_bits(self) -> int:
        """Bits of K: ``quant.key_bits``, or 1 for binary SSA."""
        return self.quant.key_bits if self.network.attention == "a2os2a" else 1

    @property
    def key_frac_bits(self) -> int:
        """Fraction bits of K: ``quant.key_frac_bits``, or 0 for binary SSA."""
        return self.quant.key_frac_bits if self.network.attention == "a2os2a" else 0

    @property
    def threshold(self) -> int:
        """V_th in units of ``2**-F``."""
        return round(self.network.neuron.threshold * 2**self.quant.frac_bits)

    @property
    def attention_threshold(self) -> int:
        """V_th of the attention's neuron in the integer units of Q K^T V; at least 1.

        One unit is ``2**-(key_frac_bits + attention_scale_shift)``.
        """
        shift = self.key_frac_bits + self.network.attention_scale_shift
        return max(1, -int(-(self.network.neuron.threshold * 2**shift) // 1))

    def replace(self, **changes: object) -> "Preset":
        """Copy with dotted fields replaced and validated again, e.g. ``engine__lanes=8``."""
        tree = self.model_dump()
        for key, value in changes.items():
            *path, leaf = key.split("__")
            node = tree
            for part in path:
                node = node[part]
            node[leaf] = value
        return parse_preset(tree, source=self.name)


def parse_preset(tree: object, source: str) -> Preset:
    """Validate a nested dict as a preset.

    Raises
    ------
    SpecError
        On the first unknown key, missing key, wrong type or impossible shape, in one line.
    """
    try:
        return Preset.model_validate(tree)
    except ValidationError as error:
        raise SpecError(f"preset {source}: {_explain(error.errors()[0])}") from None


def _explain(error: dict) -> str:
    """Say which key of a preset is wrong, what it is and what would be right."""
    path, kind = error["loc"], error["type"]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)[1:]
    if kind == "extra_forbidden":
        return f"unknown key {where}: known are {', '.join(_known_keys(path[:-1]))}"
    if kind == "missing":
        return f"missing key {where}"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind == "too_short":
        counts = error["ctx"]
        return f"{where} has {counts['actual_length']}: must have at least {counts['min_length']}"
    return f"{where or 'all of it'} is {error['input']!r}: must be {_wanted(error)}"


def _wanted(error: dict) -> str:
    kind, limits = error["type"], error.get("ctx", {})
    bounds = {
        "greater_than_equal": "at least {ge}",
        "greater_than": "more than {gt}",
        "less_than_equal": "at most {le}",
        "less_than": "less than {lt}",
        "literal_error": "{expected}",
        "finite_number": "finite",
        "int_type": "a whole number",
        "float_type": "a number",
        "bool_type": "true or false",
        "string_type": "text",
        "tuple_type": "an array of tables",
        "model_type": "a table",
        "string_pattern_mismatch": "lower-case letters, digits and hyphens",
    }
    # A kind of error that is not listed here still names what pydantic expects.
    return bounds.get(kind, error["msg"]).format(**limits)


def _known_keys(path: tuple) -> list[str]:
    model: type[BaseModel] = Preset
    for part in path:
        if not isinstance(part, int):
            other = {"train": Train, "stages": Stage}.get(part)
            model = other or model.model_fields[part].annotation
    return list(model.model_fields)


def preset_names() -> list[str]:
    """Names of the presets that come with the project."""
    return sorted(path.stem for path in PRESET_DIR.glob("*.toml"))


def load_preset(name: str | Path) -> Preset:
    """Read a preset by name (``presets/<name>.toml``) or by path to a TOML file.

    Raises
    ------
    SpecError
        If there is no such preset, or its contents are wrong.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = PRESET_DIR / f"{name}.toml"
    if not path.is_file():
        raise SpecError(f"no preset {name}: known are {', '.join(preset_names())}")
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"preset {path.name}: not valid TOML: {error}") from None
    return parse_preset(tree, source=path.name)
