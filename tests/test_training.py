"""Training on digits: it learns, it can be stopped anywhere, and folding keeps what it learned."""

import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from golden import compare
from golden.checkpoint import CHECKPOINT_DIR, Checkpoint
from golden.data import load_split
from golden.export import export
from golden.integer import IntegerModel
from golden.network import SpikingTransformer
from golden.spec import SpecError, Train, load_preset
from golden.train import Run, augment, finish
from tests.small_networks import EXPERT_NETWORKS, NETWORKS, small_preset

TRAIN = {
    "epochs": 2,
    "quant_epochs": 2,
    "batch": 32,
    "learning_rate": 1e-2,
    "quant_learning_rate": 1e-3,
    "firing_penalty": 0.05,
    "shift_pixels": 1,
    "flip": True,
    "seed": 3,
}
IMAGES = 128


def digits(**changes):
    """The small network on digits, with settings of training in ``changes`` replaced."""
    settings = TRAIN | {key: changes.pop(key) for key in list(changes) if key in TRAIN}
    return small_preset(data__dataset="digits", train=settings, **changes)


def new_run(folder, preset=None, limit=IMAGES) -> Run:
    return Run(preset or digits(), folder, compiled=False, limit=limit)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Run:
    """A run that nobody stopped."""
    run = new_run(tmp_path_factory.mktemp("whole"))
    run.train()
    return run


@pytest.mark.slow
@pytest.mark.parametrize(("stop", "batch"), [(1, 0), (1, 2), (2, 0), (3, 1), (4, 0)])
def test_resumed_run_is_the_same_run(whole, tmp_path, monkeypatch, stop, batch):
    """Stopped after ``stop`` whole epochs and ``batch`` more batches, then taken up again."""
    torch.manual_seed(99)
    run = new_run(tmp_path)
    calls = 0

    def impatient(*args):
        nonlocal calls
        if calls == stop * (IMAGES // TRAIN["batch"]) + batch:
            raise KeyboardInterrupt
        calls += 1
        return augment(*args)

    monkeypatch.setattr("golden.train.augment", impatient)
    if stop < 4:
        with pytest.raises(KeyboardInterrupt):
            run.train()
    else:
        run.train()
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["train-state.pt"]

    torch.manual_seed(5)
    resumed = new_run(tmp_path)
    resumed.train()
    assert resumed.lines == whole.lines
    assert resumed.float_accuracy == whole.float_accuracy
    want = whole.network.state_dict()
    got = resumed.network.state_dict()
    assert list(got) == list(want)
    for name, tensor in want.items():
        same = torch.equal(got[name], tensor) if torch.is_tensor(tensor) else got[name] == tensor
        assert same, f"{name} differs"


def test_finish_writes_checkpoint_and_log(whole, tmp_path):
    path = tmp_path / "net.safetensors"
    finish(new_run(whole.folder), path)
    stored = Checkpoint.load(path, digits())
    assert stored.info == {
        "command": "python -m golden train --preset small",
        "seed": "3",
        "float_accuracy": f"{whole.float_accuracy:.2f}",
    }
    log = path.with_suffix(".log").read_text().splitlines()
    assert log[0] == "python -m golden train --preset small  (seed 3)"
    assert log[1:-1] == whole.lines
    images, labels = load_split(digits(), "test")
    right = (IntegerModel(stored).run(images).logits.argmax(1).numpy() == labels).mean()
    assert log[-1] == f"integer test accuracy {100 * right:.2f} %"
    assert right * 100 == pytest.approx(whole.test_accuracy())
    assert sorted(x.name for x in tmp_path.iterdir()) == ["net.log", "net.safetensors"]


def test_warns_of_membranes_beyond_a_float(tmp_path):
    preset = digits(network__time_steps=16, epochs=1, quant_epochs=1)
    finish(new_run(tmp_path, preset, limit=32), tmp_path / "net.safetensors")
    *_, warning, _ = (tmp_path / "net.log").read_text().splitlines()
    assert re.fullmatch(
        r"membranes may need \d+ bits, floats have 24: float and integer logits may differ", warning
    )


@pytest.mark.parametrize(
    "changes",
    (NETWORKS | EXPERT_NETWORKS).values(),
    ids=NETWORKS | EXPERT_NETWORKS,
)
def test_fold_keeps_each_layer(changes):
    """Folded and rounded, a layer's sums are off by half a step for each spike and the bias."""
    preset = small_preset(**changes)
    torch.manual_seed(1)
    network = SpikingTransformer(preset).eval()
    for name, layer in network.synapses().items():
        layer.bias.data.uniform_(-0.1, 0.1)
        if layer.norm is not None:
            layer.norm.running_mean.uniform_(-0.1, 0.1)
            layer.norm.running_var.uniform_(0.5, 2.0)
            layer.norm.weight.data.uniform_(0.5, 1.5)
            layer.norm.bias.data.uniform_(-0.1, 0.1)
        shape = (16, layer.experts * layer.weight.shape[1], *((6, 6) if layer.kernel == 3 else ()))
        x = (torch.rand(shape) < 0.3).float()
        with torch.no_grad():
            before = layer(x)
            layer.fold()
            steps = layer.weight[0].numel() / 2**layer.scale
            clipped = (layer.integer_weight() / 2**layer.scale - layer.weight).abs().max()
            after = layer(x)
        assert layer.norm is None
        worst = layer.weight[0].numel() * max(0.5 / 2**layer.scale, float(clipped)) + 0.01
        assert (after - before).abs().max() <= worst + steps * 1e-5, name


@pytest.mark.slow
def test_loss_falls_and_fold_keeps_logits_close(tmp_path):
    preset = digits(epochs=6, quant_epochs=1, shift_pixels=0, flip=False)
    run = new_run(tmp_path, preset, limit=512)
    seen, answers = (torch.from_numpy(x[:512]) for x in load_split(preset, "train"))
    unseen = torch.from_numpy(load_split(preset, "test")[0])
    fold, logits = run.network.fold, []

    def ask(images: torch.Tensor) -> torch.Tensor:
        run.network.eval()
        with torch.no_grad():
            result = run.network(images.float())
        run.network.train()
        return result

    def watched_fold():
        logits.append(ask(unseen))
        fold()
        logits.append(ask(unseen))

    run.network.fold = watched_fold
    before = float(functional.cross_entropy(ask(seen), answers))
    run.train()
    assert before > 2.0
    assert float(functional.cross_entropy(ask(seen), answers)) < 0.5 * before
    assert run.epoch == 7
    assert run.lines[6] == f"float test accuracy {run.float_accuracy:.2f} %"
    with_norm, folded = logits
    assert float((with_norm - folded).abs().mean()) < 0.15 * float(with_norm.std())
    assert float((with_norm.argmax(1) == folded.argmax(1)).float().mean()) > 0.9


def test_augment():
    images = torch.zeros(50, 2, 8, 8)
    images[:, 0, 3, 2] = 1
    images[:, 1, 3, 2] = 2
    settings = Train(**{**TRAIN, "shift_pixels": 2})
    moved = augment(images, settings, torch.Generator().manual_seed(1))
    assert moved.shape == images.shape
    places = set()
    for image in moved:
        (first,), (second,) = image[0].nonzero().tolist(), image[1].nonzero().tolist()
        assert first == second, "channels move together"
        places.add(tuple(first))
    assert {row for row, _ in places} == {1, 2, 3, 4, 5}
    assert {column for _, column in places} <= {0, 1, 2, 3, 4, *(7 - c for c in range(5))}
    plain = Train(**{**TRAIN, "shift_pixels": 0, "flip": False})
    assert torch.equal(augment(images, plain, torch.Generator()), images)


def test_refused(whole, tmp_path):
    with pytest.raises(
        SpecError, match=r"^preset small has no \[train\] section: cannot be trained$"
    ):
        new_run(tmp_path, small_preset())
    with pytest.raises(SpecError, match=r"^train\.batch is 32: must be at most 20, the images$"):
        new_run(tmp_path, limit=20).train()
    with pytest.raises(SpecError) as error:
        finish(new_run(tmp_path), tmp_path / "net.pt")
    assert str(error.value) == f"out is {tmp_path / 'net.pt'}: must end in .safetensors"
    with pytest.raises(SpecError) as error:
        new_run(whole.folder, digits(network__blocks=2)).train()
    assert str(error.value) == (
        f"{whole.state_path} belongs to another version of preset small: remove it to train anew"
    )


def test_damaged_or_foreign_state_is_refused(whole, tmp_path):
    state = tmp_path / "train-state.pt"
    content = whole.state_path.read_bytes()
    middle = len(content) // 2
    files = [b"", b"half", content[:-100], content[:100] + b"?" * 50 + content[150:]]
    files.append(content[:middle] + b"?" * 50 + content[middle + 50 :])
    stored = torch.load(whole.state_path, weights_only=True)
    foreign = {"network": {}, "preset": "?", "epoch": "first", "lines": None, "optimiser": {}}
    objects = [{"weight": torch.ones(2)}, [1, 2], None]
    objects += [stored | {"epoch": 1, key: value} for key, value in foreign.items()]
    for item in objects:
        with io.BytesIO() as stream:
            torch.save(item, stream)
            files.append(stream.getvalue())
    for each in files:
        state.write_bytes(each)
        with pytest.raises(SpecError) as error:
            new_run(tmp_path).train()
        assert str(error.value) == (
            f"{state} is not a whole training state: remove it to train anew"
        )
        assert list(tmp_path.iterdir()) == [state]


def test_start_from_a_checkpoint(tmp_path):
    """Folded again at once, a network has the very weights that it starts from."""
    settings = {"train__start": "tiny", "train__images": 100}
    run = Run(load_preset("tiny-lrf").replace(**settings), tmp_path, compiled=False)
    assert run.limit == 100
    run.network.fold()
    stored = Checkpoint.load(CHECKPOINT_DIR / "tiny.safetensors")
    exported = export(run.network, {})
    for name, weight in stored.weights.items():
        before, after = (
            x / 2.0 ** c.scales[name]
            for x, c in ((weight, stored), (exported.weights[name], exported))
        )
        assert np.array_equal(before, after), name
    # Without training the local branch adds nothing yet.
    images = load_split(stored.preset, "test")[0][:50]
    logits = [IntegerModel(each).run(images).logits for each in (stored, exported)]
    assert exported.scales["head"] == stored.scales["head"]
    assert torch.equal(*logits)
    assert not any(x.any() for x in exported.coefficients.values())


def test_start_refused(tmp_path):
    with pytest.raises(SpecError) as error:
        new_run(tmp_path, digits().replace(train__start="tiny"))
    assert str(error.value) == (
        "train.start is tiny: stage0 must be of shape (8, 1, 3, 3), it has shape (16, 1, 3, 3)"
    )
    with pytest.raises(SpecError) as error:
        new_run(tmp_path, digits().replace(train__start="nope"))
    assert str(error.value) == (
        f"train.start is nope: no checkpoint {CHECKPOINT_DIR / 'nope.safetensors'}:"
        " train one with `python -m golden train --preset nope`"
    )


@pytest.mark.slow
def test_comparison(tmp_path, monkeypatch):
    """Two variants and two seeds; a second call trains nothing, a lost result only itself."""
    preset = digits(epochs=1, quant_epochs=1)
    folder, out = tmp_path / "runs", tmp_path / "docs" / "comparison.md"
    plan = compare.Plan(preset, seeds=(1, 2), images=64, folder=folder, command="make it")
    plan = replace(plan, variants=("ssa", "a2os2a"))
    results = compare.compare_attention(out, plan)
    text = out.read_text()
    assert {name: len(runs) for name, runs in results.items()} == {"ssa": 2, "a2os2a": 2}
    ours = [run["integer_accuracy"] for run in results["a2os2a"]]
    theirs = [run["integer_accuracy"] for run in results["ssa"]]
    mean, spread = np.mean(ours), np.std(ours, ddof=1)
    gap = np.subtract(ours, theirs)
    first, second = ours
    title = compare.VARIANTS["a2os2a"].title
    assert f"| {mean:.2f} ± {spread:.2f} |" in text
    gap = f"{np.mean(gap):.2f} ± {np.std(gap, ddof=1):.2f}"
    assert f"| {title} | {first:.2f} | {second:.2f} | {gap} |  |\n" in text
    assert "    make it\n" in text
    assert json.loads((folder / "ssa-2.json").read_text())["figures"] == results["ssa"][1]
    stored = json.loads((folder / "ssa-1.json").read_text())["settings"]["preset"]["network"]
    assert (stored["attention"], stored["attention_scale_shift"]) == ("ssa", 3)

    trained = []
    train = compare._train
    monkeypatch.setattr(compare, "_train", lambda p, plan: trained.append(p.name) or train(p, plan))
    assert compare.compare_attention(out, plan) == results
    assert trained == []
    # A result stored before presets had a field still counts.
    path = folder / "ssa-1.json"
    old = json.loads(path.read_text())
    del old["settings"]["preset"]["network"]["dendrites"]
    path.write_text(json.dumps(old))
    assert compare.compare_attention(out, plan) == results
    assert trained == []
    (folder / "a2os2a-2.json").unlink()
    assert compare.compare_attention(out, plan) == results
    assert trained == ["a2os2a-2"]
    assert out.read_text() == text
