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
) -> None:
    """Write netlist, library and report to build/<preset>/asic/."""
    from .synthesis import Options, synthesise

    spec = load_preset(preset)
    options = Options(liberty, tuple(lef or ()))
    print(f"wrote {synthesise(spec, find_checkpoint(spec, checkpoint), options)}")


@app.command()
@friendly_errors
def activity(preset: PresetName = "tiny") -> None:
    """Count transitions on what `python -m sim record` recorded; compares flip-flops with it."""
    from .figures import measure_activity

    measured = measure_activity(load_preset(preset))
    toggles = measured.activity.toggles.values()
    print(
        f"{measured.compared} flip-flops equal to the RTL's in {measured.cycles} cycles;"
        f" {sum(toggles) / len(toggles):.3f} transitions a net and cycle"
    )


@app.command()
@friendly_errors
def power(
    preset: PresetName = "tiny",
    period: Annotated[
        float | None, typer.Option(help="Clock in ns; default: the shortest that works.")
    ] = None,
    opensta: Annotated[bool, typer.Option(help="Ask OpenSTA for slack and power too.")] = True,
) -> None:
    """Slack and power, with the activity measured before."""
    from .figures import measure_figures, report

    print(report(measure_figures(load_preset(preset), period, opensta=opensta)))


if __name__ == "__main__":
    app()
