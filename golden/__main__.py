"""``python -m golden``: train, evaluate and compare networks."""

from pathlib import Path
from typing import Annotated

import typer

from .cli import friendly_errors
from .spec import SpecError, load_preset

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
PresetName = Annotated[str, typer.Option("--preset", help="Name in presets/, or a .toml file.")]


@app.command()
@friendly_errors
def train(
    preset: PresetName = "tiny",
    out: Annotated[Path | None, typer.Option(help="Checkpoint to write.")] = None,
    compiled: Annotated[
        bool | None, typer.Option(help="Compile the network; by default for large data sets.")
    ] = None,
) -> None:
    """Train a preset and export its integers; resumes where an earlier run was stopped."""
    from .train import Run, finish

    spec = load_preset(preset)
    large = spec.data.dataset == "fashion-mnist"
    run = Run(spec, Path("build") / spec.name, compiled=large if compiled is None else compiled)
    finish(run, out)


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
    """Train every kind of attention alike, three seeds each; resumes where it was stopped."""
    from .compare import compare_attention

    compare_attention(out)


@app.command()
@friendly_errors
def metrics(preset: PresetName = "tiny") -> None:
    """Print the figures measured so far as a table."""
    from .metrics import read_metrics

    figures = read_metrics(load_preset(preset).name)
    if not figures:
        raise SpecError(f"nothing measured yet for {preset}: run `make PRESET={preset}`")
    for name, value in figures.items():
        print(f"{name:32}{value:>16,.3f}".removesuffix(".000"))


if __name__ == "__main__":
    app()
