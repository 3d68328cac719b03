"""Synthesis of a preset's accelerator to a flat netlist of cells and macros."""

import importlib.metadata
import json
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
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
from hw.verilog import generate, plain_names
from synth.yosys import run_yosys

from .activity import write_signals
from .buffers import buffer_fanout
from .cells import Library
from .fakeram import with_macros
from .gating import gated, gating_commands, size_gates
from .lef import MacroView, bond_lef, cells_lef, tech_lef
from .liberty import write_liberty
from .libraries import load_library, tie_cells
from .memories import MacroPlatform
from .models import models
from .netlist import Netlist, from_yosys, verilog

_MACRO = re.compile(r"\\(fakeram45_\w+)")

# Structure, mapping, then buffers for fan-out and sizes for load.
_ABC = (
    "+strash;&get,-n;&fraig,-x;&put;scorr;dc2;strash;&get,-n;&dch,-f;&nf;&put;"
    "buffer,-c,-N,{fanout};topo;stime,-p;upsize;dnsize;stime,-p"
)


@dataclass(frozen=True)
class Options:
    """The user's library, see :func:`synth.asic.libraries.load_library`."""

    liberty: Path | None = None
    lefs: tuple[Path, ...] = ()


def asic_dir(preset: Preset) -> Path:
    """Where the products go."""
    return build_dir(preset.name) / "asic"


def liberty_files(directory: Path) -> list[Path]:
    """Liberty files of a product directory: cells, then macros."""
    return [directory / "cells.lib", directory / "macros.lib"]


def lef_files(directory: Path) -> list[Path]:
    """LEF files of a product directory in the order to read them, without bonds."""
    return [*sorted(directory.glob("cells*.lef")), directory / "macros.lef"]


def synthesise(preset: Preset, checkpoint: Checkpoint | None, options: Options = Options()) -> Path:
    """Write netlist, library and report of a preset.

    Each block is mapped on its own and the hierarchy is dissolved afterwards, so every instance
    knows its block.

    Returns
    -------
    Path
        The directory, with ``netlist.v``, ``cells.v`` (models of its cells), ``netlist.json``
        (:class:`synth.asic.netlist.Netlist`), ``library.json`` (:class:`synth.asic.cells.Library`),
        the files of :func:`liberty_files` and :func:`lef_files`, ``bond.lef``, ``report.json``; for
        `python -m sim record`, ``rtl.v`` with the macros and ``signals.json``.

    Raises
    ------
    SpecError
        If widths come from a checkpoint and there is none, the user's library cannot be used, or
        Yosys fails.
    """
    started = perf_counter()
    plain = load_library(options.liberty, options.lefs)
    widths = built_widths(preset, checkpoint)
    sizes = preset.asic
    gated = sizes.gate_flops > 0
    platform = MacroPlatform(sizes.flop_bits, sizes.bank_rows, sizes.bank_bits, gated)
    accelerator = make_accelerator(preset, widths)
    text = plain_names(rtlil.convert(accelerator, name=TOP, emit_src=False, platform=platform))
    macros = sorted(set(_MACRO.findall(text)))
    library = with_macros(plain, macros)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "rtl.il").write_text(text)
        (folder / "macros.lib").write_text(write_liberty(library, macros))
        gates = (options.liberty or _embedded(folder, plain)).resolve()
        log = build_dir(preset.name) / "asic.log"
        commands = _script(folder, gates, library, sizes.fanout, sizes.gate_flops)
        run_yosys(commands, log, f"synthesis of {preset.name}")
        mapped = from_yosys(json.loads((folder / "mapped.json").read_text()), TOP, library)
    netlist = size_gates(buffer_fanout(mapped, library, sizes.fanout), library)
    directory = asic_dir(preset)
    report = describe(netlist, library)
    report["library"] = library.name
    files = {name: _plain(value) for name, value in asdict(options).items()}
    report["options"] = files | sizes.model_dump()
    report["yosys"] = importlib.metadata.version("pyosys")
    report["seconds"] = perf_counter() - started
    rtl = generate(make_accelerator(preset, widths), TOP, platform).text
    with whole_directory(directory) as made:
        write_products(netlist, plain, library, options, made)
        (made / "rtl.v").write_text(rtl)
        (made / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    write_metrics(
        preset.name,
        {
            "asic.area_um2": report["area_um2"]["total"],
            "asic.synthesis_seconds": report["seconds"],
        },
    )
    return directory


def write_products(
    netlist: Netlist, plain: Library, library: Library, options: Options, folder: Path
) -> None:
    """Write a netlist and its library; the user's own files are copied."""
    used = netlist.cells()
    # Stand-ins for tie cells that the user's library lacks are in no file of the user.
    lacking = {name for name in used if options.liberty and library[name].offsets is None}
    macros = sorted({name for name in used if library[name].macro} | lacking)
    netlist.save(folder / "netlist.json")
    write_signals(netlist, folder / "signals.json")
    library.save(folder / "library.json")
    (folder / "netlist.v").write_text(verilog(netlist, library))
    (folder / "cells.v").write_text(models(library, used))
    (folder / "macros.lib").write_text(write_liberty(library, macros))
    (folder / "macros.lef").write_text(cells_lef(library, macros, MacroView(blocked=True)))
    (folder / "bond.lef").write_text(bond_lef())
    if options.liberty is None:
        (folder / "cells.lib").write_text(write_liberty(plain))
        (folder / "cells0.lef").write_text(tech_lef(library))
        (folder / "cells1.lef").write_text(cells_lef(library, plain.cells))
        return
    (folder / "cells.lib").write_bytes(options.liberty.read_bytes())
    for index, path in enumerate(options.lefs):
        (folder / f"cells{index}.lef").write_bytes(path.read_bytes())


def describe(netlist: Netlist, library: Library) -> dict:
    """Counts and areas of a netlist, by kind and by block."""
    kinds: Counter[str] = Counter()
    blocks: Counter[str] = Counter()
    for instance in netlist.instances:
        cell = library[instance.cell]
        kind = "macros" if cell.macro else "flip_flops" if cell.sequential else "gates"
        kind = "clock_gates" if cell.enable else kind
        kinds[kind] += cell.area_um2
        blocks["/".join(instance.hier[:2]) or "top"] += cell.area_um2
    area = {name: round(value, 3) for name, value in sorted(kinds.items())}
    return {
        "instances": len(netlist.instances),
        "nets": len(netlist.nets),
        "cells": dict(sorted(netlist.cells().items())),
        "gated_flip_flops": gated(netlist, library),
        "area_um2": area | {"total": round(sum(kinds.values()), 3)},
        "blocks_um2": {name: round(value, 3) for name, value in sorted(blocks.items())},
    }


def _plain(value: object) -> object:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [str(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def _embedded(folder: Path, library: Library) -> Path:
    path = folder / "cells.lib"
    path.write_text(write_liberty(library))
    return path


def _script(folder: Path, gates: Path, library: Library, fanout: int, gate_flops: int) -> list[str]:
    """Commands from RTL to the flat mapped netlist ``mapped.json``."""
    high, low = (" ".join(tie_cells(library)[value]) for value in "10")
    ties = [name for name, _ in tie_cells(library).values()]
    (folder / "ties.lib").write_text(write_liberty(library, ties))
    return [
        f"read_liberty -lib -ignore_miss_func {gates}",
        f"read_liberty -lib -overwrite {folder / 'ties.lib'}",
        f"read_liberty -lib {folder / 'macros.lib'}",
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
        "opt_hier",
        "techmap",
        "opt -fast",
        # The reset of the accelerator sets every flip-flop that needs it.
        "setattr -unset init w:*",
        *gating_commands(library, gate_flops, folder),
        "dfflegalize -cell $_DFF_P_ x",
        "techmap",
        "simplemap",
        "opt_expr",
        "opt_merge",
        "opt_clean",
        f"abc -liberty {gates} -script {_ABC.format(fanout=fanout)}",
        f"dfflibmap -liberty {gates}",
        "opt_clean",
        f"hilomap -singleton -hicell {high} -locell {low}",
        "flatten -scopename",
        "opt_clean -purge",
        "check -mapped -assert",
        f"write_json {folder / 'mapped.json'}",
    ]
