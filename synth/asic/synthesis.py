"""Synthesis of a preset's accelerator to a flat netlist of cells and macros."""

import importlib.metadata
import json
import re
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

from amaranth.back import rtlil

from golden.checkpoint import Checkpoint
from golden.files import whole_directory
from golden.metrics import build_dir, write_metrics
from golden.ranges import built_widths
from golden.spec import Preset
from hw.build import TOP, make_accelerator
from synth.yosys import run_yosys

from .cells import Library, standard_cells
from .fakeram import macro
from .lef import bond_lef, cells_lef, tech_lef
from .liberty import write_liberty
from .memories import MacroPlatform
from .netlist import Netlist, from_yosys, verilog

_MACRO = re.compile(r"\\(fakeram45_\w+)")

# Structure, mapping, then buffers for fan-out and sizes for load.
_ABC = (
    "+strash;&get,-n;&fraig,-x;&put;scorr;dc2;strash;&get,-n;&dch,-f;&nf;&put;"
    "buffer,-c,-N,24;topo;stime,-p;upsize;dnsize;stime,-p"
)


@dataclass(frozen=True)
class Options:
    """How to synthesise.

    Parameters
    ----------
    flop_bits, bank_rows, bank_bits : see :class:`synth.asic.memories.MacroPlatform`
    """

    flop_bits: int = 256
    bank_rows: int = 512
    bank_bits: int = 256


def asic_dir(preset: Preset) -> Path:
    """Where the products go."""
    return build_dir(preset.name) / "asic"


def synthesise(preset: Preset, checkpoint: Checkpoint | None, options: Options = Options()) -> Path:
    """Write netlist, Liberty, LEF and report of a preset.

    Each block is mapped on its own and the hierarchy is dissolved afterwards, so every instance
    knows its block.

    Returns
    -------
    Path
        The directory with ``netlist.v``, ``netlist.json``, ``cells.lib``, ``tech.lef``,
        ``cells.lef``, ``bond.lef`` and ``report.json``.

    Raises
    ------
    SpecError
        If widths come from a checkpoint and there is none, or Yosys fails.
    """
    started = perf_counter()
    accelerator = make_accelerator(preset, built_widths(preset, checkpoint))
    platform = MacroPlatform(**asdict(options))
    text = rtlil.convert(accelerator, name=TOP, emit_src=False, platform=platform)
    library = standard_cells()
    macros = {name: macro(name) for name in sorted(set(_MACRO.findall(text)))}
    whole = library.with_cells(macros)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "rtl.il").write_text(text)
        (folder / "gates.lib").write_text(write_liberty(library))
        (folder / "cells.lib").write_text(write_liberty(whole))
        log = build_dir(preset.name) / "asic.log"
        run_yosys(_script(folder), log, f"synthesis of {preset.name}")
        netlist = from_yosys(json.loads((folder / "mapped.json").read_text()), TOP, whole)
    directory = asic_dir(preset)
    seconds = perf_counter() - started
    with whole_directory(directory) as made:
        write_products(netlist, whole, made)
        report = describe(netlist, whole) | {"options": asdict(options), "seconds": seconds}
        report["yosys"] = importlib.metadata.version("pyosys")
        (made / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    write_metrics(
        preset.name,
        {"asic.area_um2": report["area_um2"]["total"], "asic.synthesis_seconds": seconds},
    )
    return directory


def write_products(netlist: Netlist, library: Library, folder: Path) -> None:
    """Write a netlist and the cells it uses."""
    used = sorted(netlist.cells())
    netlist.save(folder / "netlist.json")
    (folder / "netlist.v").write_text(verilog(netlist, library))
    (folder / "cells.lib").write_text(write_liberty(library))
    (folder / "tech.lef").write_text(tech_lef(library))
    (folder / "cells.lef").write_text(cells_lef(library, used))
    (folder / "bond.lef").write_text(bond_lef())


def describe(netlist: Netlist, library: Library) -> dict:
    """Counts and areas of a netlist, by kind and by block."""
    kinds: Counter[str] = Counter()
    blocks: Counter[str] = Counter()
    for instance in netlist.instances:
        cell = library[instance.cell]
        kind = "macros" if cell.macro else "flip_flops" if cell.sequential else "gates"
        kinds[kind] += cell.area_um2
        blocks[instance.hier[0] if instance.hier else "top"] += cell.area_um2
    area = {name: round(value, 3) for name, value in sorted(kinds.items())}
    return {
        "instances": len(netlist.instances),
        "nets": len(netlist.nets),
        "cells": dict(sorted(netlist.cells().items())),
        "area_um2": area | {"total": round(sum(kinds.values()), 3)},
        "blocks_um2": {name: round(value, 3) for name, value in sorted(blocks.items())},
    }


def _script(folder: Path) -> list[str]:
    gates = folder / "gates.lib"
    return [
        f"read_liberty -lib -ignore_miss_func {folder / 'cells.lib'}",
        f"read_rtlil {folder / 'rtl.il'}",
        f"hierarchy -check -top {TOP}",
        "proc",
        "opt_hier",
        "opt",
        "wreduce",
        "peepopt",
        "opt_clean",
        "alumacc",
        "share",
        "opt",
        "memory -nomap",
        "opt -fast -full",
        "memory_map",
        "opt -undriven -fine",
        "techmap",
        "opt -fast",
        "opt_hier",
        "opt",
        # The reset of the accelerator sets every flip-flop that needs it.
        "setattr -unset init w:*",
        "dfflegalize -cell $_DFF_P_ x",
        "techmap",
        "simplemap",
        "opt_expr",
        "opt_merge",
        "opt_clean",
        f"abc -liberty {gates} -script {_ABC}",
        f"dfflibmap -liberty {gates}",
        "opt_clean",
        "hilomap -singleton -hicell LOGIC1_X1 Z -locell LOGIC0_X1 Z",
        "flatten -scopename",
        "opt_clean -purge",
        "check -mapped -assert",
        f"write_json {folder / 'mapped.json'}",
    ]
