"""``python -m hw``: Verilog of a preset, or of one block of it."""

from pathlib import Path
from typing import Annotated

import typer

from golden.checkpoint import Checkpoint, checkpoint_path
from golden.cli import friendly_errors
from golden.files import whole_file
from golden.metrics import read_metrics, write_metrics
from golden.spec import Preset, SpecError, load_preset

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
PresetName = Annotated[str, typer.Option("--preset", help="Name in presets/, or a .toml file.")]


def find_checkpoint(preset: Preset, path: Path | None) -> Checkpoint | None:
    """Load the checkpoint given, or the shipped one if the preset derives widths from it."""
    if path is None and preset.engine.widths == "format":
        return None
    return Checkpoint.load(path or checkpoint_path(preset), preset)


@app.callback()
def main() -> None:
    """Generate hardware."""


@app.command()
@friendly_errors
def verilog(
    preset: PresetName = "tiny",
    checkpoint: Annotated[Path | None, typer.Option(help="Default: the shipped one.")] = None,
    block: Annotated[str | None, typer.Option(help="Write this block alone.")] = None,
) -> None:
    """Write the accelerator's Verilog and its JSON to build/<preset>/."""
    from .build import build_verilog, make_accelerator, verilog_path
    from .verilog import generate

    spec = load_preset(preset)
    if block is None:
        path = build_verilog(spec, find_checkpoint(spec, checkpoint))
        figures = read_metrics(spec.name)
        print(
            f"wrote {path}: {figures['verilog.bytes'] / 1000:.0f} kB"
            f" in {figures['verilog.seconds']:.1f} s,"
            f" {figures['rtl.multipliers']:.0f} multiplication cells"
        )
        return
    from golden.ranges import built_widths

    from .accelerator import blocks

    known = blocks(spec)
    if block not in known:
        raise SpecError(f"no block {block}: known are {', '.join(known)}")
    widths = built_widths(spec, find_checkpoint(spec, checkpoint))
    component = make_accelerator(spec, widths)
    for name in known[block]:
        component = getattr(component.elaborate(None).submodules, name)
    path = verilog_path(spec).with_name(f"{block}.v")
    with whole_file(path) as partial:
        partial.write_text(generate(component, block).text)
    print(f"wrote {path}")


@app.command("attention-memory")
@friendly_errors
def attention_memory(
    preset: PresetName = "base",
    table: Annotated[bool, typer.Option(help="Shapes of the table in the docs as well.")] = False,
) -> None:
    """Bits that LRF-Dyn, K^T V and attention maps store, read from netlists of the cores."""
    from tqdm import tqdm

    from .attention_memory import TABLE_HEAD, attention_storage, table_presets, table_row

    spec = load_preset(preset)
    shapes = [spec, *(table_presets(spec) if table else ())]
    found = [attention_storage(shape) for shape in tqdm(shapes, desc="netlists", unit="shape")]
    write_metrics(spec.name, found[0].metrics)
    print(f"kbit in netlists of the attention, T = {spec.network.time_steps}:")
    print(TABLE_HEAD)
    for storage in found:
        print(table_row(storage))


@app.command()
@friendly_errors
def axi(
    preset: PresetName = "tiny",
    checkpoint: Annotated[Path | None, typer.Option(help="Default: the shipped one.")] = None,
) -> None:
    """Write the accelerator with AXI ports, its register map and FuseSoC core."""
    from .axi_build import build_axi

    spec = load_preset(preset)
    print(f"wrote {build_axi(spec, find_checkpoint(spec, checkpoint))}")


if __name__ == "__main__":
    app()
