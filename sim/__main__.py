"""``python -m sim``: blocks, whole networks and netlists in simulation, and what they measure."""

import functools
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from golden.cli import friendly_errors
from golden.metrics import build_dir, write_metrics
from golden.spec import GROWTH_LANES, load_preset
from hw.uart_top import FASTEST_DIVISOR, SLOWEST_DIVISOR

from . import verilator
from .matrix import run_bench

# Tokens for which the latency of causal attention is measured.
CAUSAL_TOKENS = (4, 9, 16)

app = typer.Typer(add_completion=False, help="Simulate blocks on Verilator against golden vectors.")


def simulates(command: Callable) -> Callable:
    """Turn a simulation that fails into one line and exit status 1, and other errors as usual."""

    @functools.wraps(command)
    def wrapped(*args, **kwargs):
        try:
            return command(*args, **kwargs)
        except verilator.SimulationError as error:
            raise _stop(str(error)) from None

    return friendly_errors(wrapped)


@app.command("list")
def list_blocks() -> None:
    """Name the blocks that have a bench."""
    from .blocks import BLOCKS

    for name, bench in sorted(BLOCKS.items()):
        typer.echo(f"{name:24} {len(bench.configurations)} configurations")


@app.command()
@simulates
def block(
    name: Annotated[str, typer.Argument(help="Name from `list`.")],
    waves: bool = typer.Option(False, help="Record waveforms."),
    seed: int = typer.Option(None, help="Seed of vectors and stalls; else the variable SEED."),
) -> None:
    """Test a block in all its configurations and stall regimes."""
    from .blocks import BLOCKS

    if name not in BLOCKS:
        raise _stop(f"no block {name}: known are {', '.join(sorted(BLOCKS))}")
    waves = waves or verilator.waves_from_environment()
    outcome = run_bench(name, BLOCKS[name], seed=seed, waves=waves, progress=typer.echo)
    tests = f"{len(outcome.tests)} tests passed in {outcome.seconds:.1f} s"
    wave = f", waveform {verilator.shown(outcome.directory / 'dump.vcd')}" if waves else ""
    typer.echo(f"{name}: {tests}, seed {outcome.seed}{wave}")


@app.command("run")
@simulates
def run_accelerator(
    preset: Annotated[str, typer.Option(help="Name in presets/, or a .toml file.")] = "tiny",
    images: Annotated[int | None, typer.Option(help="First so many test images.", min=1)] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Default: the shipped one.")] = None,
    regime: Annotated[str, typer.Option(help="Who stalls: none, source, sink, both.")] = "none",
    waves: Annotated[bool, typer.Option(help="Record a waveform; take few images.")] = False,
) -> None:
    """Classify test images on the whole accelerator and compare with the integer model."""
    from .accelerator import report, simulate

    spec = load_preset(preset)
    waves = waves or verilator.waves_from_environment()
    figures = simulate(spec, checkpoint, images, regime=regime, waves=waves, progress=typer.echo)
    typer.echo(report(figures))
    _demand_equal(figures["rtl.mismatches"])


@app.command("tiles")
@simulates
def compare_tiles(
    preset: Annotated[str, typer.Option(help="Name in presets/, or a .toml file.")] = "base",
    tiles: Annotated[int, typer.Option(help="Tiles to compare with one.")] = 4,
    lanes: Annotated[int, typer.Option(help="Lanes of a tile.", min=1)] = 8,
    neuron_lanes: Annotated[int, typer.Option(help="Neuron lanes of a tile.", min=1)] = 4,
    images: Annotated[int, typer.Option(help="First so many test images.", min=1)] = 20,
) -> None:
    """Measure several tiles against one of the same kind, on the same images."""
    from .cycles import compare, report

    figures = compare(
        load_preset(preset),
        tiles=tiles,
        lanes=lanes,
        neuron_lanes=neuron_lanes,
        count=images,
        progress=typer.echo,
    )
    typer.echo(report(figures, tiles))
    _demand_equal(figures["tiles.mismatches"])


@app.command("heads")
@simulates
def compare_heads(
    preset: Annotated[str, typer.Option(help="Name in presets/, or a .toml file.")] = "base-d3",
    images: Annotated[int, typer.Option(help="First so many test images.", min=1)] = 20,
) -> None:
    """Measure a network with pruned heads against all heads, on the same images."""
    from .cycles import prune

    figures = prune(load_preset(preset), count=images, progress=typer.echo)
    for name, value in figures.items():
        typer.echo(f"{name:40}{value:8.3f}")
    _demand_equal(figures["d3.mismatches"])


@app.command("dispatch")
@simulates
def soak_dispatcher(
    preset: Annotated[str, typer.Option(help="Whose metrics get the figures.")] = "base-moe",
    tokens: Annotated[int, typer.Option(help="Random tokens, at least so many.", min=1)] = 100_000,
    tiles: Annotated[int, typer.Option(help="1, 2, 4 or 8.")] = 4,
    experts: Annotated[int, typer.Option(help="Of all tiles: 1, 2, 4 or 8.")] = 8,
    steps: Annotated[int, typer.Option(help="Time steps of a route: 1 or 2.")] = 2,
) -> None:
    """Send tokens through dispatcher, queues and merges with experts that take random times."""
    from .dispatch_soak import Shape
    from .soak import soak

    shape = Shape(tiles=tiles, experts=experts, steps=steps)
    found = soak(load_preset(preset).name, tokens, shape=shape, progress=typer.echo)
    typer.echo(
        f"{found['tokens']} tokens to {experts} experts on {tiles} tiles, {found['served']} jobs:"
        f" {found['lost']} lost, {found['doubled']} doubled, {found['wrong']} wrong"
    )
    if found["lost"] or found["doubled"] or found["wrong"]:
        raise _stop("the dispatcher does not keep its tokens")


@app.command("gates")
@simulates
def run_gates(
    files: Annotated[list[Path], typer.Argument(help="Verilog: netlist, top, models of cells.")],
    preset: Annotated[str, typer.Option(help="Name in presets/, or a .toml file.")] = "tiny",
    images: Annotated[int, typer.Option(help="First so many test images.", min=1)] = 3,
    checkpoint: Annotated[Path | None, typer.Option(help="Default: the shipped one.")] = None,
    record: Annotated[str | None, typer.Option(help="Name of the result in the metrics.")] = None,
) -> None:
    """Classify test images on a netlist of gates, flat or in tiers."""
    from .gates import simulate_gates

    lines = simulate_gates(load_preset(preset), files, images, checkpoint, progress=typer.echo)
    wrong = sum(not line["equal"] for line in lines)
    if record:
        found = {f"{record}.images": len(lines), f"{record}.mismatches": wrong}
        write_metrics(load_preset(preset).name, found)
    typer.echo(f"{len(lines)} images on {files[0]}, {wrong} mismatches")
    _demand_equal(wrong)


@app.command("lanes")
@simulates
def count_lanes(
    preset: Annotated[str, typer.Option(help="Name in presets/, or a .toml file.")] = "base",
    lanes: Annotated[list[int] | None, typer.Option(help="May be given again.", min=1)] = None,
    images: Annotated[int, typer.Option(help="First so many test images.", min=1)] = 5,
) -> None:
    """Measure the cycles of an image on engines of 4 to 64 lanes, for `synth.fpga growth`."""
    from .growth import cycles_of_lanes

    figures = cycles_of_lanes(load_preset(preset), lanes or GROWTH_LANES, images, typer.echo)
    _demand_equal(sum(value for name, value in figures.items() if name.endswith(".mismatches")))


@app.command("axi")
@simulates
def run_axi_ports(
    preset: Annotated[str, typer.Option(help="Name in presets/, or a .toml file.")] = "tiny",
    images: Annotated[int, typer.Option(help="First so many test images.", min=1)] = 3,
    checkpoint: Annotated[Path | None, typer.Option(help="Default: the shipped one.")] = None,
) -> None:
    """Classify test images through AXI ports, with stalls on every channel, and misuse them."""
    from golden.checkpoint import Checkpoint, checkpoint_path
    from golden.data import load_test_images

    from .axi import run_axi

    spec = load_preset(preset)
    trained = Checkpoint.load(checkpoint or checkpoint_path(spec), spec)
    outcome = run_axi(trained, load_test_images(spec, images)[0], progress=typer.echo)
    typer.echo(f"{len(outcome.tests)} tests with {images} images passed in {outcome.seconds:.0f} s")


@app.command("attention")
@simulates
def attention_cycles(
    preset: Annotated[str, typer.Option(help="Name in presets/, or a .toml file.")] = "base-lrf",
    images: Annotated[int, typer.Option(help="First so many test images.", min=1)] = 2,
    checkpoint: Annotated[Path | None, typer.Option(help="Default: the shipped one.")] = None,
) -> None:
    """Measure the cycles that a local branch adds, and the latency of causal attention."""
    from golden.checkpoint import Checkpoint, checkpoint_path
    from golden.metrics import write_metrics

    from .attention_cycles import causal_latency, local_extra_cycles

    spec = load_preset(preset)
    figures = local_extra_cycles(Checkpoint.load(checkpoint or checkpoint_path(spec), spec), images)
    latency = {tokens: causal_latency(spec, tokens) for tokens in CAUSAL_TOKENS}
    write_metrics(spec.name, {**figures, "attention.causal_latency_cycles": max(latency.values())})
    typer.echo(
        f"cores alone, {images} images: LRF-SSA {figures['attention.lrf_cycles']:.0f} cycles an"
        f" image, A2OS2A {figures['attention.a2os2a_cycles']:.0f},"
        f" {100 * figures['attention.lrf_extra_cycles_ratio']:+.2f} %"
    )
    shown = ", ".join(f"{cycles} at N = {tokens}" for tokens, cycles in latency.items())
    typer.echo(f"causal attention, a token's last slice in to its last out: {shown} cycles")


@app.command("record")
@simulates
def run_record(
    preset: Annotated[str, typer.Option(help="Name in presets/, or a .toml file.")] = "tiny",
    images: Annotated[int, typer.Option(help="First so many test images.", min=1)] = 1,
    checkpoint: Annotated[Path | None, typer.Option(help="Default: the shipped one.")] = None,
) -> None:
    """Record the registers of the RTL that `python -m synth.asic synth` mapped."""
    from .recorder import record

    spec = load_preset(preset)
    path = record(spec, build_dir(spec.name) / "asic", images, checkpoint, progress=typer.echo)
    typer.echo(f"wrote {path}")


@app.command("uart")
@simulates
def run_board(
    command: Annotated[
        list[str] | None,
        typer.Argument(help="Run this, with {port} replaced, and end; after a --."),
    ] = None,
    preset: Annotated[str, typer.Option(help="Name in presets/, or a .toml file.")] = "tiny",
    checkpoint: Annotated[Path | None, typer.Option(help="Default: the shipped one.")] = None,
    divisor: Annotated[
        int, typer.Option(help=f"Clock cycles of a bit, at most {SLOWEST_DIVISOR}.")
    ] = FASTEST_DIVISOR,
) -> None:
    """Simulate a board whose UART is at a pseudo-terminal, until interrupted."""
    from .uart_pty import simulated_board

    try:
        with simulated_board(preset, checkpoint, divisor, progress=typer.echo) as board:
            typer.echo(f"simulated board at {board.port}; Ctrl-C ends it")
            if command:
                words = [word.replace("{port}", board.port) for word in command]
                status = subprocess.run(words).returncode
            else:
                status = board.wait()
    except KeyboardInterrupt:
        status = 0
    typer.echo(board.summary)
    raise typer.Exit(status)


def _demand_equal(mismatches: float) -> None:
    if mismatches:
        raise _stop(f"{mismatches:.0f} images differ from the integer model")


def _stop(message: str) -> typer.Exit:
    typer.echo(f"error: {message}", err=True)
    return typer.Exit(1)


if __name__ == "__main__":
    app()
