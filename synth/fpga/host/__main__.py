"""``python -m synth.fpga.host``: talk to a board, simulated or real."""

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated

import numpy as np
import typer
from tqdm import tqdm

from golden.checkpoint import Checkpoint, checkpoint_path
from golden.cli import friendly_errors
from golden.data import load_test_images
from golden.files import whole_file
from golden.metrics import write_metrics
from golden.ranges import built_widths
from golden.spec import Preset, SpecError, load_preset
from hw.frames import DEFAULT_MAX_PAYLOAD

from .driver import Device
from .faults import FaultyPort, run_damaged
from .link import DEFAULT_TIMEOUT
from .selftest import self_test
from .transport import DEFAULT_BAUD, SerialPort

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
# Images whose logits the integer model computes at once.
MODEL_BATCH = 50
# On a bad line a long frame hardly ever arrives whole.
BAD_LINE_PAYLOAD = 133


@dataclass(frozen=True)
class Board:
    """Where a board is and what is on it, as the options before the command say."""

    port: str | None
    preset: Preset
    checkpoint: Path | None
    built: Path | None
    baud: int
    timeout: float

    @contextmanager
    def opened(
        self, *, rate: float = 0.0, seed: int = 0, max_payload: int = DEFAULT_MAX_PAYLOAD
    ) -> Iterator[tuple[Device, Checkpoint]]:
        """Open it and read the checkpoint that goes into it."""
        if self.port is None:
            raise SpecError("no --port: give a serial port or pseudo-terminal before the command")
        preset = self.preset
        content = Checkpoint.load(self.checkpoint or checkpoint_path(preset), preset)
        fitted = Checkpoint.load(self.built, preset) if self.built else content
        line = SerialPort(self.port, self.baud)
        if rate:
            line = FaultyPort(line, rate, seed)
        widths = built_widths(preset, fitted)
        options = {"timeout": self.timeout, "max_payload": max_payload}
        with Device(line, preset, widths, **options) as device:
            yield device, content
        if device.faults:
            print(f"faults on the line, all repaired: {device.link.report()}")


@app.callback()
@friendly_errors
def main(
    context: typer.Context,
    port: Annotated[str | None, typer.Option(help="Serial port or pseudo-terminal.")] = None,
    preset: Annotated[str, typer.Option(help="Name in presets/, or a .toml file.")] = "tiny",
    checkpoint: Annotated[Path | None, typer.Option(help="Default: the shipped one.")] = None,
    built: Annotated[
        Path | None,
        typer.Option(help="Checkpoint that the board was built from, if it is not --checkpoint."),
    ] = None,
    baud: Annotated[int, typer.Option(help="Rate that the board was built with.")] = DEFAULT_BAUD,
    timeout: Annotated[
        float, typer.Option(help="Silence after which to send again, in seconds.")
    ] = DEFAULT_TIMEOUT,
) -> None:
    """Load a checkpoint, classify images, read counters, test a board."""
    if baud < 1:
        raise SpecError(f"--baud is {baud}: must be at least 1, the rate that the build named")
    if not 0 < timeout < math.inf:
        raise SpecError(f"--timeout is {timeout}: must be finite and more than 0 seconds")
    context.obj = Board(port, load_preset(preset), checkpoint, built, baud, timeout)


def load(device: Device, checkpoint: Checkpoint) -> None:
    """Load a checkpoint with a progress bar."""
    with tqdm(desc="checkpoint", unit="frame") as bar:
        for bar.total in device.load_checkpoint(checkpoint):
            bar.update()


def run(device: Device, images: np.ndarray) -> tuple[np.ndarray, float]:
    """Classify images with a progress bar; return logits and images a second."""
    started = perf_counter()
    logits = device.classify(tqdm(images, desc=device.preset.name, unit="image"))
    return logits, len(images) / (perf_counter() - started)


def expected(checkpoint: Checkpoint, images: np.ndarray) -> np.ndarray:
    """Logits of the integer model."""
    from golden.integer import IntegerModel

    model = IntegerModel(checkpoint)
    parts = [
        model.run(images[start : start + MODEL_BATCH], keep=False).logits.numpy()
        for start in range(0, len(images), MODEL_BATCH)
    ]
    return np.concatenate(parts)


@app.command()
@friendly_errors
def info(context: typer.Context) -> None:
    """Ask the board what it is."""
    with context.obj.opened() as (device, _):
        found, version = device.open()
        data = device.preset.data
        print(
            f"{device.port.name}: preset {device.preset.name}, fingerprint 0x{found:08x}, protocol"
            f" {version}; images of {data.channels}x{data.height}x{data.width}, {data.classes}"
            " classes"
        )


@app.command()
@friendly_errors
def classify(
    context: typer.Context,
    images: Annotated[Path, typer.Argument(help="uint8 .npy: count, channels, height, width.")],
    output: Annotated[Path | None, typer.Option(help="Write the logits to this .npy.")] = None,
) -> None:
    """Load the checkpoint and classify images."""
    content = read_images(images, context.obj.preset.data)
    with context.obj.opened() as (device, network):
        load(device, network)
        logits, rate = run(device, content)
        print("classes:", *logits.argmax(1))
        print(f"{len(content)} images, {rate:.1f} images/s; last run {device.cycles} cycles")
    if output:
        with whole_file(output) as partial, partial.open("wb") as stream:
            np.save(stream, logits)


@app.command()
@friendly_errors
def counters(context: typer.Context) -> None:
    """Read what the last run counted of each layer, and of tiles and experts if there are any."""
    with context.obj.opened() as (device, _):
        print(f"{'layer':24} {'cycles':>10} {'stalls':>10}")
        for name, (cycles, stalls) in device.counters().items():
            print(f"{name:24} {cycles:10} {stalls:10}")
        for name, count in device.work().items():
            print(f"{name:24} {count:10}")


@app.command("self-test")
@friendly_errors
def run_self_test(
    context: typer.Context,
    count: Annotated[int, typer.Option(help="Test images.", min=1)] = 10,
) -> None:
    """Test the line, the board's answers to bad requests, and some images."""
    with context.obj.opened() as (device, network):
        images, _ = load_test_images(device.preset, count)
        for step in self_test(device, network, images, expected(network, images)):
            print(f"{step.name:14} {'ok' if step.passed else 'FAILED'}: {step.detail}")
            if not step.passed:
                raise SpecError(f"self-test failed at {step.name}: see docs/bring-up.md")


@app.command()
@friendly_errors
def check(
    context: typer.Context,
    count: Annotated[int, typer.Option(help="Test images.", min=1)] = 100,
    rate: Annotated[
        float, typer.Option(help="Share of bytes damaged in the second run; 0 for none.", max=0.05)
    ] = 0.002,
    seed: Annotated[int, typer.Option(help="Of the damage.")] = 0,
    record: Annotated[bool, typer.Option(help="Write the figures to metrics.json.")] = True,
) -> None:
    """Compare test images with the integer model, and again on a line damaged on purpose."""
    spec = context.obj.preset
    pixels, _ = load_test_images(spec, count)
    with context.obj.opened() as (device, network):
        wanted = expected(network, pixels)
        load(device, network)
        logits, speed = run(device, pixels)
        wrong = int((logits != wanted).any(1).sum())
        print(f"{count} images, {wrong} differ from the integer model; {speed:.1f} images/s")
    figures = {"fpga.host_images": count, "fpga.host_mismatches": wrong}
    if rate > 0:
        options = {"rate": rate, "seed": seed, "max_payload": BAD_LINE_PAYLOAD}
        with context.obj.opened(**options) as (device, network):
            damaged = run_damaged(device, network, pixels, wanted)
        print(
            f"{count} images on a bad line, {damaged.wrong} differ; {damaged.injected} bytes"
            f" damaged and {damaged.harmless} harmlessly doubled; faults unreported"
            f" {damaged.unreported}, after repair {damaged.later}"
        )
        wrong += damaged.wrong + damaged.unreported + damaged.later
        figures |= {
            "fpga.host_mismatches": figures["fpga.host_mismatches"] + damaged.wrong,
            "fpga.host_faults_injected": damaged.injected,
            "fpga.host_faults_seen": damaged.seen,
            "fpga.host_faults_unreported": damaged.unreported,
        }
    if record:
        write_metrics(spec.name, figures)
    if wrong:
        raise SpecError(f"{wrong} images differ, or faults were not reported or not forgotten")


@app.command()
@friendly_errors
def images(
    context: typer.Context,
    output: Annotated[Path, typer.Argument(help=".npy to write.")],
    count: Annotated[int, typer.Option(help="How many.", min=1)] = 20,
) -> None:
    """Write test images to a file that `classify` takes, and print their labels."""
    content, labels = load_test_images(context.obj.preset, count)
    with whole_file(output) as partial, partial.open("wb") as stream:
        np.save(stream, content)
    print("labels: ", *labels)


def read_images(path: Path, data: object) -> np.ndarray:
    """Read images from a ``.npy``; those of one channel may lack that axis.

    Raises
    ------
    SpecError
        If it is another file, or its type or shape is not that of the preset's images.
    """
    try:
        content = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise SpecError(f"{path} is not a .npy file: {error}") from None
    if not isinstance(content, np.ndarray):
        with content:
            names = ", ".join(content.files) or "none"
        raise SpecError(f"{path} is a .npz file, of arrays {names}: must be a .npy file, of one")
    shape = (data.channels, data.height, data.width)
    if content.ndim == 3 and data.channels == 1:
        content = content[:, None]
    if content.dtype != np.uint8 or content.shape[1:] != shape or not len(content):
        raise SpecError(
            f"{path} has {content.dtype} of shape {content.shape}: must be uint8 of"
            f" (count, {', '.join(map(str, shape))})"
        )
    return content


if __name__ == "__main__":
    app()
