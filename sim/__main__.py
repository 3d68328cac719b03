"""Commands: ``python -m sim list``, ``block NAME`` and ``run --preset P``."""

from pathlib import Path

import typer

from golden.cli import friendly_errors
from golden.spec import load_preset

from . import verilator
from .matrix import run_bench

app = typer.Typer(add_completion=False, help="Simulate blocks on Verilator against golden vectors.")


@app.command("list")
def list_blocks() -> None:
    """Name the blocks that have a bench."""
    from .blocks import BLOCKS

    for name, bench in sorted(BLOCKS.items()):
        typer.echo(f"{name:24} {len(bench.configurations)} configurations")


@app.command()
def block(
    name: str,
    waves: bool = typer.Option(False, help="Record waveforms."),
    seed: int = typer.Option(None, help="Seed of vectors and stalls; else the variable SEED."),
) -> None:
    """Test a block in all its configurations and stall regimes."""
    from .blocks import BLOCKS

    if name not in BLOCKS:
        raise _stop(f"no block {name}: known are {', '.join(sorted(BLOCKS))}")
    waves = waves or verilator.waves_from_environment()
    try:
        outcome = run_bench(name, BLOCKS[name], seed=seed, waves=waves, progress=typer.echo)
    except verilator.SimulationError as error:
        raise _stop(str(error)) from None
    tests = f"{len(outcome.tests)} tests passed in {outcome.seconds:.1f} s"
    wave = f", waveform {verilator.shown(outcome.directory / 'dump.vcd')}" if waves else ""
    typer.echo(f"{name}: {tests}, seed {outcome.seed}{wave}")


@app.command("run")
@friendly_errors
def run_accelerator(
    preset: str = typer.Option("tiny", help="Name in presets/, or a .toml file."),
    images: int = typer.Option(None, help="First so many test images; all by default."),
    checkpoint: Path = typer.Option(None, help="Checkpoint; the shipped one by default."),
    regime: str = typer.Option("none", help="Who stalls: none, source, sink or both."),
    waves: bool = typer.Option(False, help="Record a waveform (slow; take few images)."),
) -> None:
    """Classify test images on the whole accelerator and compare with the integer model."""
    from .accelerator import report, simulate

    spec = load_preset(preset)
    waves = waves or verilator.waves_from_environment()
    try:
        figures = simulate(
            spec, checkpoint, images, regime=regime, waves=waves, progress=typer.echo
        )
    except verilator.SimulationError as error:
        raise _stop(str(error)) from None
    typer.echo(report(figures))
    if figures["rtl.mismatches"]:
        raise _stop(f"{figures['rtl.mismatches']} images differ from the integer model")


def _stop(message: str) -> typer.Exit:
    typer.echo(f"error: {message}", err=True)
    return typer.Exit(1)


if __name__ == "__main__":
    app()
