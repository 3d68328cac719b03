"""Training that cannot succeed stops early, with one message; and what is compiled."""

import numpy as np
import pytest
import torch

from golden.export import export
from golden.network import SpikingTransformer
from golden.spec import SpecError
from golden.train import LARGE, Run, finish
from tests.small_networks import small_preset
from tests.test_training import IMAGES, TRAIN, digits, new_run


def diverged(title: str, rate: str) -> str:
    return (
        rf"^{title}: (loss is (nan|inf)|[a-z0-9.]+ is not finite after it): training diverged;"
        rf" try a train\.{rate} below "
    )


@pytest.mark.parametrize("batch", [32, IMAGES])
def test_diverged_training_stops(tmp_path, batch):
    """Whether a loss shows it or, in the last batch of an epoch, only the weights."""
    preset = digits(learning_rate=1e30, batch=batch)
    run = new_run(tmp_path, preset)
    with pytest.raises(SpecError, match=diverged("float epoch [12]/4", "learning_rate") + "1e.30$"):
        finish(run, tmp_path / "net.safetensors")
    stored = tmp_path / "train-state.pt"
    if stored.is_file():
        values = torch.load(stored, weights_only=True)["network"].values()
        assert all(x.isfinite().all() for x in values if torch.is_tensor(x))
    assert not (tmp_path / "net.safetensors").exists()


def test_diverged_weights_stop_an_epoch(tmp_path, monkeypatch):
    """A step with a finite loss that leaves weights which are not is refused before it is saved."""
    run = new_run(tmp_path, limit=32)
    step = torch.optim.AdamW.step

    def wild(self, *args, **kwargs):
        step(self, *args, **kwargs)
        run.network.head.bias.data[0] = float("inf")

    monkeypatch.setattr(torch.optim.AdamW, "step", wild)
    with pytest.raises(SpecError) as error:
        run.train()
    assert str(error.value) == (
        "float epoch 1/4: head.bias is not finite after it: training diverged;"
        " try a train.learning_rate below 0.01"
    )
    assert list(tmp_path.iterdir()) == []


def test_diverged_quantised_training_names_its_rate(tmp_path, monkeypatch):
    run = new_run(tmp_path, digits(epochs=1, quant_epochs=1), limit=32)
    fold = run.network.fold

    def broken():
        fold()
        run.network.head.bias.data[:] = float("nan")

    run.network.fold = broken
    with pytest.raises(SpecError) as error:
        run.train()
    assert str(error.value) == (
        "quant epoch 2/2: loss is nan: training diverged;"
        " try a train.quant_learning_rate below 0.001"
    )


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_export_refuses_what_is_not_finite(value):
    network = SpikingTransformer(digits())
    network.fold()
    export(network, {})
    network.stages[1].weight.data[3, 2, 1, 1] = float(value)
    with pytest.raises(SpecError) as error:
        export(network, {})
    assert str(error.value) == (
        "weights of stage1 are not finite: the training diverged, or its state is damaged"
    )


@pytest.mark.parametrize(("grid", "steps", "least"), [((1, 1), 4, 2), ((2, 2), 1, 2)])
def test_batch_norm_needs_two_values(tmp_path, monkeypatch, grid, steps, least):
    """Of a single image, a grid of one position gives one value a channel."""
    monkeypatch.chdir(tmp_path)
    pool = grid != (1, 1)
    shape = {
        "data__dataset": "own.npz",
        "data__height": grid[0],
        "data__width": grid[1],
        "network__time_steps": steps,
        "network__stages": [{"channels": 8, "pool": pool}, {"channels": 16}],
    }
    images, labels = np.zeros((4, *grid), np.uint8), np.arange(4, dtype=np.uint8)
    arrays = {f"{part}_images": images for part in ("train", "test")}
    np.savez("own.npz", **arrays, train_labels=labels, test_labels=labels)
    settings = TRAIN | {"batch": 1, "epochs": 1, "quant_epochs": 1}
    with pytest.raises(SpecError) as error:
        new_run(tmp_path / "run", small_preset(train=settings, **shape), limit=4).train()
    assert str(error.value) == (
        f"train.batch is 1: must be at least {least}, as batch norm needs two values of a channel"
        " and an image has one"
    )
    new_run(tmp_path / "run", small_preset(train=settings | {"batch": 2}, **shape), limit=4).train()


@pytest.mark.parametrize(
    ("count", "asked", "expected"),
    [(LARGE - 1, None, False), (LARGE, None, True), (LARGE, False, False), (10, True, True)],
)
def test_compiled_by_default_for_many_images(tmp_path, monkeypatch, count, asked, expected):
    """Whatever the data set is called."""
    images, labels = np.zeros((count, 1, 8, 8), np.uint8), np.zeros(count, np.int64)
    monkeypatch.setattr("golden.train.load_split", lambda preset, split: (images, labels))
    seen = []

    def stop(function, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "compile", stop)
    monkeypatch.setattr(Run, "_epoch", lambda *args: seen.append("plain") or stop(None))
    run = Run(digits(batch=10), tmp_path, compiled=asked)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    assert seen == ([] if expected else ["plain"])
