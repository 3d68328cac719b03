"""Whole networks in RTL against the integer model, for tests."""

from golden.ranges import built_widths
from hw.build import make_accelerator
from hw.verilog import generate
from sim.accelerator import difference, make_job, play
from sim.harness import accelerator_design
from sim.verilator import QUICK


def check_network(preset, checkpoint, images, name, tmp_path, flags=QUICK, platform=None, **how):
    """Run images and fail with the first difference, or return design, job and records."""
    widths = built_widths(preset, checkpoint)
    made = generate(make_accelerator(preset, widths), "accelerator", platform)
    assert made.multipliers == 0
    design = accelerator_design(made.text, flags)
    job = make_job(checkpoint, widths, images, result=tmp_path / "result.jsonl", **how)
    lines = play(design, job, name)
    assert not (found := difference(design, job, lines, name)), found
    assert len(lines) == len(images)
    return design, job, lines
