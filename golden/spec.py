"""The preset: one validated object that the model, the hardware, the docs and the tests share.

A preset is a TOML file. :func:`load_preset` reads it into a :class:`Preset`; everything that has a
width, a shape or a schedule derives it from there. This module imports no torch.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from .attention_spec import LOCAL_KINDS, check_attention, hybrid
from .experts_spec import check_experts, check_heads, kept_heads_count
from .sections import Asic, Data, Engine, Moe, Network, Quant, Section, Stage, Train

PRESET_DIR = Path(__file__).resolve().parent.parent / "presets"
# Folders below build that are no preset's.
TOOL_FOLDERS = ("compare", "sim", "verilator")
# Presets by name that were read from a file outside PRESET_DIR, and the path as it was given.
_FILES: dict[str, str] = {}

# Pixels are unsigned 8-bit integers p and stand for p / 256.
PIXEL_BITS = 8
# The hardware keeps a logit in a signed word of so many bits.
LOGIT_BITS = 32
# Lanes of the engines whose growth is measured.
GROWTH_LANES = (4, 8, 16, 32, 64)
# The hardware aligns a weight row to the membrane's format by a shift of 0 to 7.
MAX_ALIGN = 7


class SpecError(ValueError):
    """A preset, checkpoint or input that cannot be used, with one message that says why."""


class Preset(Section):
    """A network, its number formats and the engine that runs it. See the sections' own members."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    data: Data
    network: Network
    quant: Quant = Quant()
    engine: Engine
    train: Train | None = None
    asic: Asic = Field(Asic(), exclude=True)

    @field_validator("name")
    @classmethod
    def _of_no_tool(cls, value: str) -> str:
        if value in TOOL_FOLDERS:
            raise ValueError(
                f"name is {value}: must be another, tools keep their files in build/{value}"
            )
        return value

    @model_validator(mode="after")
    def _shapes_fit(self) -> "Preset":
        net, eng, q = self.network, self.engine, self.quant
        if net.channels % net.heads:
            raise ValueError(
                f"network.heads is {net.heads}: must divide the channels of a token, {net.channels}"
            )
        if net.heads % eng.tiles:
            raise ValueError(
                f"network.heads is {net.heads}: must be a multiple of engine.tiles, {eng.tiles}"
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
        # Only the residual stream needs whole output groups: elsewhere a group is filled up with
        # channels without weights, which never spike.
        if net.channels % eng.all_lanes:
            last = len(net.stages) - 1
            unit = "engine.lanes" if eng.tiles == 1 else "engine.tiles * engine.lanes"
            raise ValueError(
                f"network.stages[{last}].channels is {net.channels}:"
                f" must be a multiple of {unit}, {eng.all_lanes}"
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
        if (net.neuron.threshold * 2**self.attention_frac_bits) % 1:
            raise ValueError(
                f"network.neuron.threshold is {net.neuron.threshold}: must be a multiple of"
                f" 2**-{self.attention_frac_bits}, the unit of {self._attention_unit}"
            )
        if q.key_frac_bits > q.frac_bits:
            raise ValueError(
                f"quant.key_frac_bits is {q.key_frac_bits}: must be at most quant.frac_bits,"
                f" {q.frac_bits}"
            )
        check_attention(net, q, self.grid)
        check_heads(net, eng)
        check_experts(net, eng)
        return self

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
        """Bits of K: ``quant.key_bits``, or 1 if it is binary."""
        return self.quant.key_bits if self.hybrid else 1

    @property
    def key_frac_bits(self) -> int:
        """Fraction bits of K: ``quant.key_frac_bits``, or 0 if it is binary."""
        return self.quant.key_frac_bits if self.hybrid else 0

    @property
    def hybrid(self) -> bool:
        """K is a multi-bit ReLU and V ternary; else both are binary."""
        return hybrid(self.network)

    @property
    def dilations(self) -> tuple[int, ...]:
        """Dilations of the local branch; none if the attention has no such branch."""
        return self.network.dilations if self.network.attention in LOCAL_KINDS else ()

    @property
    def kept_heads(self) -> int:
        """Heads that attend, of H."""
        return kept_heads_count(self.network)

    @property
    def prunes_heads(self) -> bool:
        """Whether some heads of every image are left out."""
        return self.kept_heads < self.network.heads

    @property
    def attention_frac_bits(self) -> int:
        """Fraction bits of what the attention's neuron takes."""
        finer = {"lrf-ssa": self.quant.local_frac_bits, "lrf-dyn": self.quant.read_frac_bits}
        shift = self.key_frac_bits + self.network.attention_scale_shift
        return shift + finer.get(self.network.attention, 0)

    @property
    def _attention_unit(self) -> str:
        names = {"lrf-ssa": "Q K^T V with its local branch", "lrf-dyn": "the dendrites' read-out"}
        return names.get(self.network.attention, "Q K^T V")

    @property
    def threshold(self) -> int:
        """V_th in units of ``2**-F``."""
        return round(self.network.neuron.threshold * 2**self.quant.frac_bits)

    @property
    def attention_threshold(self) -> int:
        """V_th of the attention's neuron in units of ``2**-attention_frac_bits``; at least 1."""
        return max(1, round(self.network.neuron.threshold * 2**self.attention_frac_bits))

    def with_lanes(self, lanes: int) -> "Preset":
        """Copy on an engine of another size: no more neuron lanes than lanes, else as before."""
        narrow = min(lanes, self.engine.neuron_lanes)
        return self.replace(engine__lanes=lanes, engine__neuron_lanes=narrow)

    def replace(self, **changes: object) -> "Preset":
        """Copy with dotted fields replaced and validated again, e.g. ``engine__lanes=8``."""
        tree = self.model_dump() | {"asic": self.asic.model_dump()}
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
    if kind in ("too_short", "too_long"):
        has, limits = error["ctx"]["actual_length"], error["ctx"]
        want = "at least {min_length}" if kind == "too_short" else "at most {max_length}"
        return f"{where} has {has}: must have {want.format(**limits)}"
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
        "tuple_type": "an array of tables" if error["loc"][-1:] == ("stages",) else "an array",
        "model_type": "a table",
        "string_pattern_mismatch": "lower-case letters, digits and hyphens",
    }
    # A kind of error that is not listed here still names what pydantic expects.
    return bounds.get(kind, error["msg"]).format(**limits)


def _known_keys(path: tuple) -> list[str]:
    model: type[BaseModel] = Preset
    for part in path:
        if not isinstance(part, int):
            other = {"train": Train, "stages": Stage, "moe": Moe}.get(part)
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
        If there is no such preset, its contents are wrong, its name is not the file's, or it is
        that of a shipped preset with other content.
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
    preset = parse_preset(tree, source=path.name)
    # Checkpoints and builds are filed by name: a copy that kept its name would replace another's.
    if preset.name != path.stem:
        raise SpecError(
            f"preset {path.name}: name is {preset.name}: must be {path.stem}, as the file"
        )
    if path.resolve().parent != PRESET_DIR:
        if path.stem in preset_names() and preset != load_preset(path.stem):
            raise SpecError(
                f"preset {path}: name is {path.stem}, which a shipped preset has with other"
                " content: must be a name of its own, as checkpoints and builds are filed by name"
            )
        _FILES[preset.name] = str(name)
    return preset


def preset_option(preset_name: str) -> str:
    """What ``--preset`` takes for a preset: its name, or the path it was read from."""
    return _FILES.get(preset_name, preset_name)
