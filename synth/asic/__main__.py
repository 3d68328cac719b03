"""``python -m synth.asic``: a preset's accelerator in standard cells."""

from pathlib import Path
from typing import Annotated

import typer

from golden.cli import friendly_errors
from golden.spec import load_preset
from hw.__main__ import find_checkpoint

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.callback()
def main() -> None:
    """Standard cells."""


@app.command()
@friendly_errors
def synth(
    preset: Annotated[str, typer.Option(help="Name in presets/, or a .toml file.")] = "tiny",
    checkpoint: Annotated[Path | None, typer.Option(help="Default: the shipped one.")] = None,
) -> None:
    """Write netlist, Liberty, LEF and report to build/<preset>/asic/."""
    from .synthesis import synthesise

    spec = load_preset(preset)
    directory = synthesise(spec, find_checkpoint(spec, checkpoint))
    print(f"wrote {directory}")


if __name__ == "__main__":
    app()
