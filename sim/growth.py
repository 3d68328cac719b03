"""Cycles of one network on engines of several sizes."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from golden.checkpoint import Checkpoint, checkpoint_path
from golden.data import load_test_images
from golden.metrics import write_metrics
from golden.spec import Preset

from .cycles import measure


def cycles_of_lanes(
    preset: Preset,
    lanes: Sequence[int],
    count: int,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, float]:
    """Mean cycles of an image for each number of lanes; ``growth.*`` figures, as they come.

    Raises
    ------
    SpecError
        If the network does not fit a number of lanes.
    """
    images, _ = load_test_images(preset, count)
    checkpoint = Checkpoint.load(checkpoint_path(preset), preset)
    engines = {number: preset.with_lanes(number) for number in lanes}
    figures = {}
    for number, engine in engines.items():
        measured = measure(replace(checkpoint, preset=engine), images, progress)
        figures |= {
            f"growth.{number}_lanes.cycles_per_image": measured.image,
            f"growth.{number}_lanes.cycles_over_bound": measured.image / measured.bound,
            f"growth.{number}_lanes.mismatches": measured.mismatches,
        }
        write_metrics(preset.name, figures)
        progress(f"{number} lanes: {measured.image:.0f} cycles an image")
    return figures
