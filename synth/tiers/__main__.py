"""``python -m synth.tiers``: cut netlists into tiers for 3D stacking."""

from pathlib import Path
from typing import Annotated

import typer

from golden.cli import friendly_errors

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.callback()
def main() -> None:
    """Cut netlists into tiers for 3D stacking."""


@app.command()
@friendly_errors
def partition(
    graph: Annotated[Path, typer.Argument(help="Hypergraph in hMETIS' form.")],
    fix: Annotated[Path | None, typer.Option(help="Part of each vertex, -1 for free.")] = None,
    parts: Annotated[int, typer.Option(min=2)] = 2,
    imbalance: Annotated[float, typer.Option(help="hMETIS' UB: points around 1 / parts.")] = 2.0,
    tries: Annotated[int, typer.Option(min=1, help="Starts from scratch.")] = 4,
    out: Annotated[Path | None, typer.Option(help="Default: GRAPH.part.PARTS")] = None,
) -> None:
    """Partition any hypergraph; writes the part of each vertex, a line each."""
    from .hypergraph import read_hgr, read_labels, write_labels
    from .partition import Bounds
    from .partition import partition as cut

    read = read_hgr(graph)
    fixed = None if fix is None else read_labels(fix, read.vertices, low=-1, high=parts - 1)
    bounds = Bounds.of_imbalance(imbalance, parts)
    labels = cut(read, bounds, fixed=fixed, tries=tries, progress=True)
    path = out or graph.with_name(f"{graph.name}.part.{parts}")
    write_labels(labels, path)
    shares = 100 * read.part_weights(labels, parts) / read.total_weight
    print(f"wrote {path}: cut {read.cut(labels)}, {', '.join(f'{s:.2f} %' for s in shares)}")


if __name__ == "__main__":
    app()
