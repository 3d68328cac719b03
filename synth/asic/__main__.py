"""``python -m synth.asic``: a preset's accelerator in standard cells, its timing and power."""

from pathlib import Path
from typing import Annotated

import typer

from golden.cli import friendly_errors
from golden.spec import load_preset
from hw.__main__ import find_checkpoint

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
PresetName = Annotated[str, typer.Option("--preset", help="Name in presets/, or a .toml file.")]


@app.callback()
def main() -> None:
    """Standard cells."""


@app.command()
@friendly_errors
def synth(
    preset: PresetName = "tiny",
    checkpoint: Annotated[Path | None, typer.Option(help="Default: the shipped one.")] = None,
    liberty: Annotated[Path | None, typer.Option(help="Default: the embedded cells.")] = None,
    lef: Annotated[list[Path] | None, typer.Option(help="Site and macros of --liberty.")] = None,
    flop_bits: Annotated[int, typer.Option(help="Memories up to this are flip-flops.")] = 256,
    bank_rows: Annotated[int, typer.Option(help="Deepest macro, a power of two.")] = 512,
    bank_bits: Annotated[int, typer.Option(help="Widest macro.")] = 256,
    fanout: Annotated[int, typer.Option(help="Loads of a net before buffers.", min=2)] = 24,
) -> None:
    """Write netlist, library and report to build/<preset>/asic/."""
    from .synthesis import Options, synthesise

    spec = load_preset(preset)
    options = Options(liberty, tuple(lef or ()), flop_bits, bank_rows, bank_bits, fanout)
    print(f"wrote {synthesise(spec, find_checkpoint(spec, checkpoint), options)}")


@app.command()
@friendly_errors
def power(
    preset: PresetName = "tiny",
    period: Annotated[
        float | None, typer.Option(help="Clock in ns; default: the shortest that works.")
    ] = None,
    opensta: Annotated[bool, typer.Option(help="Ask OpenSTA for slack and power too.")] = True,
) -> None:
    """Slack and power with the activity that `python -m sim record` recorded."""
    from .figures import measure_figures, report

    print(report(measure_figures(load_preset(preset), period, opensta=opensta)))


if __name__ == "__main__":
    app()
