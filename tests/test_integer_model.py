"""The integer model against plain numpy loops, and against the float network it was folded from."""

import numpy as np
import pytest
import torch

from golden.export import export
from golden.integer import IntegerModel
from golden.network import SpikingTransformer
from tests.plain_network import PlainNetwork
from tests.small_networks import (
    EXPERT_NETWORKS,
    LOCAL_NETWORKS,
    NETWORKS,
    random_checkpoint,
    random_images,
    small_preset,
)

ALL = NETWORKS | LOCAL_NETWORKS
networks = pytest.mark.parametrize("changes", ALL.values(), ids=ALL)


def as_grid(tensor: torch.Tensor, like: np.ndarray) -> np.ndarray:
    """(T, positions or (height, width), channels) as (T, channels, height, width)."""
    array = tensor.numpy().reshape(len(tensor), -1, tensor.shape[-1])
    return array.transpose(0, 2, 1).reshape(like.shape)


def assert_same(what: str, got: np.ndarray, want: np.ndarray) -> None:
    wrong = np.argwhere(got != want)
    if len(wrong):
        at = tuple(wrong[0].tolist())
        pytest.fail(f"{what}: {len(wrong)} differ, first at {at}: {got[at]}, expected {want[at]}")


@networks
def test_equals_plain_numpy(changes):
    preset = small_preset(**changes)
    checkpoint = random_checkpoint(preset, seed=7)
    images = random_images(preset, 3)
    trace = IntegerModel(checkpoint).run(images)
    fired = {}
    for index, image in enumerate(images):
        plain = PlainNetwork(checkpoint)
        assert_same(f"logits of image {index}", trace.logits[index].numpy(), plain.run(image))
        for kept, wanted in (
            ("sums", plain.sums),
            ("potential", plain.potentials),
            ("outputs", plain.spikes),
        ):
            for name, want in wanted.items():
                got = as_grid(getattr(trace.layers[name], kept)[:, index], want)
                assert_same(f"{kept} of {name}, image {index}", got, want)
        for name, spikes in plain.spikes.items():
            fired.setdefault(name, []).append(spikes.mean())
    silent = [name for name, shares in fired.items() if not 0.02 < np.mean(shares) < 0.98]
    assert not silent, f"no test: neurons of {silent} never or always fire"


def wild_network(preset, seed: int) -> SpikingTransformer:
    """A network with weights and batch statistics under which its neurons fire, folded."""
    torch.manual_seed(seed)
    network = SpikingTransformer(preset).eval()
    for layer in network.synapses().values():
        layer.weight.data.mul_(2.0)
        layer.bias.data.uniform_(-0.2, 0.4)
        if layer.norm is not None:
            layer.norm.weight.data.uniform_(0.7, 1.4)
            layer.norm.bias.data.uniform_(-0.2, 0.4)
            layer.norm.running_mean.uniform_(-0.2, 0.2)
            layer.norm.running_var.uniform_(0.7, 1.4)
    for block in network.blocks:
        for weight in block["attention"].parameters():
            weight.data.add_(torch.empty_like(weight).uniform_(-0.1, 0.1))
    network.fold()
    return network


# With a slower decay the integers round H up where floats do not round, and three stages' 12 tokens
# are no power of two, so their mean is rounded.
FOLDED = {name: c for name, c in (ALL | EXPERT_NETWORKS).items() if "slow" not in name}


@pytest.mark.parametrize("changes", FOLDED.values(), ids=FOLDED)
def test_equals_folded_float_network(changes):
    preset = small_preset(**changes)
    network = wild_network(preset, seed=3).double()
    images = random_images(preset, 16)
    checkpoint = export(network, {})
    got = IntegerModel(checkpoint).run(images).logits
    with torch.no_grad():
        logits = network(torch.from_numpy(images.astype(np.float64)))
    scale = preset.tokens * preset.network.time_steps * 2 ** checkpoint.scales["head"]
    want = logits * scale
    if preset.tokens & (preset.tokens - 1):
        assert (want - want.round()).abs().max() < 1e-6
        want = want.round()
    assert len(got.unique()) > 20, "no test: all logits are alike"
    assert_same("logits", got.numpy(), want.numpy())


def test_equals_float_network_in_single_precision():
    preset = small_preset()
    network = wild_network(preset, seed=4)
    images = random_images(preset, 64)
    got = IntegerModel(export(network, {})).run(images).logits
    with torch.no_grad():
        logits = network(torch.from_numpy(images.astype(np.float32)))
    scale = preset.tokens * preset.network.time_steps * 2**network.head.scale
    assert_same("logits", got.numpy(), (logits * scale).numpy())


def test_batch_and_trace_change_nothing():
    preset = small_preset()
    model = IntegerModel(random_checkpoint(preset))
    images = random_images(preset, 5)
    together = model.run(images)
    assert set(together.layers) == {layer.name for layer in model.layers}
    alone = [model.run(images[i : i + 1], keep=False) for i in range(5)]
    assert all(not trace.layers for trace in alone)
    assert torch.equal(together.logits, torch.cat([trace.logits for trace in alone]))


def test_membranes_do_not_wrap():
    """At the widest formats the membranes need more than 32 bits."""
    changes = {"network__time_steps": 16, "quant__frac_bits": 12, "quant__bias_bits": 32}
    preset = small_preset(**changes)
    checkpoint = random_checkpoint(preset, seed=1, full=True)
    image = random_images(preset, 1)
    trace = IntegerModel(checkpoint).run(image)
    assert_same("logits", trace.logits[0].numpy(), PlainNetwork(checkpoint).run(image[0]))


@pytest.mark.parametrize(
    ("images", "text"),
    [
        (np.zeros((1, 1, 8, 9), np.uint8), "uint8 of shape (1, 8, 9)"),
        (np.zeros((1, 3, 8, 8), np.uint8), "uint8 of shape (3, 8, 8)"),
        (np.zeros((1, 1, 8, 8), np.float32), "float32 of shape (1, 8, 8)"),
    ],
)
def test_wrong_images(images, text):
    model = IntegerModel(random_checkpoint(small_preset()))
    with pytest.raises(ValueError) as error:
        model.run(images)
    assert str(error.value) == f"images are {text}: must be uint8 of (1, 8, 8)"
