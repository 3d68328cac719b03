"""The accelerator behind AXI ports in Verilator: a job for :mod:`sim.axi_bench`."""

import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from golden.checkpoint import Checkpoint
from golden.integer import IntegerModel
from golden.ranges import built_widths
from hw.axi_build import TOP
from hw.axi_top import AxiTop
from hw.memory_image import checkpoint_requests, image_requests
from hw.verilog import generate

from .axi_bench import AxiJob
from .verilator import BLOCK, Design, Outcome, run


def run_axi(
    checkpoint: Checkpoint,
    images: np.ndarray,
    *,
    progress: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Classify images through AXI ports, with stalls on every channel, and misuse the ports.

    Raises
    ------
    sim.verilator.SimulationError
        If a test fails.
    """
    preset = checkpoint.preset
    widths = built_widths(preset, checkpoint)
    top = AxiTop(preset, widths)
    job = AxiJob(
        map=top.map,
        fingerprint=top.fingerprint,
        load=checkpoint_requests(checkpoint, widths),
        images=[image_requests(image, preset, widths) for image in images],
        logits=IntegerModel(checkpoint).run(images, keep=False).logits.tolist(),
    )
    with tempfile.NamedTemporaryFile(suffix=".job") as job_file:
        Path(job_file.name).write_bytes(pickle.dumps(job))
        return run(
            Design(TOP, (generate(top, TOP).text,), BLOCK),
            "sim.axi_bench",
            name=f"axi-{preset.name}",
            environment={"JOB": job_file.name},
            waves_on_failure=False,
            progress=progress,
        )
