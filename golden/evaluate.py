"""The integer model on test images: accuracy, density, operations, energy and the event bound."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .attention_memory import state_memory
from .checkpoint import Checkpoint, checkpoint_path, load_start
from .counts import bundle_density, count_layers, energy_pj, event_bound
from .data import load_test_images
from .expert_loads import ExpertLoads
from .integer import IntegerModel, Trace
from .metrics import write_metrics
from .spec import Preset, SpecError

BATCH = 250
# Operations are counted on so many images: they keep every tensor of the network.
COUNTED = 100


def integer_accuracy(
    model: IntegerModel,
    images: np.ndarray,
    labels: np.ndarray,
    watch: Callable[[Trace], None] = lambda trace: None,
) -> float:
    """Accuracy in percent; ``watch`` sees the trace of every batch."""
    right = 0
    for start in tqdm(range(0, len(images), BATCH), desc="integer model", unit="batch"):
        trace = model.run(images[start : start + BATCH], keep=False)
        answer = trace.logits.argmax(1).numpy()
        right += int((answer == labels[start : start + BATCH]).sum())
        watch(trace)
    return 100.0 * right / len(labels)


def evaluate_preset(preset: Preset, checkpoint: Path | None, limit: int | None) -> dict[str, float]:
    """Measure a checkpoint, print the figures and merge them into ``metrics.json``."""
    if limit is not None and limit < 1:
        raise SpecError(f"limit is {limit}: must be at least 1")
    images, labels = load_test_images(preset, limit)
    stored = Checkpoint.load(checkpoint or checkpoint_path(preset), preset)
    model = IntegerModel(stored)
    counts = count_layers(model.run(images[:COUNTED]), preset)
    energy = energy_pj(counts)
    loads = ExpertLoads()
    accuracy = integer_accuracy(model, images, labels, loads.add)
    figures = {
        "golden.accuracy": accuracy,
        "golden.test_images": len(images),
        "golden.bundle_density": bundle_density(counts),
        "golden.energy_spiking_pj": energy["spiking"],
        "golden.energy_dense_pj": energy["dense"],
        "golden.adds_on": sum(c.adds_on for c in counts.values()) / len(images[:COUNTED]),
        "golden.adds_off": sum(c.adds_off for c in counts.values()) / len(images[:COUNTED]),
        "golden.weight_rows": sum(c.weight_rows for c in counts.values()) / len(images[:COUNTED]),
        "golden.event_bound_cycles": event_bound(counts),
    }
    if "float_accuracy" in stored.info:
        figures["golden.float_accuracy"] = float(stored.info["float_accuracy"])
    figures |= loads.figures()
    if preset.prunes_heads and preset.train and preset.train.start:
        whole = IntegerModel(load_start(preset))
        figures["d3.accuracy_loss"] = integer_accuracy(whole, images, labels) - accuracy
    for name, bits in state_memory(preset).items():
        figures[f"golden.attention_{name}_bits"] = bits
    write_metrics(preset.name, {**figures, "attention.kind": preset.network.attention})
    print(f"{'layer':18}{'bundles':>9}{'visits':>10}{'bound cycles':>14}   per image")
    for name, c in counts.items():
        share = "" if c.density != c.density else f"{c.density:.3f}"
        print(f"{name:18}{share:>9}{c.visits / c.images:>10.0f}{c.bound_cycles:>14.0f}")
    for name, value in figures.items():
        print(f"{name:28}{value:>16.3f}")
    return figures
