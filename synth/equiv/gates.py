"""Gate-level simulation: a netlist classifies images as the integer model does."""

from collections.abc import Callable, Sequence
from pathlib import Path

from golden.checkpoint import Checkpoint
from golden.data import load_test_images
from golden.ranges import built_widths
from sim.accelerator import make_job, play
from sim.harness import accelerator_design
from sim.verilator import Flags

# Gates are many and small: inlined and lightly optimised, a model builds in a minute or two.
# Flip-flops and memories start with random contents.
GATES = Flags(
    ("--timing", "-O3", "--x-initial", "unique", "-Wno-PINMISSING", "-Wno-DECLFILENAME"),
    ("OPT_FAST=-O1",),
)


def simulate_gates(
    sources: Sequence[str],
    checkpoint: Checkpoint,
    folder: Path,
    count: int,
    *,
    progress: Callable[[str], None] = lambda text: None,
) -> list[dict]:
    """Classify test images on a netlist whose top module is ``accelerator``.

    Parameters
    ----------
    sources : Verilog of the netlist and of its cells
    folder : for the results
    count : first so many test images

    Returns
    -------
    list
        A record for each image; ``equal`` says whether its logits are the integer model's.
    """
    preset = checkpoint.preset
    images, _ = load_test_images(preset, count)
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / "gates.jsonl"
    job = make_job(checkpoint, built_widths(preset, checkpoint), images, result=result)
    design = accelerator_design("\n".join(sources), GATES)
    return play(design, job, f"gates-{preset.name}", progress=progress)
