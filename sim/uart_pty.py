"""A simulated board: the accelerator in Verilator, its UART pins behind a pseudo-terminal.

The clock and the far end of the line are compiled C++ (``uart_main.cpp``). That is a program of its
own rather than a cocotb bench, as it serves a terminal until it is stopped: there is no test to run
in it, and neither Python nor a VPI slows the clock down.
"""

import contextlib
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from golden.checkpoint import Checkpoint, checkpoint_path
from golden.ranges import Widths, built_widths
from golden.spec import Preset, load_preset
from hw.uart_top import FASTEST_DIVISOR, UartTop
from hw.verilog import generate

from .verilator import (
    LINT,
    MODELS,
    RUNS,
    SimulationError,
    check_tools,
    first_error,
    shown,
    tool_environment,
    tool_versions,
)

TOP = "board"
MAIN = Path(__file__).with_name("uart_main.cpp")
FLAGS = ("-O3", "--x-assign", "fast", "--x-initial", "fast")
END_SECONDS = 10


def build_program(verilog: str, divisor: int) -> tuple[Path, bool]:
    """Build the simulator of a board, or find the one that an earlier call built.

    Parameters
    ----------
    verilog : text whose top module is ``board``
    divisor : clock cycles of a bit

    Returns
    -------
    tuple
        Path of the executable, and whether it was built now.

    Raises
    ------
    SimulationError
        If a tool is missing, or Verilator or the compiler fails.
    """
    check_tools()
    flags = [*LINT, *FLAGS, "-CFLAGS", f"-DDIVISOR={divisor}"]
    digest = hashlib.sha256()
    for part in (TOP, verilog, MAIN.read_text(), *flags, *tool_versions()):
        digest.update(f"{len(part)}:{part}".encode())
    final = MODELS / digest.hexdigest()[:20]
    if (final / TOP).is_file():
        return final / TOP, False
    MODELS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="building-", dir=MODELS) as scratch:
        ready = Path(scratch) / "ready"
        ready.mkdir()
        source, log = ready / "source.v", ready / "build.log"
        source.write_text(verilog)
        command = ["verilator", "--cc", "--exe", "--build", *flags, "--prefix", f"V{TOP}"]
        command += ["--top-module", TOP, "--Mdir", scratch, "-o", f"ready/{TOP}"]
        environment = {**os.environ, **tool_environment(("OPT_FAST=-O3",))}
        with log.open("w") as output:
            done = subprocess.run(
                [*command, str(source), str(MAIN)],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        if done.returncode:
            kept = RUNS / f"build-{TOP}.log"
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(log.read_text())
            raise SimulationError(
                f"{TOP}: the model does not build: {first_error(kept)}; log {shown(kept)}"
            )
        # The name is taken only if another process finished the same build first.
        with contextlib.suppress(OSError):
            ready.rename(final)
    return final / TOP, True


class SimulatedBoard:
    """A running simulation whose UART is at a pseudo-terminal; a context manager.

    Parameters
    ----------
    preset, widths : as for :class:`hw.accelerator.Accelerator`
    divisor : clock cycles of a bit
    progress : is told each step

    Members
    -------
    port : path of the terminal, for the host program's ``--port``
    summary : after :meth:`close`, what the simulation did
    """

    def __init__(
        self,
        preset: Preset,
        widths: Widths,
        *,
        divisor: int = FASTEST_DIVISOR,
        progress: Callable[[str], None] = lambda text: None,
    ) -> None:
        progress(f"{preset.name}: writing Verilog of the accelerator with its UART")
        verilog = generate(UartTop(preset, widths, divisor), TOP).text
        progress(f"{preset.name}: building the model, which takes a minute the first time")
        program, built = build_program(verilog, divisor)
        progress(f"{preset.name}: model {'built' if built else 'built before'}")
        self.summary = ""
        # The simulation ends when its input closes, so it never outlives this process.
        self._process = subprocess.Popen(
            [str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Ctrl-C is for this process, which then ends the simulation and reports what it did.
            start_new_session=True,
        )
        self.port = self._process.stdout.readline().strip()
        if not self.port:
            self.close()
            raise SimulationError(f"the simulated board did not start: {self.summary}")

    def __enter__(self) -> "SimulatedBoard":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def wait(self) -> int:
        """Wait until the simulation ends by itself, which only an error makes it do."""
        return self._process.wait()

    def close(self) -> None:
        """End the simulation."""
        try:
            _, text = self._process.communicate(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            _, text = self._process.communicate()
        self.summary = self.summary or text.strip()


def simulated_board(
    preset_name: str,
    checkpoint_file: Path | None = None,
    divisor: int = FASTEST_DIVISOR,
    *,
    progress: Callable[[str], None] = lambda text: None,
) -> SimulatedBoard:
    """Start the board of a preset, with the widths of a checkpoint, the shipped one by default."""
    preset = load_preset(preset_name)
    checkpoint = Checkpoint.load(checkpoint_file or checkpoint_path(preset), preset)
    widths = built_widths(preset, checkpoint)
    return SimulatedBoard(preset, widths, divisor=divisor, progress=progress)
