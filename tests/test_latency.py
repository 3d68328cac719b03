"""What a build says about cycles is about the blocks it has."""

import re

import pytest
from amaranth.hdl import Fragment

from golden.ranges import built_widths
from golden.spec import load_preset
from hw.build import make_accelerator
from hw.latency import EXPERT_BLOCKS, latency_formulas, latency_text
from tests.small_networks import random_checkpoint, small_preset

ALWAYS = {"Tile", "Drain"}
KV, QK = {"AttentionCore", "KvProduct"}, {"AttentionCore", "QkProduct"}
LOCAL, DYN = {"LocalValues"}, {"LrfDynCore", "Dendrites", "LocalReadout"}
PRUNED, EXPERTS = {"PrunedAttention", "HeadRank"}, {block.__name__ for block in EXPERT_BLOCKS}
EVERY = KV | QK | LOCAL | DYN | PRUNED | EXPERTS | ALWAYS | {"CausalCore", "CausalState"}

PRESETS = {
    "tiny": KV,
    "base": KV,
    "tiny-lrf": KV | LOCAL,
    "tiny-dyn": DYN,
    "tiny-moe": KV | EXPERTS,
    "tiny-semm": KV | EXPERTS,
    "base-d3": KV | PRUNED,
    "spikformer-1-384": KV,
}
NETWORKS = {
    "kv": {"engine__attention_order": "kv"},
    "qk": {"engine__attention_order": "qk"},
    "lrf-ssa": {"network__attention": "lrf-ssa"},
    "causal": {"network__attention": "causal"},
    "lrf-dyn": {"network__attention": "lrf-dyn"},
    "pruned": {"network__head_keep": 0.5},
    "experts": {"network__moe": {"experts": 4, "hidden": 8}, "engine__tiles": 2},
    "semm": {"network__moe": {"experts": 4, "hidden": 8, "mode": "semm"}},
}


def named(preset) -> set[str]:
    return set(latency_formulas(preset)) - {"symbols", "bound"}


def blocks_in(fragment: Fragment) -> set[str]:
    """Names of the classes that a design is made from."""
    found = {type(origin).__name__ for origin in fragment.origins or ()}
    return found.union(*(blocks_in(part) for part, *_ in fragment.subfragments))


@pytest.mark.parametrize("name", PRESETS)
def test_blocks_of_a_preset(name):
    preset = load_preset(name)
    assert named(preset) == PRESETS[name] | ALWAYS
    bound = latency_formulas(preset)["bound"]
    assert ("dendrites" in bound) == ("non-zero K" not in bound) == (name == "tiny-dyn")
    assert ("experts" in bound) == (preset.network.moe is not None)
    assert ("ranking" in bound) == preset.prunes_heads


@pytest.mark.parametrize("network", NETWORKS)
def test_blocks_are_those_of_the_accelerator(network):
    preset = small_preset(**NETWORKS[network])
    accelerator = make_accelerator(preset, built_widths(preset, random_checkpoint(preset)))
    assert named(preset) == blocks_in(Fragment.get(accelerator, None)) & EVERY


def test_texts_are_those_of_the_docstrings():
    texts = latency_formulas(small_preset(network__attention="lrf-dyn"))
    assert "``P = H * max(s * k, (s - 1) * k + 2 * s + 1)`` cycles" in texts["LrfDynCore"]
    assert texts["LrfDynCore"].startswith("With s = d / NL") and "Resources" not in "".join(texts)
    assert "``ceil(D_out / lanes)``, with D_out of one expert" in texts["Tile"]
    symbols = dict(re.findall(r"(\w+) = (\d+)", texts["symbols"]))
    assert [symbols[name] for name in ("H", "s", "S", "k", "taps")] == ["2", "2", "4", "8", "17"]
    with pytest.raises(ValueError, match=r"^dict: no section on latency in its docstring$"):
        latency_text(dict)
