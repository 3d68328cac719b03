"""Training of routers, experts and pruned heads: gradients, balancing, figures."""

from dataclasses import replace

import pytest
import torch

from golden.checkpoint import CHECKPOINT_DIR, Checkpoint
from golden.data import load_test_images
from golden.evaluate import evaluate_preset, integer_accuracy
from golden.expert_layers import imbalance, route
from golden.expert_loads import ExpertLoads
from golden.experts import top_experts
from golden.integer import IntegerModel
from golden.network import SpikingTransformer
from golden.sections import Moe
from golden.spec import load_preset
from golden.train import start_from
from tests.small_networks import MOES, random_checkpoint, random_images, small_preset

TOP_2 = Moe(experts=4, hidden=1, top_k=2)
SEMM = Moe(experts=4, hidden=1, mode="semm")


def scores(*shape: int, seed: int = 1) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=random).requires_grad_()


def test_choice_is_hard_and_every_score_has_a_gradient():
    sums, worth = scores(3, 2, 5, 4), scores(3, 2, 5, 4, seed=2).detach()
    routed = route(TOP_2, sums, torch.zeros(()))
    assert torch.equal(routed, top_experts(sums, 2))
    (routed * worth).sum().backward()
    soft = sums.detach().clone().requires_grad_()
    (soft.sum(0).softmax(-1) * worth).sum().backward()
    assert torch.allclose(sums.grad, soft.grad)
    assert sums.grad.ne(0).all()


def test_spiking_router_masks_with_its_spikes():
    spikes = scores(3, 2, 5, 4)
    assert route(SEMM, torch.zeros(3, 2, 5, 4), spikes) is spikes


def test_imbalance_of_each_image():
    """Two images, each with all tokens at one expert: worst, though the batch is even."""
    at = torch.tensor([[0] * 6, [1] * 6])
    chosen = torch.nn.functional.one_hot(at, 2).float().expand(3, 2, 6, 2)
    assert float(imbalance(40 * chosen, chosen)) == pytest.approx(2.0)
    at = torch.tensor([[0, 1] * 3] * 2)
    chosen = torch.nn.functional.one_hot(at, 2).float().expand(3, 2, 6, 2)
    assert float(imbalance(40 * chosen, chosen)) == pytest.approx(1.0)
    assert float(imbalance(40 * chosen, torch.zeros_like(chosen))) == 0.0


def test_balancing_spreads_tokens():
    """Descent on the loss alone, from a router that prefers one expert."""
    tokens = scores(1, 4, 64, 8).detach()
    weight = torch.zeros(8, 4)
    weight[:, 0] = 0.1
    weight.requires_grad_()
    bias = torch.tensor([3.0, 0.0, 0.0, 0.0], requires_grad=True)
    optimiser = torch.optim.Adam([weight, bias], lr=0.05)
    busiest = []
    for _ in range(150):
        sums = tokens @ weight + bias
        routed = route(TOP_2.model_copy(update={"top_k": 1}), sums, sums)
        busiest.append(float(routed.detach().mean((0, 1, 2)).max()) * 4)
        optimiser.zero_grad()
        imbalance(sums, routed).backward()
        optimiser.step()
    assert busiest[0] > 3.0
    assert busiest[-1] < 1.5


@pytest.mark.parametrize("moe", MOES.values(), ids=MOES)
def test_every_layer_learns(moe):
    torch.manual_seed(2)
    network = SpikingTransformer(small_preset(network__moe=moe))
    network(torch.from_numpy(random_images(network.preset, 8)).float()).square().sum().backward()
    for name, layer in network.synapses().items():
        assert layer.weight.grad.abs().sum() > 0, name
    assert len(network.balance) == 1
    # What experts read is counted of the tokens they serve: none of a silent expert.
    assert all(0 < share < 1 for share in network.activity)


@pytest.mark.parametrize("sparing", [False, True], ids=["answer", "spikes"])
def test_pruned_heads_have_no_gradient(sparing):
    """Neither from the answer nor from the firing penalty, as nothing reads their Q."""
    torch.manual_seed(2)
    preset = small_preset(network__heads=4, network__head_keep=0.25, engine__lanes=4)
    network = SpikingTransformer(preset)
    logits = network(torch.from_numpy(random_images(preset, 1)).float())
    (torch.stack(network.activity) if sparing else logits.square()).sum().backward()
    grads = network.blocks[0]["qkv"].weight.grad.view(4, -1).abs().sum(1)
    assert int((grads > 0).sum()) == 1


def test_experts_start_anew():
    """A dense checkpoint gives every layer but routers and experts."""
    preset = small_preset()
    stored = random_checkpoint(preset)
    network = SpikingTransformer(preset.replace(network__moe=MOES["top 2 of 4"]))
    before = {name: layer.weight.clone() for name, layer in network.synapses().items()}
    start_from(network, stored)
    for name, layer in network.synapses().items():
        if name in ("block0.router", "block0.fc1", "block0.fc2"):
            assert torch.equal(layer.weight, before[name]), name
            assert layer.norm is not None, name
        else:
            wanted = torch.from_numpy(stored.weights[name]) / 2.0 ** stored.scales[name]
            assert torch.equal(layer.weight, wanted), name


@pytest.mark.parametrize("moe", MOES.values(), ids=MOES)
def test_loads_of_experts(moe):
    preset = small_preset(network__moe=moe, network__blocks=2)
    model, images = IntegerModel(random_checkpoint(preset, seed=5)), random_images(preset, 5)
    loads = ExpertLoads()
    for part in (images[:3], images[3:]):
        loads.add(model.run(part, keep=False))
    trace = model.run(images).layers
    all_images, each_image, total = [], [], 0
    for block in range(2):
        works = trace[f"block{block}.router"].routed.amax(0)  # B, N, E
        served = works.sum((0, 1)).tolist()
        total += sum(served)
        all_images.append(max(served) * len(served) / sum(served))
        ratios = [max(x) * len(x) / sum(x) if sum(x) else 1 for x in works.sum(1).tolist()]
        each_image.append(sum(ratios) / 5)
    assert loads.figures() == {
        "moe.balance": pytest.approx(max(all_images)),
        "moe.image_balance": pytest.approx(max(each_image)),
        "moe.experts_per_token": pytest.approx(total / (2 * 5 * preset.tokens)),
    }
    if "top_k" in moe:
        assert loads.figures()["moe.experts_per_token"] == moe["top_k"]


def test_no_loads_without_experts():
    loads = ExpertLoads()
    loads.add(IntegerModel(random_checkpoint(small_preset())).run(random_images(small_preset(), 1)))
    assert loads.figures() == {}


@pytest.mark.slow
def test_accuracy_lost_to_pruning(tmp_path, monkeypatch):
    """Against the checkpoint that training started from, on the same images."""
    monkeypatch.chdir(tmp_path)
    stored = Checkpoint.load(CHECKPOINT_DIR / "tiny.safetensors")
    pruned = load_preset("tiny").replace(network__head_keep=0.5, train__start="tiny")
    path = tmp_path / "own.safetensors"
    replace(stored, preset=pruned).save(path)
    images, labels = load_test_images(pruned, 60)
    accuracies = [
        integer_accuracy(IntegerModel(replace(stored, preset=p)), images, labels)
        for p in (stored.preset, pruned)
    ]
    assert accuracies[0] != accuracies[1], "no test: pruning changes nothing"
    figures = evaluate_preset(pruned, path, 60)
    assert figures["d3.accuracy_loss"] == accuracies[0] - accuracies[1]
