"""Yosys as a subprocess: a list of commands, a log, a bar."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from tqdm import tqdm

from golden.spec import SpecError

_MARK = "@@@ done"
# The native library; a process of its own, so that its output goes to a log and it can be ended.
_RUNNER = f"""
import sys
from pyosys import libyosys as yosys
from synth.yosys import unprefix
design = yosys.Design()
for line in sys.stdin.read().splitlines():
    name, _, rest = line.partition(" ")
    if name == "unprefix":
        unprefix(yosys, design, rest)
    else:
        yosys.run_pass(line, design)
    print("{_MARK}", flush=True)
"""


def unprefix(yosys: ModuleType, design: object, name: str) -> None:
    """Take the instance's name from all that ``flatten`` brought from it, where that is free."""
    module = design.module(yosys.IdString(f"\\{name}"))
    for things, known in (
        (module.wires_, module.wire),
        (module.cells_, module.cell),
    ):
        for thing in list(things.values()):
            before, dot, own = thing.name.str().partition(".")
            if dot and before.startswith("\\") and known(yosys.IdString(f"\\{own}")) is None:
                module.rename(thing, yosys.IdString(f"\\{own}"))


def run_yosys(commands: Sequence[str], log: Path, title: str) -> None:
    """Run commands on one design; the bar counts them.

    Parameters
    ----------
    commands : one command a line, without line breaks; ``unprefix MODULE`` is :func:`unprefix`
    log : file for all that Yosys says
    title : what the bar shows

    Raises
    ------
    SpecError
        If a command fails: the command and Yosys' message.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    done = 0
    with (
        log.open("w") as out,
        subprocess.Popen(
            [sys.executable, "-c", _RUNNER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
        tqdm(total=len(commands), desc=title, unit="step") as bar,
    ):
        try:
            process.stdin.write("\n".join(commands))
            process.stdin.close()
            for line in process.stdout:
                if line.startswith(_MARK):
                    done += 1
                    bar.update()
                else:
                    out.write(line)
            status = process.wait()
        except BaseException:
            process.kill()
            raise
    if status or done != len(commands):
        failed = commands[min(done, len(commands) - 1)]
        raise SpecError(f"yosys: {failed}: {_message(log)}; log {log}")


def _message(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if "ERROR" in line]
    return (errors or lines or ["it wrote nothing"])[-1].strip()
