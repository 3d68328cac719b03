"""What registers hold in every cycle of real images, for the activity of a netlist."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from golden.checkpoint import Checkpoint, checkpoint_path
from golden.data import load_test_images
from golden.ranges import built_widths
from golden.spec import Preset, SpecError

from .accelerator import make_job, play
from .harness import SOURCE, TOP
from .verilator import RUNS, Design, Flags

FLAGS = Flags(("--timing", "--x-initial", "fast"), ("OPT_FAST=-O1",))
# Signals that one call writes.
GROUP = 32
# Exchanges before the first image: a reset and the checkpoint.
BEFORE = 2
_WORD = re.compile(r"^(.*)\[(\d+)\]$")


def record(
    preset: Preset,
    folder: Path,
    count: int,
    checkpoint_file: Path | None = None,
    *,
    progress: Callable[[str], None] = lambda text: None,
) -> Path:
    """Run images on the RTL that was synthesised and record its registers.

    Parameters
    ----------
    preset, checkpoint_file : what was synthesised; the shipped checkpoint by default
    folder : with ``rtl.v``, ``cells.v`` and ``signals.json``, as `python -m synth.asic synth` made
        them; ``record.txt`` goes there: a line a cycle, from loading the first image on
    count : first so many test images

    Raises
    ------
    SpecError
        If a file is missing, or an image is not classified as the integer model does.
    """
    for name in ("rtl.v", "cells.v", "signals.json"):
        if not (folder / name).is_file():
            raise SpecError(f"no {folder / name}: make it with `python -m synth.asic synth`")
    checkpoint = Checkpoint.load(checkpoint_file or checkpoint_path(preset), preset)
    images, _ = load_test_images(preset, count)
    name = f"record-{preset.name}"
    output = RUNS / name / "record.txt"
    output.unlink(missing_ok=True)
    job = make_job(
        checkpoint, built_widths(preset, checkpoint), images, result=folder / "record.jsonl"
    )
    paths = json.loads((folder / "signals.json").read_text())
    texts = [(folder / file).read_text() for file in ("rtl.v", "cells.v")]
    design = Design(TOP, ("\n".join(texts), SOURCE.read_text(), recorder(paths)), FLAGS)
    lines = play(design, job, name, progress=progress)
    (folder / "record.jsonl").unlink()
    if wrong := [line["image"] for line in lines if not line["equal"]]:
        raise SpecError(f"image {wrong[0]} differs from the integer model on {folder / 'rtl.v'}")
    final = folder / "record.txt"
    output.replace(final)
    return final


def recorder(paths: Sequence[Sequence[str]]) -> str:
    """SystemVerilog that writes signals of ``harness.dut``, a line a cycle."""
    calls = []
    for start in range(0, len(paths), GROUP):
        group = paths[start : start + GROUP]
        end = " " if start + GROUP < len(paths) else "\\n"
        form = " ".join(["%h"] * len(group)) + end
        names = ",\n        ".join(_reference(path) for path in group)
        calls.append(f'      $fwrite(file, "{form}",\n        {names});')
    return "\n".join(
        [
            "module recorder;",
            "  int file, exchanges;",
            "  bit was;",
            '  initial file = $fopen("record.txt", "w");',
            "  always @(posedge harness.clk) begin",
            "    was <= harness.running;",
            "    if (harness.running && !was) exchanges <= exchanges + 1;",
            f"    if (harness.running && exchanges > {BEFORE}) begin",
            *calls,
            "    end",
            "  end",
            "endmodule",
            f"bind {TOP} recorder recorder_i ();",
            "",
        ]
    )


def _reference(path: Sequence[str]) -> str:
    """Name of a signal from outside; a row of a small memory is an element of it."""
    *blocks, own = path
    row = ""
    if match := _WORD.match(own):
        own, row = match[1], f"[{match[2]}]"
    return "harness.dut." + ".".join(f"\\{part} " for part in [*blocks, own]) + row
