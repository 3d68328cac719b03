"""Finding and running Yosys, nextpnr, the packers and the programmers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from tqdm import tqdm

from golden.spec import SpecError

# Lines of a failed tool's output that go into the message.
SHOWN_LINES = 3
# Seconds between two looks at a tool's log, and bytes of it that are looked at.
LOOK, TAIL = 1.0, 1000
# Characters of a log's last line that the progress shows.
SHOWN_CHARACTERS = 60


def find_tool(name: str) -> str:
    """Path of a tool: from its variable (NEXTPNR_ECP5=...), from PyPI, or from the system.

    Raises
    ------
    SpecError
        If there is none; the message says how to get it.
    """
    variable = name.upper().replace("-", "_")
    chosen = os.environ.get(variable)
    beside = str(Path(sys.executable).parent)
    candidates = (
        [chosen]
        if chosen
        else [shutil.which(f"yowasp-{name}", path=beside), f"yowasp-{name}", name]
    )
    for candidate in candidates:
        path = candidate and shutil.which(candidate)
        if path:
            return path
    if chosen:
        raise SpecError(f"no {name}: {variable} is {chosen}, which cannot be run")
    raise SpecError(
        f"no {name}: install it with `pip install -e '.[fpga]'`, or let `make fpga` do so,"
        f" or set {variable} to your own"
    )


def run_tool(name: str, arguments: list[str], folder: Path, log: str) -> float:
    """Run a tool in a folder, show the last line of its log meanwhile, and return its seconds.

    Parameters
    ----------
    log : file in ``folder`` that the tool writes, if any; what it prints goes to ``<name>.out``

    Raises
    ------
    SpecError
        If it fails, with the first errors that it printed.
    """
    command = [find_tool(name), *arguments]
    started = perf_counter()
    printed = folder / f"{name}.out"
    (folder / log).unlink(missing_ok=True)
    with (
        printed.open("w") as output,
        subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT) as process,
        tqdm(bar_format="{desc} {elapsed}", desc=name) as shown,
    ):
        try:
            while process.poll() is None:
                shown.set_description_str(f"{name}: {_last_line(folder / log)}")
                try:
                    process.wait(LOOK)
                except subprocess.TimeoutExpired:
                    continue
            shown.set_description_str(f"{name}: done in")
        finally:
            process.kill()
    if process.returncode:
        raise SpecError(f"{name} failed with status {process.returncode}: {_complaint(printed)}")
    return perf_counter() - started


def program(command: str, bitstream: Path) -> None:
    """Write a bitstream to a board.

    Parameters
    ----------
    command : programmer and its options, as in :class:`synth.fpga.boards.Board`

    Raises
    ------
    SpecError
        If the programmer is not installed, or fails.
    """
    name, *options = command.split()
    path = shutil.which(name)
    if not path:
        raise SpecError(
            f"no {name} to program with: install it (`apt install {name.lower()}`), then run"
            f" `{command} {bitstream}`"
        )
    done = subprocess.run([path, *options, str(bitstream)])
    if done.returncode:
        raise SpecError(
            f"{name} failed with status {done.returncode}: is the board connected, and may you"
            " use its port? See docs/bring-up.md, step 3"
        )


def _last_line(log: Path) -> str:
    """Last whole line of a log that is being written."""
    if not log.is_file():
        return ""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - TAIL))
        lines = [line.strip() for line in stream.read().decode(errors="replace").splitlines()]
    return next((line for line in reversed(lines[:-1]) if line), "")[:SHOWN_CHARACTERS]


def _complaint(printed: Path) -> str:
    """The first errors in what a tool printed, or else its last lines, and where all of it is."""
    lines = [line.strip() for line in printed.read_text(errors="replace").splitlines() if line]
    errors = [line for line in lines if line.startswith("ERROR")] or lines[-SHOWN_LINES:]
    return f"{'; '.join(errors[:SHOWN_LINES]) or 'it printed nothing'} (all of it: {printed})"
