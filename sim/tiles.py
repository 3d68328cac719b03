"""Several tiles against one: the same network, the same images, the same kind of tile."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from golden.checkpoint import Checkpoint, checkpoint_path
from golden.data import load_test_images
from golden.integer import IntegerModel
from golden.metrics import build_dir, write_metrics
from golden.ranges import built_widths
from golden.schedule import network_layers
from golden.spec import Preset
from hw.build import make_accelerator
from hw.verilog import generate

from .accelerator import difference, make_job, mean_bound, play
from .harness import accelerator_design
from .verilator import QUICK


@dataclass(frozen=True)
class Measured:
    """Cycles of a number of tiles.

    Members
    -------
    image : of a whole image, mean
    kinds : of all layers of a kind, mean over images
    bound : event bound of an image
    mismatches : images whose logits differ from the integer model's
    multipliers : multiplication cells
    """

    image: float
    kinds: dict[str, float]
    bound: float
    mismatches: int
    multipliers: int


def compare(
    preset: Preset,
    *,
    tiles: int,
    lanes: int,
    neuron_lanes: int,
    count: int,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, float]:
    """Measure ``tiles`` tiles of ``lanes`` against one of them, and write ``tiles.*`` figures.

    The speed-up is that of the dense layers: sum of their cycles with one tile over that with all.

    Raises
    ------
    SpecError
        If the network does not divide over the tiles.
    """
    engine = {"lanes": lanes, "neuron_lanes": neuron_lanes, "counters": True}
    changes = {f"engine__{name}": value for name, value in engine.items()}
    images, _ = load_test_images(preset, count)
    alone, together = (
        measure(preset.replace(engine__tiles=number, **changes), images, progress)
        for number in (1, tiles)
    )
    speed_up = {kind: alone.kinds[kind] / together.kinds[kind] for kind in alone.kinds}
    figures = {
        f"tiles.speedup_{tiles}": speed_up["dense"],
        f"tiles.speedup_{tiles}_attention": speed_up["attention"],
        f"tiles.speedup_{tiles}_image": alone.image / together.image,
        "tiles.cycles_per_image": together.image,
        "tiles.cycles_over_bound": together.image / together.bound,
        "tiles.mismatches": alone.mismatches + together.mismatches,
        "tiles.multipliers": alone.multipliers + together.multipliers,
    }
    write_metrics(preset.name, figures)
    return figures


def measure(preset: Preset, images: np.ndarray, progress: Callable[[str], None]) -> Measured:
    """Run images on the preset's accelerator with its shipped checkpoint."""
    checkpoint = Checkpoint.load(checkpoint_path(preset), preset)
    widths = built_widths(preset, checkpoint)
    made = generate(make_accelerator(preset, widths), "accelerator")
    design = accelerator_design(made.text, QUICK)
    name = f"{preset.name}-{preset.engine.tiles}x{preset.engine.lanes}"
    folder = build_dir(preset.name) / "sim"
    folder.mkdir(parents=True, exist_ok=True)
    job = make_job(checkpoint, widths, images, result=folder / f"{name}.jsonl")
    lines = play(design, job, f"accelerator-{name}", progress=progress)
    if found := difference(design, job, lines, f"accelerator-{name}"):
        progress(found)
    kinds: dict[str, float] = {}
    for layer in network_layers(preset):
        cycles = np.mean([line["layers"][layer.name][0] for line in lines])
        kinds[layer.kind] = kinds.get(layer.kind, 0.0) + float(cycles)
    return Measured(
        image=float(np.mean([line["cycles"] for line in lines])),
        kinds=kinds,
        bound=mean_bound(IntegerModel(checkpoint), images),
        mismatches=sum(not line["equal"] for line in lines),
        multipliers=made.multipliers,
    )


def report(figures: dict[str, float], tiles: int) -> str:
    """One paragraph for people."""
    return (
        f"{tiles} tiles against 1: dense layers {figures[f'tiles.speedup_{tiles}']:.2f} x,"
        f" attention {figures[f'tiles.speedup_{tiles}_attention']:.2f} x,"
        f" image {figures[f'tiles.speedup_{tiles}_image']:.2f} x;"
        f" {figures['tiles.cycles_per_image']:.0f} cycles an image,"
        f" {figures['tiles.cycles_over_bound']:.3f} x the event bound;"
        f" {figures['tiles.mismatches']} mismatches, {figures['tiles.multipliers']} multipliers"
    )
