"""Comparisons of accelerators on the same images: several tiles with one, pruned heads with all."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from golden.checkpoint import Checkpoint, checkpoint_path, load_start
from golden.data import load_test_images
from golden.integer import IntegerModel
from golden.metrics import build_dir, write_metrics
from golden.ranges import built_widths
from golden.schedule import network_layers
from golden.spec import Preset, SpecError
from hw.build import make_accelerator
from hw.verilog import generate

from .accelerator import difference, make_job, mean_bound, play
from .harness import accelerator_design
from .verilator import QUICK

# Last parts of the names of dense layers, and of those that take the place of the MLP's two.
DENSE, MLP = ("qkv", "projection"), ("fc1", "fc2")
EXPERTS = ("router", "fc1", "fc2", "merge")


@dataclass(frozen=True)
class Measured:
    """Cycles of an accelerator, mean over images.

    Members
    -------
    image : of a whole image
    layers : of each layer, by name
    bound : event bound of an image
    mismatches : images whose logits differ from the integer model's
    multipliers : multiplication cells
    """

    image: float
    layers: dict[str, float]
    bound: float
    mismatches: int
    multipliers: int

    def of(self, *names: str) -> float:
        """Cycles of the layers whose last part of the name is one of these."""
        return sum(v for k, v in self.layers.items() if k.rpartition(".")[2] in names)


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
    ``moe.speedup_<tiles>`` is that of router, experts and merge, if there are any.

    Raises
    ------
    SpecError
        If the network does not divide over the tiles.
    """
    engine = {"lanes": lanes, "neuron_lanes": neuron_lanes, "counters": True}
    changes = {f"engine__{name}": value for name, value in engine.items()}
    engines = [preset.replace(engine__tiles=number, **changes) for number in (1, tiles)]
    images, _ = load_test_images(preset, count)
    checkpoint = Checkpoint.load(checkpoint_path(preset), preset)
    alone, together = (
        measure(replace(checkpoint, preset=each), images, progress) for each in engines
    )

    def speed_up(*names: str) -> float:
        return alone.of(*names) / together.of(*names)

    experts = preset.network.moe is not None
    figures = {f"moe.speedup_{tiles}": speed_up(*EXPERTS)} if experts else {}
    figures |= {
        f"tiles.speedup_{tiles}": speed_up(*DENSE) if experts else speed_up(*DENSE, *MLP),
        f"tiles.speedup_{tiles}_attention": speed_up("attention"),
        f"tiles.speedup_{tiles}_image": alone.image / together.image,
        "tiles.cycles_per_image": together.image,
        "tiles.cycles_over_bound": together.image / together.bound,
        "tiles.mismatches": alone.mismatches + together.mismatches,
        "tiles.multipliers": alone.multipliers + together.multipliers,
    }
    write_metrics(preset.name, figures)
    return figures


def prune(
    preset: Preset, *, count: int, progress: Callable[[str], None] = lambda text: None
) -> dict[str, float]:
    """Measure a network with pruned heads, and write ``d3.*`` figures.

    It is compared with the network that its training started from, on an engine of the same size,
    and with its own weights where all heads attend (``same_weights``). Cycles of attention are
    those of its layers, which read; charging hides behind Q, K and V. Those of a block are all but
    those of patch splitting, position and head.

    Raises
    ------
    SpecError
        If the preset prunes no heads, or was not trained from another's checkpoint.
    """
    if not preset.prunes_heads:
        keep = preset.network.head_keep
        raise SpecError(
            f"network.head_keep is {keep:g}: preset {preset.name} must leave heads out, to compare"
        )
    if preset.train is None or preset.train.start is None:
        raise SpecError(f"preset {preset.name} has no train.start: the network to compare it with")
    images, _ = load_test_images(preset, count)
    own = Checkpoint.load(checkpoint_path(preset), preset)
    before = load_start(preset)
    all_heads = preset.replace(network__head_keep=1.0)
    pruned, same, whole = (
        measure(checkpoint, images, progress)
        for checkpoint in (
            own,
            replace(own, preset=all_heads.replace(name=f"{preset.name}-all")),
            replace(before, preset=before.preset.replace(engine=preset.engine.model_dump())),
        )
    )
    block = ("rank", "qkv", "attention", "projection", "fc1", "fc2")
    figures = {}
    for name, other in (("", whole), ("_same_weights", same)):
        figures |= {
            f"d3.attention_cycles_ratio{name}": pruned.of("attention") / other.of("attention"),
            f"d3.block_cycles_ratio{name}": pruned.of(*block) / other.of(*block),
        }
    figures["d3.mismatches"] = sum(found.mismatches for found in (pruned, same, whole))
    write_metrics(preset.name, figures)
    return figures


def measure(
    checkpoint: Checkpoint, images: np.ndarray, progress: Callable[[str], None]
) -> Measured:
    """Run images on the accelerator of a checkpoint's preset."""
    preset = checkpoint.preset
    widths = built_widths(preset, checkpoint)
    made = generate(make_accelerator(preset, widths), "accelerator")
    design = accelerator_design(made.text, QUICK)
    engine = preset.engine
    name = f"{preset.name}-{engine.tiles}x{engine.lanes}-{preset.kept_heads}"
    folder = build_dir(preset.name) / "sim"
    folder.mkdir(parents=True, exist_ok=True)
    job = make_job(checkpoint, widths, images, result=folder / f"{name}.jsonl")
    lines = play(design, job, f"accelerator-{name}", progress=progress)
    if found := difference(design, job, lines, f"accelerator-{name}"):
        progress(found)
    layers = {
        layer.name: float(np.mean([line["layers"][layer.name][0] for line in lines]))
        for layer in network_layers(preset)
    }
    return Measured(
        image=float(np.mean([line["cycles"] for line in lines])),
        layers=layers,
        bound=mean_bound(IntegerModel(checkpoint), images),
        mismatches=sum(not line["equal"] for line in lines),
        multipliers=made.multipliers,
    )


def report(figures: dict[str, float], tiles: int) -> str:
    """One paragraph for people."""
    moe = figures.get(f"moe.speedup_{tiles}")
    experts = f" experts {moe:.2f} x," if moe else ""
    return (
        f"{tiles} tiles against 1: dense layers {figures[f'tiles.speedup_{tiles}']:.2f} x,{experts}"
        f" attention {figures[f'tiles.speedup_{tiles}_attention']:.2f} x,"
        f" image {figures[f'tiles.speedup_{tiles}_image']:.2f} x;"
        f" {figures['tiles.cycles_per_image']:.0f} cycles an image,"
        f" {figures['tiles.cycles_over_bound']:.3f} x the event bound;"
        f" {figures['tiles.mismatches']} mismatches, {figures['tiles.multipliers']} multipliers"
    )
