"""What PyTorch makes of the same network on this computer's processor."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from spikingjelly.activation_based import functional, neuron
from torch import Tensor, nn
from tqdm import tqdm

from golden.checkpoint import Checkpoint
from golden.data import load_test_images
from golden.integer import IntegerModel
from golden.metrics import read_metrics, write_metrics
from golden.network import SpikingTransformer
from golden.spec import PIXEL_BITS, Preset, SpecError

from .boards import Board

BATCHES = (16, 64, 256)


class JellyTransformer(SpikingTransformer):
    """The network in floats, for inference only, with SpikingJelly's neurons.

    Parameters
    ----------
    checkpoint : its integers become floats, so that logits are those of the integer model
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint.preset)
        settings = checkpoint.preset.network.neuron
        common = {
            "tau": 2.0**settings.decay_shift,
            "decay_input": False,
            "v_threshold": settings.threshold,
            "v_reset": 0.0 if settings.reset == "hard" else None,
            "step_mode": "m",
        }
        self.binary = neuron.LIFNode(**common)
        self.ternary = neuron.TernaryLIFNode(**common)
        for name, layer in self.synapses().items():
            scale = checkpoint.scales[name]
            layer.norm = None
            layer.weight.data = torch.tensor(checkpoint.weights[name] * 2.0**-scale).float()
            unit = checkpoint.preset.quant.frac_bits
            if name == "stage0":
                unit = scale + PIXEL_BITS
            if name == "head":
                unit = scale
            bias = checkpoint.biases[name] * 2.0**-unit / layer.bias_gain
            layer.bias.data = torch.tensor(bias).float()

    def _fire(self, x: Tensor, ternary: bool = False) -> Tensor:
        node = self.ternary if ternary else self.binary
        functional.reset_net(node)
        return node(x)

    def _watch(self, spikes: Tensor) -> Tensor:
        return spikes


@dataclass(frozen=True)
class Speed:
    """Images a second at the best batch."""

    images_per_second: float
    batch: int


def measure(run: Callable[[np.ndarray], object], images: np.ndarray, seconds: float) -> Speed:
    """Time ``run`` for each batch size, about ``seconds`` in all, after a first call."""
    best = Speed(0.0, 0)
    for batch in BATCHES:
        part = np.resize(images, (batch, *images.shape[1:]))
        run(part)
        count, started = 0, perf_counter()
        while (taken := perf_counter() - started) < seconds / len(BATCHES) or not count:
            run(part)
            count += batch
        best = max(best, Speed(count / taken, batch), key=lambda speed: speed.images_per_second)
    return best


def compare(preset: Preset, checkpoint: Checkpoint, board: Board, seconds: float) -> str:
    """Measure both models, write the figures, and say how much faster the board is.

    Raises
    ------
    SpecError
        If no build of the preset for the board says how fast it is.
    """
    key = f"fpga.{board.name}.images_per_second"
    fpga = read_metrics(preset.name).get(key)
    if fpga is None:
        raise SpecError(
            f"no {key} of {preset.name}: run `make sim PRESET={preset.name}`, which counts cycles,"
            f" then `make fpga PRESET={preset.name} BOARD={board.name}`"
        )
    torch.set_num_threads(os.cpu_count() or 1)
    images, _ = load_test_images(preset, max(BATCHES))
    jelly = JellyTransformer(checkpoint).eval()
    integer = IntegerModel(checkpoint)
    models: dict[str, Callable] = {
        "integer": lambda part: integer.run(part, keep=False),
        "spikingjelly": lambda part: _classify(jelly, part),
    }
    agree(integer, jelly, images)
    speeds = {
        name: measure(run, images, seconds) for name, run in tqdm(models.items(), unit="model")
    }
    fastest = max(speed.images_per_second for speed in speeds.values())
    figures = {f"cpu.{name}.images_per_second": s.images_per_second for name, s in speeds.items()}
    figures |= {"cpu.images_per_second": fastest, "fpga.speedup_over_cpu": fpga / fastest}
    write_metrics(preset.name, figures)
    told = ", ".join(
        f"{name} {speed.images_per_second:.0f} images/s (batch {speed.batch})"
        for name, speed in speeds.items()
    )
    return (
        f"PyTorch on {torch.get_num_threads()} cores: {told}\n"
        f"{board.name}: {fpga:.0f} images/s, {fpga / fastest:.2f} times as many"
    )


def agree(integer: IntegerModel, jelly: nn.Module, images: np.ndarray) -> None:
    """Refuse to compare models that do not classify alike.

    Raises
    ------
    SpecError
        With the number of images on which they differ.
    """
    ours = integer.run(images, keep=False).logits.argmax(1)
    differ = int((ours != _classify(jelly, images).argmax(1)).sum())
    if differ:
        raise SpecError(f"the float model classifies {differ} of {len(images)} images differently")


@torch.inference_mode()
def _classify(network: nn.Module, images: np.ndarray) -> Tensor:
    return network(torch.from_numpy(images).float())
