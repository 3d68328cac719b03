"""``python -m golden``: train, evaluate and compare networks."""

from pathlib import Path
from typing import Annotated

import typer

from .cli import friendly_errors
from .metrics import build_dir, read_metrics, write_metrics
from .spec import SpecError, load_preset

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
PresetName = Annotated[str, typer.Option("--preset", help="Name in presets/, or a .toml file.")]


@app.command()
@friendly_errors
def train(
    preset: PresetName = "tiny",
    out: Annotated[Path | None, typer.Option(help="Checkpoint to write.")] = None,
    compiled: Annotated[
        bool | None, typer.Option(help="Compile the network; by default for 5,000 images or more.")
    ] = None,
) -> None:
    """Train a preset and export its integers; resumes where an earlier run was stopped."""
    from .train import Run, finish

    spec = load_preset(preset)
    finish(Run(spec, build_dir(spec.name), compiled=compiled), out)


@app.command()
@friendly_errors
def evaluate(
    preset: PresetName = "tiny",
    checkpoint: Annotated[Path | None, typer.Option(help="Default: the shipped one.")] = None,
    limit: Annotated[int | None, typer.Option(help="First so many test images.")] = None,
) -> None:
    """Run the integer model on test images and write its figures to metrics.json."""
    from .evaluate import evaluate_preset

    evaluate_preset(load_preset(preset), checkpoint, limit)


@app.command()
@friendly_errors
def compare(
    out: Annotated[Path, typer.Option(help="Page to write.")] = Path("docs/comparison.md"),
) -> None:
    """Train kinds of attention and experts alike, three seeds each; resumes where stopped."""
    from .compare import compare_attention

    compare_attention(out)


@app.command()
@friendly_errors
def sdt(
    inputs: Annotated[int, typer.Option(min=1, help="Random inputs.")] = 10_000,
) -> None:
    """Compare LRF-Dyn with SpikingJelly's spike-driven attention, where the two must be equal."""
    from .sdt import compare_with_sdt, degenerate_preset

    figures = compare_with_sdt(inputs)
    write_metrics(degenerate_preset().name, figures)
    for name, value in figures.items():
        print(f"{name:28}{value:>16.3f}")
    if figures["attention.sdt_mismatches"]:
        raise SystemExit(1)


@app.command()
@friendly_errors
def metrics(preset: PresetName = "tiny") -> None:
    """Print the figures measured so far as a table."""
    figures = read_metrics(load_preset(preset).name)
    if not figures:
        raise SpecError(f"nothing measured yet for {preset}: run `make PRESET={preset}`")
    for name, value in figures.items():
        shown = value if isinstance(value, str) else f"{value:,.3f}".removesuffix(".000")
        print(f"{name:32}{shown:>16}")


if __name__ == "__main__":
    app()
