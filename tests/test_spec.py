"""Presets: what is shipped, what is derived, and the text of every refusal."""

import copy
import json

import pytest

from golden.compare import Plan
from golden.ranges import built_widths
from golden.schedule import MemoryMap, network_layers
from golden.sections import BOND_UM, MAX_CLASSES
from golden.spec import (
    PRESET_DIR,
    TOOL_FOLDERS,
    SpecError,
    load_preset,
    parse_preset,
    preset_names,
)
from hw.frames import MAX_WORDS
from sim.verilator import MODELS, RUNS
from tests.small_networks import SMALL, small_preset

NAMES = [
    *("base", "base-d3", "base-dyn", "base-lrf", "base-moe"),
    *("cifar-2-256", "imagenet-10-512", "imagenet-8-512", "micro"),
    "spikformer-1-384",
    *("tiny", "tiny-dyn", "tiny-lrf", "tiny-moe", "tiny-semm"),
]
# Token grid, layers, millions of weights and biases, and millions that the papers report: A2OS2A's
# for 8-512 and 10-512; Spikformer 2-384 and 4-384 have 5.76 and 9.32, so 1-384 would have 3.98.
SHAPES = {
    "micro": ((4, 4), 8, 0.0056, None),
    "tiny": ((4, 4), 8, 0.0217, None),
    "tiny-lrf": ((4, 4), 8, 0.0217, None),
    "tiny-dyn": ((4, 4), 8, 0.0217, None),
    "base": ((7, 7), 12, 0.1145, None),
    "base-lrf": ((7, 7), 12, 0.1145, None),
    "base-dyn": ((7, 7), 12, 0.1145, None),
    "base-d3": ((7, 7), 14, 0.1145, None),
    "base-moe": ((7, 7), 16, 0.2145, None),
    "tiny-moe": ((4, 4), 10, 0.0261, None),
    "tiny-semm": ((4, 4), 10, 0.0261, None),
    "cifar-2-256": ((8, 8), 16, 2.5585, None),
    "spikformer-1-384": ((8, 8), 11, 3.9772, 3.98),
    "imagenet-8-512": ((14, 14), 46, 29.6265, 29.68),
    "imagenet-10-512": ((14, 14), 56, 35.9271, 36.01),
}


def test_names():
    assert preset_names() == NAMES == sorted(SHAPES)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_preset(name):
    preset = load_preset(name)
    grid, layers, millions, published = SHAPES[name]
    found = network_layers(preset)
    assert preset.name == name
    assert preset.grid == grid
    assert len(found) == layers
    parameters = sum(x.outputs * (x.fan_in + 1) for x in found if x.has_weights) / 1e6
    assert parameters == pytest.approx(millions, abs=6e-5)
    if published:
        # What is missing is batch norm, which is folded.
        assert parameters == pytest.approx(published, rel=0.003)
    where = MemoryMap(preset)
    assert min(where.weight_rows, where.bias_rows, where.spike_rows, where.residual_rows) > 0
    if preset.train is None:
        assert preset.data.dataset == "none"
        assert built_widths(preset, None).sums <= 32
    if name.rpartition("-")[2].isdigit():
        assert name.endswith(f"-{preset.network.blocks}-{preset.network.channels}")


def test_derived():
    preset = small_preset()
    assert (preset.grid, preset.tokens) == ((4, 4), 16)
    assert preset.attention_order == "kv"
    assert preset.replace(network__heads=1, data__height=4).attention_order == "qk"
    assert (preset.key_bits, preset.key_frac_bits) == (4, 2)
    assert (preset.threshold, preset.attention_threshold) == (256, 4)
    binary = preset.replace(network__attention="ssa", network__attention_scale_shift=3)
    assert (binary.key_bits, binary.key_frac_bits, binary.attention_threshold) == (1, 0, 8)


def test_survives_json():
    preset = small_preset()
    assert parse_preset(json.loads(preset.model_dump_json()), "copy") == preset


def changed(path: str, value: object) -> dict:
    """The small preset as a dict with one value changed, or removed if it is None."""
    tree = copy.deepcopy(SMALL)
    *folders, leaf = path.split(".")
    node = tree
    for part in folders:
        node = node[int(part)] if part.isdigit() else node.setdefault(part, {})
    if value is None:
        del node[leaf]
    else:
        node[int(leaf) if leaf.isdigit() else leaf] = value
    return tree


STAGES = "network.stages"
REFUSED = [
    ("network.heads", 3, "network.heads is 3: must divide the channels of a token, 16"),
    ("network.heads", 0, "network.heads is 0: must be at least 1"),
    ("network.heads", 8, "engine.neuron_lanes is 4: must divide the channels of a head, 2"),
    ("network.time_steps", 0, "network.time_steps is 0: must be at least 1"),
    ("network.time_steps", 17, "network.time_steps is 17: must be at most 16"),
    ("network.time_steps", 2.5, "network.time_steps is 2.5: must be a whole number"),
    ("network.time_steps", "4", "network.time_steps is '4': must be a whole number"),
    ("network.time_steps", True, "network.time_steps is True: must be a whole number"),
    (
        "network.attention",
        "softmax",
        "network.attention is 'softmax': must be 'a2os2a', 'ssa', 'lrf-ssa', 'causal' or 'lrf-dyn'",
    ),
    ("network.qkv", "binary", "network.qkv is binary: must be hybrid or auto for attention a2os2a"),
    ("network.dendrites", 9, "network.dendrites is 9: must be at most 8"),
    ("network.dendrites", 0, "network.dendrites is 0: must be at least 1"),
    ("network.dilations", 3, "network.dilations is 3: must be an array"),
    ("network.dilations", [0], "network.dilations[0] is 0: must be at least 1"),
    ("network.dilations", [1, 2, 3, 4, 5], "network.dilations has 5: must have at most 4"),
    ("network.projection", 1, "network.projection is 1: must be true or false"),
    (STAGES, [{"channels": 16}], f"{STAGES} has 1: must have at least 2"),
    (STAGES, 16, f"{STAGES} is 16: must be an array of tables"),
    (f"{STAGES}.0.stride", 3, f"{STAGES}[0].stride is 3: must be 1 or 2"),
    (f"{STAGES}.0.poll", True, f"unknown key {STAGES}[0].poll: known are channels, stride, pool"),
    (f"{STAGES}.0.channels", None, f"missing key {STAGES}[0].channels"),
    (f"{STAGES}.0", 8, f"{STAGES}[0] is 8: must be a table"),
    (
        "engine.lanes",
        32,
        f"{STAGES}[1].channels is 16: must be a multiple of engine.lanes, 32",
    ),
    (
        f"{STAGES}.1.pool",
        True,
        f"{STAGES}[1].pool is true: the last stage leaves membrane potentials, which cannot be"
        " OR-pooled; use stride 2",
    ),
    (
        "data.height",
        7,
        f"{STAGES}[0].pool is true on a grid of 7x8: both sides must be even",
    ),
    (
        "data.dataset",
        "mnist",
        "data.dataset is 'mnist': must be 'digits', 'fashion-mnist', 'none' or the path"
        " of an .npz file",
    ),
    ("data.classes", 1, "data.classes is 1: must be at least 2"),
    ("data.classes", 16384, "data.classes is 16384: must be at most 16383"),
    ("data", None, "missing key data"),
    ("engine", 8, "engine is 8: must be a table"),
    ("engine.lanes", 0, "engine.lanes is 0: must be at least 1"),
    ("engine.lanes", 512, "engine.lanes is 512: must be at most 256"),
    ("engine.neuron_lanes", 3, "engine.neuron_lanes is 3: must divide engine.lanes, 8"),
    (
        "engine.lans",
        8,
        "unknown key engine.lans:"
        " known are tiles, lanes, neuron_lanes, attention_order, widths, counters, queue_tokens",
    ),
    (
        "enigne",
        {},
        "unknown key enigne: known are name, data, network, quant, engine, train, asic",
    ),
    (
        "network.neuron.tau",
        2.0,
        "unknown key network.neuron.tau: known are threshold, decay_shift, reset",
    ),
    ("network.neuron.threshold", 0.0, "network.neuron.threshold is 0.0: must be more than 0.0"),
    (
        "network.neuron.threshold",
        0.3,
        "network.neuron.threshold is 0.3: must be a multiple of 2**-8 (quant.frac_bits)",
    ),
    (
        "network.neuron.threshold",
        0.125,
        "network.neuron.threshold is 0.125: must be a multiple of 2**-2, the unit of Q K^T V",
    ),
    (
        "network.neuron.threshold",
        float("inf"),
        "network.neuron.threshold is inf: must be finite",
    ),
    ("network.neuron.decay_shift", 17, "network.neuron.decay_shift is 17: must be at most 16"),
    ("quant.weight_bits", 9, "quant.weight_bits is 9: must be at most 8"),
    ("quant.frac_bits", 1, "quant.key_frac_bits is 2: must be at most quant.frac_bits, 1"),
    ("train.epochs", 1, "missing key train.quant_epochs"),
    ("asic.gate_flops", -1, "asic.gate_flops is -1: must be at least 0"),
    ("asic.pitch_um", 0.5, "asic.pitch_um is 0.5: must be more than 0.8"),
    ("asic.pitch_um", BOND_UM, "asic.pitch_um is 0.8: must be more than 0.8"),
    (
        "name",
        "My Net",
        "name is 'My Net': must be lower-case letters, digits and hyphens",
    ),
]


@pytest.mark.parametrize(("path", "value", "text"), REFUSED, ids=lambda x: str(x)[:30])
def test_refused(path, value, text):
    tree = changed(path, value)
    with pytest.raises(SpecError) as error:
        parse_preset(tree, "mine.toml")
    assert str(error.value) == f"preset mine.toml: {text}"


KINDS_REFUSED = [
    (
        {"network__attention": "lrf-ssa", "data__height": 6},
        "token grid is 3x4: a 3x3 kernel of dilation 3 (network.dilations) needs at least 4x4",
    ),
    (
        {"network__attention": "lrf-dyn", "network__dilations": (5,)},
        "token grid is 4x4: a 3x3 kernel of dilation 5 (network.dilations) needs at least 6x6",
    ),
    (
        {"network__attention": "lrf-ssa", "network__dilations": (3, 2)},
        "network.dilations are 3, 2: must rise",
    ),
    (
        {"network__attention": "ssa", "network__qkv": "hybrid"},
        "network.qkv is hybrid: must be binary or auto for attention ssa",
    ),
    (
        {"network__attention": "lrf-dyn", "quant__read_frac_bits": 5},
        "quant.read_frac_bits is 5: must be at most quant.state_frac_bits, 4",
    ),
    (
        {"network__attention": "lrf-dyn", "quant__state_bits": 8},
        "quant.state_bits is 8: must be at least 9, the bits of a token in the unit of the state",
    ),
    (
        {"network__attention": "lrf-dyn", "network__neuron": {"threshold": 1 / 32}},
        "network.neuron.threshold is 0.03125: must be a multiple of 2**-4, the unit of the"
        " dendrites' read-out",
    ),
]


@pytest.mark.parametrize(("changes", "text"), KINDS_REFUSED, ids=lambda x: str(x)[:40])
def test_refused_kinds(changes, text):
    with pytest.raises(SpecError) as error:
        small_preset(**changes)
    assert str(error.value) == f"preset small: {text}"


def test_derived_kinds():
    """Units and kinds of Q, K and V of each attention; a branch that nobody uses binds nothing."""
    found = {}
    for kind in ("a2os2a", "ssa", "lrf-ssa", "causal", "lrf-dyn"):
        preset = small_preset(network__attention=kind)
        found[kind] = (preset.hybrid, preset.dilations, preset.attention_threshold)
    assert found == {
        "a2os2a": (True, (), 4),
        "ssa": (False, (), 1),
        "lrf-ssa": (True, (3, 5), 64),
        "causal": (True, (), 4),
        "lrf-dyn": (True, (3, 5), 16),
    }
    binary = small_preset(network__attention="lrf-ssa", network__qkv="binary")
    assert (binary.hybrid, binary.key_bits, binary.attention_threshold) == (False, 1, 16)
    assert small_preset(data__height=4).dilations == ()


def test_not_a_table():
    with pytest.raises(SpecError, match=r"^preset x: all of it is \[1\]: must be a table$"):
        parse_preset([1], "x")


def test_unknown_preset_lists_the_known():
    known = ", ".join(NAMES)
    with pytest.raises(SpecError, match=rf"^no preset tinny: known are {known}$"):
        load_preset("tinny")
    with pytest.raises(SpecError, match=rf"^no preset /no/such\.toml: known are {known}$"):
        load_preset("/no/such.toml")


def test_broken_toml(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("name = \n")
    text = r"^preset mine\.toml: not valid TOML: Invalid value \(at line 1, column 8\)$"
    with pytest.raises(SpecError, match=text):
        load_preset(path)
    path.write_bytes(b"name = '\xff'\n")
    with pytest.raises(
        SpecError, match=r"^preset mine\.toml: not valid TOML: .*invalid start byte$"
    ):
        load_preset(path)


def test_file_by_path(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text((PRESET_DIR / "tiny.toml").read_text())
    assert load_preset(path) == load_preset("tiny")


def test_shipped_name_with_other_content(tmp_path):
    """Else its training would overwrite the shipped checkpoint."""
    path = tmp_path / "tiny.toml"
    text = (PRESET_DIR / "tiny.toml").read_text()
    path.write_text(text.replace("blocks = 1", "blocks = 2"))
    assert path.read_text() != text
    with pytest.raises(SpecError) as error:
        load_preset(path)
    assert str(error.value) == (
        f"preset {path}: name is tiny, which a shipped preset has with other content: must be a"
        " name of its own, as checkpoints and builds are filed by name"
    )


@pytest.mark.parametrize("name", ["compare", "sim", "verilator"])
def test_names_of_tools(name):
    with pytest.raises(SpecError) as error:
        small_preset(name=name)
    assert str(error.value) == (
        f"preset small: name is {name}: must be another, tools keep their files in build/{name}"
    )


def test_tools_keep_their_names():
    """Folders below build that are no preset's."""
    assert {MODELS.name, RUNS.name, Plan.folder.name} == set(TOOL_FOLDERS)


def test_most_classes_fit_a_frame():
    assert MAX_CLASSES == MAX_WORDS
    assert small_preset(data__classes=MAX_CLASSES).data.classes == MAX_CLASSES


def test_copy_that_kept_its_name(tmp_path):
    """Else its training would overwrite the checkpoint of the preset it was copied from."""
    path = tmp_path / "forgot.toml"
    path.write_text((PRESET_DIR / "tiny.toml").read_text())
    text = r"^preset forgot\.toml: name is tiny: must be forgot, as the file$"
    with pytest.raises(SpecError, match=text):
        load_preset(path)
