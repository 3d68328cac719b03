"""``python -m synth.fpga``: bitstreams of a preset for a board, and how fast they are."""

from pathlib import Path
from typing import Annotated

import typer

from golden.cli import friendly_errors
from golden.spec import GROWTH_LANES, load_preset
from hw.__main__ import find_checkpoint

from .boards import BOARDS, find_board

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
PresetName = Annotated[str, typer.Option("--preset", help="Name in presets/, or a .toml file.")]
BoardName = Annotated[str, typer.Option("--board", help="Name from `list`.")]
CheckpointFile = Annotated[Path | None, typer.Option(help="Default: the shipped one.")]


@app.command()
@friendly_errors
def build(
    preset: PresetName = "tiny",
    board: BoardName = "ulx3s-85f",
    checkpoint: CheckpointFile = None,
    mhz: Annotated[float | None, typer.Option(help="Clock; default: the board's.")] = None,
    baud: Annotated[int | None, typer.Option(help="Default: the fastest possible.")] = None,
    seed: Annotated[int, typer.Option(help="Of the placement.")] = 1,
    write: Annotated[bool, typer.Option("--program", help="Program the board with it.")] = False,
) -> None:
    """Build the bitstream of a preset for a board, to build/<preset>/fpga/<board>/."""
    from .flow import Options, bitstream_path, build_bitstream, summary
    from .tools import program

    where, spec = find_board(board), load_preset(preset)
    options = Options(mhz, baud, seed)
    report = build_bitstream(spec, find_checkpoint(spec, checkpoint), where, options)
    print(summary(report))
    path = bitstream_path(spec, where)
    print(f"wrote {path}, {path.stat().st_size} bytes, in {sum(report['seconds'].values()):.0f} s")
    if write:
        program(where.programmer, path)
    else:
        print(f"program it with `{where.programmer} {path}`; host at {report['baud']} baud")


@app.command("program")
@friendly_errors
def write_board(
    preset: PresetName = "tiny",
    board: BoardName = "ulx3s-85f",
    flash: Annotated[
        bool, typer.Option("--flash", help="Write the flash, which some boards always do.")
    ] = False,
) -> None:
    """Program a board with the bitstream that was built last."""
    from .flow import built_bitstream
    from .tools import program

    where, spec = find_board(board), load_preset(preset)
    path, report = built_bitstream(spec, where)
    command, memory = where.programmer, "flash"
    if where.flash_option and flash:
        command += f" {where.flash_option}"
    elif where.flash_option:
        memory = "SRAM, until power-off; --flash keeps it"
    # Before anything that the programmer prints.
    print(
        f"{report['preset']} for {report['board']} at {report['clock_mhz']:g} MHz,"
        f" {report['baud']} baud: {path} to {memory}",
        flush=True,
    )
    program(command, path)


@app.command("list")
def list_boards() -> None:
    """List the boards."""
    for board in BOARDS.values():
        device = board.device
        print(
            f"{board.name:20} {device.name:10} {device.lut4:6} LUT4 {device.bram:4} block RAMs"
            f" {board.mhz:3g} MHz  {board.notes}"
        )


@app.command("compare-cpu")
@friendly_errors
def compare_cpu(
    preset: PresetName = "base",
    board: BoardName = "ulx3s-85f",
    checkpoint: CheckpointFile = None,
    seconds: Annotated[float, typer.Option(help="Of each measurement.", min=0.1)] = 5.0,
) -> None:
    """Measure PyTorch's images a second on this computer, and compare with the board's."""
    from .cpu import compare

    spec = load_preset(preset)
    print(compare(spec, find_checkpoint(spec, checkpoint), find_board(board), seconds))


@app.command()
@friendly_errors
def growth(
    preset: PresetName = "base",
    board: BoardName = "ulx3s-85f",
    checkpoint: CheckpointFile = None,
    lanes: Annotated[list[int] | None, typer.Option(help="May be given again.", min=1)] = None,
) -> None:
    """Route engines of several sizes; write docs/growth.md and its plot."""
    from .growth import measure, write_page

    where, spec = find_board(board), load_preset(preset)
    sizes = measure(spec, find_checkpoint(spec, checkpoint), where, lanes or GROWTH_LANES)
    write_page(spec, where, sizes)


@app.command()
@friendly_errors
def blocks() -> None:
    """Measure LUTs of the synaptic array and the neuron array; goes to the metrics of base."""
    from .blocks import measure

    for name, value in measure(load_preset("base")).items():
        print(f"{name} {value:.2f}")


if __name__ == "__main__":
    app()
