"""Whole networks on the generated Verilog: the same images, the same bits."""

import json
import pickle
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from golden.checkpoint import Checkpoint, checkpoint_path
from golden.counts import count_layers, event_bound
from golden.data import load_test_images
from golden.integer import IntegerModel
from golden.metrics import build_dir, write_metrics
from golden.ranges import Widths
from golden.spec import Preset, SpecError
from hw import spaces
from hw.build import fingerprint, read_description, verilog_path
from hw.frames import read_request, run_request
from hw.memory_image import checkpoint_requests, image_requests
from hw.work_counters import work_names

from .accelerator_bench import Job
from .harness import accelerator_design
from .verilator import RUNS, Design, run, shown

# Images whose event bound is computed at once; the model keeps all tensors of so many.
BOUND_BATCH = 50


def make_job(
    checkpoint: Checkpoint,
    widths: Widths,
    images: np.ndarray,
    *,
    result: Path,
    regime: str = "none",
    reset_after: int = 0,
) -> Job:
    """Frames for a checkpoint and images, and the logits the integer model expects."""
    preset = checkpoint.preset
    model = IntegerModel(checkpoint)
    logits = [
        row
        for start in range(0, len(images), BOUND_BATCH)
        for row in model.run(images[start : start + BOUND_BATCH], keep=False).logits.tolist()
    ]
    names = [layer.name for layer in model.layers]
    reads = [read_request(spaces.LOGITS, 0, preset.data.classes)]
    if preset.engine.counters:
        reads.append(read_request(spaces.COUNTERS, 0, 2 * len(names)))
    if work := work_names(preset):
        reads.append(read_request(spaces.WORK, 0, len(work)))
    return Job(
        regime=regime,
        load=checkpoint_requests(checkpoint, widths),
        images=[
            [*image_requests(image, preset, widths), run_request(), *reads] for image in images
        ],
        logits=logits,
        names=names,
        counters=preset.engine.counters,
        work=work,
        reset_after=reset_after,
        result=str(result.resolve()),
    )


def simulate(
    preset: Preset,
    checkpoint_file: Path | None = None,
    count: int | None = None,
    *,
    regime: str = "none",
    waves: bool = False,
    record: bool = True,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, float]:
    """Run test images on the Verilog that ``python -m hw verilog`` wrote.

    Parameters
    ----------
    preset, checkpoint_file : what was built; the shipped checkpoint by default
    count : first so many test images, all by default
    regime : who stalls
    waves : record a waveform
    record : write the figures to ``metrics.json``
    progress : is told each step

    Returns
    -------
    dict
        The ``rtl`` and ``sim`` figures.

    Raises
    ------
    SpecError
        If the Verilog is missing, is another preset's, or too narrow for the checkpoint.
    """
    built, widths = read_description(preset)
    if fingerprint(built, widths) != fingerprint(preset, widths):
        raise SpecError(
            f"{verilog_path(preset)} was built from another preset {preset.name}:"
            f" build it again with `make verilog PRESET={preset.name}`"
        )
    checkpoint = Checkpoint.load(checkpoint_file or checkpoint_path(preset), preset)
    images, labels = load_test_images(preset, count)
    name = f"{preset.name}-{regime}" if regime != "none" else preset.name
    folder = build_dir(preset.name) / "sim"
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / f"{name}.jsonl"
    result.unlink(missing_ok=True)
    job = make_job(checkpoint, widths, images, regime=regime, result=result)
    design = accelerator_design(verilog_path(preset).read_text())
    with Progress(result, len(images)):
        lines = play(design, job, f"accelerator-{name}", waves=waves, progress=progress)
    if found := difference(design, job, lines, f"accelerator-{name}"):
        progress(found)
    figures = _figures(lines, labels, IntegerModel(checkpoint), images)
    if record and regime == "none":
        write_metrics(preset.name, figures)
    return figures


def play(
    design: Design,
    job: Job,
    name: str,
    *,
    waves: bool = False,
    progress: Callable[[str], None] = lambda text: None,
) -> list[dict]:
    """Run a job on a design; one record for each image, see :mod:`sim.accelerator_bench`."""
    result = Path(job.result)
    result.unlink(missing_ok=True)
    with tempfile.NamedTemporaryFile(suffix=".job") as job_file:
        Path(job_file.name).write_bytes(pickle.dumps(job))
        run(
            design,
            "sim.accelerator_bench",
            name=name,
            environment={"JOB": job_file.name},
            waves=waves,
            waves_on_failure=False,
            progress=progress,
        )
    return [json.loads(line) for line in result.read_text().splitlines()]


def difference(design: Design, job: Job, lines: list[dict], name: str) -> str:
    """Name the first image that differs, and record a waveform of it alone; empty if none does."""
    wrong = next((line for line in lines if not line["equal"]), None)
    if wrong is None:
        return ""
    image, wanted = wrong["image"], job.logits[wrong["image"]]
    place = next(k for k, (a, b) in enumerate(zip(wrong["logits"], wanted, strict=True)) if a != b)
    alone = replace(job, images=[job.images[image]], logits=[wanted], reset_after=0)
    play(design, alone, name, waves=True)
    return (
        f"{name}: image {image}, logit {place} is {wrong['logits'][place]},"
        f" must be {wanted[place]}; {wrong['cycles']} cycles;"
        f" waveform {shown(RUNS / name / 'dump.vcd')}"
    )


def report(figures: dict[str, float]) -> str:
    """One paragraph for people."""
    return (
        f"{figures['rtl.images']:.0f} images, {figures['rtl.mismatches']:.0f} mismatches;"
        f" accuracy {figures['rtl.accuracy']:.2f} %;"
        f" {figures['rtl.cycles_per_image']:.0f} cycles an image,"
        f" {figures['rtl.cycles_over_bound']:.3f} x the event bound;"
        f" simulated at {figures['sim.cycles_per_second'] / 1000:.0f}k cycles/s"
    )


def mean_bound(model: IntegerModel, images: np.ndarray) -> float:
    """Event bound in cycles, mean over images."""
    parts = np.array_split(images, -(-len(images) // BOUND_BATCH))
    bounds = [event_bound(count_layers(model.run(part), model.preset)) for part in parts]
    return float(np.average(bounds, weights=[len(part) for part in parts]))


def _figures(
    lines: list[dict], labels: np.ndarray, model: IntegerModel, images: np.ndarray
) -> dict[str, float]:
    cycles = np.array([line["cycles"] for line in lines], dtype=float)
    answers = np.array([int(np.argmax(line["logits"])) for line in lines])
    bound = mean_bound(model, images)
    spent = sum(line["simulated"] for line in lines) / sum(line["seconds"] for line in lines)
    return {
        "rtl.images": len(lines),
        "rtl.mismatches": sum(not line["equal"] for line in lines),
        "rtl.accuracy": 100.0 * float(np.mean(answers == labels)),
        "rtl.cycles_per_image": float(cycles.mean()),
        "rtl.event_bound_cycles": bound,
        "rtl.cycles_over_bound": float(cycles.mean() / bound),
        "rtl.images_per_mcycle": 1e6 / float(cycles.mean()),
        "sim.cycles_per_second": spent,
    }


class Progress:
    """Bar over the lines of a growing result file, a line for each of ``total`` units."""

    def __init__(self, path: Path, total: int, unit: str = "image") -> None:
        self._path, self._total, self._unit = path, total, unit
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        # The file appears once the model is built and the checkpoint loaded.
        while not self._path.is_file():
            if self._end.wait(0.2):
                return
        with tqdm(total=self._total, desc="RTL", unit=self._unit) as bar:
            while True:
                ended = self._end.wait(0.5)
                bar.update(self._path.read_bytes().count(b"\n") - bar.n)
                if ended:
                    return
