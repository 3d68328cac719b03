"""Experts and pruned heads in integers, against loops over tokens."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from golden.checkpoint import Checkpoint
from golden.counts import count_layers
from golden.experts import highest
from golden.integer import IntegerModel
from golden.ranges import checkpoint_widths
from golden.spec import SpecError
from tests.plain_network import fire
from tests.small_networks import MOES, random_checkpoint, random_images, small_preset

F = 2**8


def expert_sums(checkpoint, name: str, x: np.ndarray, rows: slice) -> np.ndarray:
    """Sums with bias of some outputs for the spikes x, (T, inputs), of a token."""
    shift = checkpoint.preset.quant.frac_bits - checkpoint.scales[name]
    weight = checkpoint.weights[name][rows].astype(np.int64) << shift
    return x @ weight.T + checkpoint.biases[name][rows]


def serve(checkpoint, spikes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the experts add to a token, (T, D) ones, and who served it, (T, E)."""
    preset, moe = checkpoint.preset, checkpoint.preset.network.moe
    neuron, dim, level = preset.network.neuron, preset.network.channels, preset.threshold
    scores = expert_sums(checkpoint, "block0.router", spikes, slice(None))
    if moe.mode == "topk":
        total = scores.sum(0).tolist()
        best = sorted(range(moe.experts), key=lambda e: (-total[e], e))[: moe.top_k]
        routed = np.array([[int(e in best) for e in range(moe.experts)]] * len(spikes))
    else:
        routed = fire(scores, level, neuron)
    added = np.zeros((len(spikes), dim), np.int64)
    for e in range(moe.experts):
        if routed[:, e].any():
            rows = slice(e * moe.hidden, (e + 1) * moe.hidden)
            hidden = fire(expert_sums(checkpoint, "block0.fc1", spikes, rows), level, neuron)
            rows = slice(e * dim, (e + 1) * dim)
            out = fire(expert_sums(checkpoint, "block0.fc2", hidden, rows), level, neuron)
            added += out * routed[:, e : e + 1]
    return added, routed


@pytest.mark.parametrize("moe", MOES.values(), ids=MOES)
def test_experts_token_by_token(moe):
    preset = small_preset(network__moe=moe)
    checkpoint = random_checkpoint(preset, seed=5)
    trace = IntegerModel(checkpoint).run(random_images(preset, 3)).layers
    router, merge = trace["block0.router"], trace["block0.merge"]
    spikes = router.inputs.flatten(2, 3).numpy().astype(np.int64)
    before = trace["block0.attention"].potential
    used = set()
    for image in range(3):
        for token in range(preset.tokens):
            added, routed = serve(checkpoint, spikes[:, image, token])
            where = f"image {image}, token {token}"
            used.add(tuple(routed.any(0)))
            assert np.array_equal(router.routed[:, image, token], routed), where
            assert np.array_equal(merge.sums[:, image, token], added), where
            after = before[:, image, token].numpy() + added * F
            assert np.array_equal(merge.potential[:, image, token], after), where
    assert len(used) > 1 or moe.get("top_k") == moe["experts"], "no test: one route for all"
    assert merge.sums.max() <= preset.network.moe.most
    wanted = np.array(
        [
            fire(x, preset.threshold, preset.network.neuron)
            for x in [merge.potential.numpy().astype(np.int64)]
        ]
    )[0]
    assert np.array_equal(merge.outputs.flatten(2, 3), wanted)


@pytest.mark.parametrize("moe", MOES.values(), ids=MOES)
def test_visits_of_experts(moe):
    preset = small_preset(network__moe=moe)
    trace = IntegerModel(random_checkpoint(preset, seed=5)).run(random_images(preset, 2))
    counts, layers = count_layers(trace, preset), trace.layers
    works = layers["block0.router"].routed.amax(0)  # B, N, E
    read = layers["block0.fc1"].inputs.amax(0).flatten(1, 2).sum(2)  # B, N
    hidden = layers["block0.fc2"].inputs.amax(0).flatten(1, 2)
    found = {"fc1": int((read[:, :, None] * works).sum()), "fc2": int(hidden.sum())}
    outputs = {"fc1": moe["hidden"], "fc2": preset.network.channels}
    for name, visits in found.items():
        got = counts[f"block0.{name}"]
        assert got.visits == visits > 0, name
        assert got.bound_cycles == visits * outputs[name] / preset.engine.lanes / 2, name
    share = hidden.sum() / (works.sum() * moe["hidden"])
    assert counts["block0.fc2"].density == pytest.approx(float(share))
    assert counts["block0.merge"].visits == 0


def test_the_first_of_equals():
    scores = torch.tensor([[3, 5, 5, 5], [0, 0, 0, 0], [-2, -1, -1, 7]])
    chosen = [[False, True, True, False], [True, True, False, False], [False, True, False, True]]
    assert highest(scores, 2).tolist() == chosen


@pytest.mark.parametrize("keep", [0.25, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("kind", ["a2os2a", "ssa", "lrf-ssa", "lrf-dyn", "causal"])
def test_pruned_heads(kind, keep):
    """Heads with the most ones in Q attend as without pruning; others add nothing."""
    changes = {
        "network__heads": 4,
        "network__attention": kind,
        "network__dilations": [1, 2],
        "engine__lanes": 4,
    }
    whole = small_preset(**changes)
    pruned = whole.replace(network__head_keep=keep)
    checkpoint, images = random_checkpoint(whole, seed=2), random_images(whole, 4)
    trace = IntegerModel(checkpoint).run(images).layers
    got = IntegerModel(replace(checkpoint, preset=pruned)).run(images).layers["block0.attention"]
    ones = trace["block0.qkv"].query.sum(dim=(0, 3, 4)).tolist()
    before, after = trace["position"].potential, trace["block0.attention"].potential
    count = {0.25: 1, 0.3: 2, 0.5: 2, 1.0: 4}[keep]
    assert pruned.kept_heads == count
    for image in range(4):
        best = sorted(range(4), key=lambda h: (-ones[image][h], h))[:count]
        for head in range(4):
            channels = slice(4 * head, 4 * head + 4)
            wanted = (after if head in best else before)[:, image, :, channels]
            assert torch.equal(got.potential[:, image, :, channels], wanted), (image, head)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"network__moe": {"experts": 4, "hidden": 8, "top_k": 5}},
            "network.moe.top_k is 5: must be at most network.moe.experts, 4",
        ),
        (
            {"network__moe": {"experts": 3, "hidden": 8}, "engine__tiles": 2},
            "network.moe.experts is 3: must be a multiple of engine.tiles, 2",
        ),
        (
            {"network__moe": {"experts": 4, "hidden": 8, "hiden": 8}},
            "unknown key network.moe.hiden: known are experts, hidden, mode, top_k",
        ),
        (
            {"network__head_keep": 0.5, "engine__tiles": 2},
            "network.head_keep is 0.5: must keep all heads if engine.tiles is above 1, 2,"
            " for heads of an image are not pruned evenly over tiles",
        ),
        (
            {"network__head_keep": 0.5, "engine__lanes": 16},
            "engine.lanes is 16: must divide the channels of a head, 8,"
            " if network.head_keep leaves heads out",
        ),
        ({"network__head_keep": 0.0}, "network.head_keep is 0.0: must be more than 0"),
        ({"network__head_keep": 1.5}, "network.head_keep is 1.5: must be at most 1"),
    ],
)
def test_bad_experts(changes, text):
    with pytest.raises(SpecError, match=rf"^preset small: {re.escape(text)}(\.0)?$"):
        small_preset(**changes)


def test_checkpoint_of_other_experts(tmp_path):
    four, two = (small_preset(network__moe={"experts": n, "hidden": 8}) for n in (4, 2))
    path = tmp_path / "other.safetensors"
    random_checkpoint(four).save(path)
    assert Checkpoint.load(path, four).preset == four
    text = "checkpoint other.safetensors: network.moe.experts is 4: preset small has 2"
    with pytest.raises(SpecError, match=f"^{re.escape(text)}$"):
        Checkpoint.load(path, two)


def test_k_spikes_fit_the_stream():
    """The merge may add k times 1.0."""
    alone, four = (
        small_preset(network__moe={"experts": 4, "hidden": 8, "top_k": k}) for k in (1, 4)
    )
    checkpoint = random_checkpoint(alone, seed=1)
    biased = [checkpoint_widths(replace(checkpoint, preset=p)) for p in (alone, four)]
    assert biased[1].residual >= biased[0].residual
