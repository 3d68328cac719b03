"""Whole networks on a netlist of gates: the same images, the same bits."""

from collections.abc import Callable, Sequence
from pathlib import Path

from golden.checkpoint import Checkpoint, checkpoint_path
from golden.data import load_test_images
from golden.metrics import build_dir
from golden.ranges import built_widths
from golden.spec import Preset, SpecError

from .accelerator import make_job, play
from .harness import accelerator_design
from .verilator import Flags

# The model lives for some ten thousand cycles: what counts is that it compiles quickly. Flip-flops
# and memories start with anything.
# Bits of one vector may depend on each other, which is no loop.
FLAGS = Flags(
    ("--timing", "--x-initial", "unique", "-Wno-PINMISSING", "-Wno-UNOPTFLAT"), ("OPT_FAST=-O0",)
)


def simulate_gates(
    preset: Preset,
    files: Sequence[Path],
    count: int,
    checkpoint_file: Path | None = None,
    *,
    progress: Callable[[str], None] = lambda text: None,
) -> list[dict]:
    """Classify test images on a netlist.

    Parameters
    ----------
    preset, checkpoint_file : what was synthesised; the shipped checkpoint by default
    files : Verilog whose top module is ``accelerator``, with a model of each cell
    count : first so many test images

    Returns
    -------
    list
        A record for each image; ``equal`` says whether its logits are the integer model's.

    Raises
    ------
    SpecError
        If a file is missing.
    """
    for path in files:
        if not path.is_file():
            raise SpecError(f"no {path}: give the netlist's Verilog and its cells'")
    checkpoint = Checkpoint.load(checkpoint_file or checkpoint_path(preset), preset)
    images, _ = load_test_images(preset, count)
    folder = build_dir(preset.name) / "sim"
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / "gates.jsonl"
    job = make_job(checkpoint, built_widths(preset, checkpoint), images, result=result)
    design = accelerator_design("\n".join(path.read_text() for path in files), FLAGS)
    return play(design, job, f"gates-{preset.name}", progress=progress)
