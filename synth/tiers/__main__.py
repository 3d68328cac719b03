"""``python -m synth.tiers``: cut netlists into tiers for 3D stacking."""

from pathlib import Path
from typing import Annotated

import typer

from golden.cli import friendly_errors
from golden.spec import SpecError

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.callback()
def main() -> None:
    """Cut netlists into tiers for 3D stacking."""


@app.command()
@friendly_errors
def partition(
    graph: Annotated[Path, typer.Argument(help="Hypergraph in hMETIS' form.")],
    fix: Annotated[Path | None, typer.Option(help="Part of each vertex, -1 for free.")] = None,
    parts: Annotated[int, typer.Option(min=2, help="Parts to cut it into.")] = 2,
    imbalance: Annotated[float, typer.Option(help="hMETIS' UB: points around 1 / parts.")] = 2.0,
    tries: Annotated[int, typer.Option(min=1, help="Starts from scratch.")] = 4,
    out: Annotated[Path | None, typer.Option(help="Default: GRAPH.part.PARTS")] = None,
) -> None:
    """Partition any hypergraph; writes the part of each vertex, a line each."""
    from .hypergraph import read_hgr, read_labels, write_labels
    from .partition import Bounds
    from .partition import partition as cut

    # With more, one part may hold everything as well.
    _check_percent("--imbalance", imbalance, 100 - 100 / parts)
    read = read_hgr(graph)
    fixed = None if fix is None else read_labels(fix, read.vertices, low=-1, high=parts - 1)
    bounds = Bounds.of_imbalance(imbalance, parts)
    labels = cut(read, bounds, fixed=fixed, tries=tries, progress=True)
    path = out or graph.with_name(f"{graph.name}.part.{parts}")
    write_labels(labels, path)
    shares = 100 * read.part_weights(labels, parts) / read.total_weight
    print(f"wrote {path}: cut {read.cut(labels)}, {', '.join(f'{s:.2f} %' for s in shares)}")


@app.command()
@friendly_errors
def build(
    preset: Annotated[str, typer.Option(help="Name in presets/, or a .toml file.")] = "tiny",
    style: Annotated[
        str, typer.Option(help="memory-on-logic, logic-on-logic, mincut or folded.")
    ] = "memory-on-logic",
    tiers: Annotated[int, typer.Option(min=2, help="Number of tiers; logic-on-logic has 2.")] = 2,
    low: Annotated[
        float | None,
        typer.Option(help="mincut: least share of the area on a tier, %; default: even, less 2."),
    ] = None,
    high: Annotated[
        float | None, typer.Option(help="mincut: greatest share, %; default: even, and 2 more.")
    ] = None,
    fix_memories: Annotated[bool, typer.Option(help="mincut: all memories on top.")] = False,
    critical: Annotated[int, typer.Option(min=1, help="mincut: weight of slow nets.")] = 1,
    pitch: Annotated[
        float | None, typer.Option(help="Between bonds, um; default: the preset's.")
    ] = None,
    utilisation: Annotated[
        float | None, typer.Option(help="Filled share of a tier, percent; default: the preset's.")
    ] = None,
) -> None:
    """Cut a synthesised preset into tiers; writes build/<preset>/tiers/<style>/ and figures."""
    from golden.spec import load_preset

    from .assign import Options
    from .build import Stacking
    from .build import build as build_stack

    even = 100 / tiers
    low, high = max(even - 2, 0) if low is None else low, even + 2 if high is None else high
    _check_percent("--low", low, 100)
    _check_percent("--high", high, 100)
    cut = Options(tiers, low / 100, high / 100, fix_memories, critical)
    spec = load_preset(preset)
    if pitch is not None:
        spec = spec.replace(asic__pitch_um=pitch)
    if utilisation is not None:
        spec = spec.replace(asic__utilisation=utilisation / 100)
    folder = build_stack(spec, Stacking(style, cut))
    print(f"wrote {folder}")


@app.command()
@friendly_errors
def prove(
    preset: Annotated[str, typer.Option(help="Name in presets/, or a .toml file.")] = "tiny",
    style: Annotated[str, typer.Option(help="Of a stack that was built.")] = "memory-on-logic",
) -> None:
    """Prove that the tiers and their top are the flat netlist; writes the figure."""
    from golden.spec import load_preset

    from .build import prove_style

    proof = prove_style(load_preset(preset), style)
    print(
        f"{style}: {proof.flip_flops} flip-flops, {proof.clock_gates} clock gates and"
        f" {proof.macros} macros proven equal,"
        f" {proof.points} signals in {proof.seconds:.0f} s"
    )


@app.command()
@friendly_errors
def check(
    preset: Annotated[str, typer.Option(help="Name in presets/, or a .toml file.")] = "tiny",
    style: Annotated[str, typer.Option(help="Of a stack that was built.")] = "memory-on-logic",
) -> None:
    """Read a built style's files with lefdef, KLayout and our own checkers; writes the figure."""
    from golden.metrics import write_metrics
    from golden.spec import load_preset

    from .build import tiers_dir
    from .checks import file_problems

    spec = load_preset(preset)
    problems = file_problems(tiers_dir(spec, style))
    write_metrics(spec.name, {f"tiers.{style}.file_problems": len(problems)})
    for problem in problems:
        print(problem)
    print(f"{style}: {len(problems)} complaints")
    if problems:
        raise typer.Exit(1)


@app.command("compare-cut")
@friendly_errors
def compare_cut(
    preset: Annotated[str, typer.Option(help="Name in presets/, or a .toml file.")] = "base",
    tries: Annotated[int, typer.Option(min=1, help="Starts, of which the best counts.")] = 5,
) -> None:
    """Cut of the style mincut beside Mt-KaHyPar's quality preset, from the files of that style."""
    import json

    from golden.metrics import write_metrics
    from golden.spec import load_preset

    from .build import tiers_dir
    from .hypergraph import read_hgr, read_labels
    from .partition import Bounds, quality_preset

    spec = load_preset(preset)
    folder = tiers_dir(spec, "mincut")
    file = folder / "hypergraph" / "netlist.hgr"
    if not file.is_file():
        raise SpecError(f"no {file}: build it with `make tiers PRESET={spec.name} STYLE=mincut`")
    graph = read_hgr(file)
    cut = json.loads((folder / "report.json").read_text())["options"]["cut"]
    fixed, own = (
        read_labels(file.with_name(f"{file.name}.{kind}"), graph.vertices, low=low, high=1)
        for kind, low in (("fix", -1), ("part.2", 0))
    )
    theirs = quality_preset(graph, Bounds(cut["low"], cut["high"]), fixed, tries=tries)
    ratio = graph.cut(own) / theirs
    write_metrics(spec.name, {"tiers.mincut.cut_over_quality": ratio})
    print(f"cut {graph.cut(own)}, best of {tries} of the quality preset {theirs}: {ratio:.3f}")


@app.command()
@friendly_errors
def graywolf(
    preset: Annotated[str, typer.Option(help="Name in presets/, or a .toml file.")] = "tiny",
    block: Annotated[str, typer.Option(help="Path of a block without memories.")] = "logits_sum",
) -> None:
    """Place a block with graywolf and with our placer on the same die; compare the wire."""
    from golden.metrics import write_metrics
    from golden.spec import load_preset

    from .build import load_design
    from .graywolf import block_of, compare

    spec = load_preset(preset)
    found = compare(block_of(load_design(spec), tuple(block.split("/"))))
    ratio = found["ours_um"] / found["graywolf_um"]
    write_metrics(spec.name, {"tiers.wire_over_graywolf": ratio})
    print(
        f"{block}: {found['cells']} cells on {found['die_um2']:.0f} um2, wire"
        f" {found['ours_um']:.0f} um, graywolf {found['graywolf_um']:.0f} um: {ratio:.3f}"
    )


def _check_percent(option: str, value: float, most: float) -> None:
    """Raise SpecError if an option has no number from 0 to ``most``."""
    if not 0 <= value <= most:
        raise SpecError(f"{option} is {value:g}: must be 0 to {most:g}")


if __name__ == "__main__":
    app()
