"""``python -m synth``: a preset's accelerator mapped to ECP5, and the proof of it."""

from pathlib import Path
from typing import Annotated

import typer

from golden.cli import friendly_errors
from golden.spec import load_preset
from hw.__main__ import find_checkpoint

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
PresetName = Annotated[str, typer.Option("--preset", help="Name in presets/, or a .toml file.")]
CheckpointFile = Annotated[Path | None, typer.Option(help="Default: the shipped one.")]


@app.command()
@friendly_errors
def netlist(preset: PresetName = "tiny", checkpoint: CheckpointFile = None) -> None:
    """Write the mapped netlist with models of its cells, for `python -m sim gates`."""
    from .netlist import write_netlist

    spec = load_preset(preset)
    print(f"wrote {write_netlist(spec, find_checkpoint(spec, checkpoint))}")


@app.command()
@friendly_errors
def equivalence(
    preset: PresetName = "tiny",
    checkpoint: CheckpointFile = None,
    block: Annotated[list[str] | None, typer.Option(help="Prove these alone.")] = None,
) -> None:
    """Prove the mapped netlist of every block equal to its RTL; status 1 if it is not."""
    from .equivalence import prove_preset

    spec = load_preset(preset)
    proofs = []
    for proof in prove_preset(spec, find_checkpoint(spec, checkpoint), block):
        proofs.append(proof)
        print(f"{proof.block:14} {proof.proven:6} bits proven, {len(proof.unproven)} not")
        for name in proof.unproven:
            print(f"  {name}")
    unproven = sum(len(proof.unproven) for proof in proofs)
    print(f"{len(proofs)} blocks, {unproven} unproven")
    raise typer.Exit(1 if unproven else 0)


if __name__ == "__main__":
    app()
