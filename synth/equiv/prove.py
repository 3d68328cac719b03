"""Proof that a netlist cut into tiers is the flat netlist, by Yosys."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from golden.spec import SpecError
from synth.asic.cells import Library
from synth.asic.liberty import write_liberty
from synth.asic.netlist import Netlist
from synth.yosys import run_yosys

_FOUND = re.compile(r"Found (\d+) \$equiv cells in equiv")
_PROVEN = re.compile(r"Of those cells (\d+) are proven and (\d+) are unproven")


@dataclass(frozen=True)
class Proof:
    """A complete proof.

    Members
    -------
    points : signals that were shown equal; equal ones count once, constant and unread ones not
    flip_flops, clock_gates, macros : cells whose every input was shown equal
    seconds : what it took
    """

    points: int
    flip_flops: int
    clock_gates: int
    macros: int
    seconds: float


def prove(
    netlist: Netlist,
    library: Library,
    flat: Path,
    tiers: Sequence[Path],
    log: Path,
) -> Proof:
    """Prove that the modules of ``tiers`` make what ``flat`` makes.

    Gates have the functions of the Liberty. Flip-flops, clock gates and macros are matched by their
    names; every input of each, clocks included, every port and every net of the same name must be
    equal for all values of the others, so both start and stay equal. The tiers' instances and nets
    have the names of the flat netlist, whatever module they are in.

    Parameters
    ----------
    netlist, library : what ``flat`` was written from, for its name and cells
    flat : Verilog of the flat netlist
    tiers : Verilog files of the tiers and of the top, which is named as the flat netlist
    log : file for all that Yosys says

    Raises
    ------
    SpecError
        If something is not proven, or a flip-flop, clock gate or macro is missing in one of the
        two.
    """
    started = perf_counter()
    gates = {name for name, cell in library.cells.items() if not cell.sequential}
    registers = [one for one in netlist.instances if library[one.cell].sequential]
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "cells.lib").write_text(write_liberty(library))
        (folder / "gates.lib").write_text(write_liberty(library, gates))
        commands = [
            f"read_liberty {folder / 'gates.lib'}",
            "design -stash functions",
            *_load(folder, netlist.name, [flat], "gold"),
            *_load(folder, netlist.name, tiers, "gate"),
            "design -copy-from gold -as gold gold",
            "design -copy-from gate -as gate gate",
            f"read_liberty -lib {folder / 'cells.lib'}",
            # A register with a twin is one cell afterwards; one without would be left over.
            "equiv_make gold gate equiv",
            "hierarchy -top equiv",
            # Equal gates with equal inputs become one: what was only moved is proven by that.
            "opt_merge",
            # A signal that is compared with itself counts as proven only under one name.
            "opt_clean",
            "equiv_simple -short",
            "equiv_simple",
            "equiv_status",
            "select -list equiv/t:* equiv/t:$* %d",
        ]
        run_yosys(commands, log, "equivalence")
    text = log.read_text()
    names = {one.name for one in registers}
    left = set(re.findall(r"^equiv/(\S+)$", text, re.MULTILINE))
    if alone := sorted(left ^ names):
        name = re.sub("_(gold|gate)$", "", alone[0])
        raise SpecError(
            f"flip-flop, clock gate or macro {name} is in one of the netlists alone; log {log}"
        )
    points, (proven, unproven) = int(_FOUND.findall(text)[-1]), _PROVEN.findall(text)[-1]
    if int(unproven):
        found = re.findall(r"Unproven \$equiv \S+ \\(\S+?)_gold", text)
        raise SpecError(
            f"{unproven} of {points} signals are not proven equal, {min(found, default='?')} among"
            f" them; log {log}"
        )
    macros = sum(library[one.cell].macro for one in registers)
    clock_gates = sum(bool(library[one.cell].enable) for one in registers)
    return Proof(
        points=int(proven),
        flip_flops=len(registers) - clock_gates - macros,
        clock_gates=clock_gates,
        macros=macros,
        seconds=perf_counter() - started,
    )


def _load(folder: Path, top: str, files: Sequence[Path], name: str) -> list[str]:
    """Commands that make one flat module of gates' functions, and set it aside."""
    return [
        f"read_liberty -lib {folder / 'cells.lib'}",
        *(f"read_verilog {path}" for path in files),
        f"hierarchy -check -top {top}",
        "flatten",
        f"unprefix {top}",
        "techmap -map %functions",
        # Names within gates: the nets around them are compared already.
        f"rename -hide {top}/w:*.*",
        "opt_clean",
        f"rename {top} {name}",
        f"design -stash {name}",
    ]
