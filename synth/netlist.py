"""The accelerator's netlist on ECP5, in Verilog that any simulator runs."""

import importlib.util
import re
from pathlib import Path

from golden.checkpoint import Checkpoint
from golden.files import whole_file
from golden.metrics import build_dir
from golden.ranges import built_widths
from golden.spec import Preset
from hw.build import TOP, make_accelerator

from .mapping import write_source
from .yosys import run_yosys

_MODULE = re.compile(r"^module (\w+)\b.*?endmodule", re.MULTILINE | re.DOTALL)
_SPECIFY = re.compile(r"^\s*specify\b.*?endspecify", re.MULTILINE | re.DOTALL)
# Not within quotes, where parameters have values like "INV".
_WORD = re.compile(r"(?<!\")\b[A-Z]\w+")
_INCLUDE = re.compile(r'^`include "([^"]+)"', re.MULTILINE)


def netlist_dir(preset: Preset) -> Path:
    """Folder of a preset's netlist."""
    return build_dir(preset.name) / "synth" / "netlist"


def cell_models(netlist: str) -> str:
    """Yosys' models, without delays, of the cells in a netlist and of what these are made of."""
    share = Path(importlib.util.find_spec("pyosys").origin).with_name("share") / "ecp5"

    def included(name: str) -> str:
        text = (share / name).read_text()
        return _INCLUDE.sub(lambda match: included(match[1]), text)

    known: dict[str, str] = {}
    for match in _MODULE.finditer(included("cells_sim.v")):
        known.setdefault(match[1], _SPECIFY.sub("", match[0]))
    used, texts = set(), [netlist]
    while texts:
        words = set(_WORD.findall(texts.pop()))
        found = sorted((words & known.keys()) - used)
        used.update(found)
        texts += [known[name] for name in found]
    return "\n".join(known[name] for name in sorted(used)) + "\n"


def write_netlist(preset: Preset, checkpoint: Checkpoint | None) -> Path:
    """Map a preset's accelerator to ECP5 and write it with Yosys' models of the cells.

    Memories stay as they were before mapping, as their block RAMs have no model.

    Returns
    -------
    Path
        Of the Verilog, which needs nothing else.
    """
    widths = built_widths(preset, checkpoint)
    folder = netlist_dir(preset)
    source, modules = write_source(make_accelerator(preset, widths), TOP, folder, mapped=True)
    memories = " ".join(modules)
    parts = [folder / "cells.v", folder / "memories.v"]
    run_yosys(
        [
            f"read_rtlil {source}",
            f"blackbox {memories}",
            f"synth_ecp5 -top {TOP}",
            f"write_verilog -noattr {parts[0]}",
            "design -reset",
            f"read_rtlil {source}",
            "proc",
            "memory_collect",
            f"select {memories}",
            f"write_verilog -noattr -selected {parts[1]}",
        ],
        folder / "yosys.log",
        f"{preset.name}: mapping",
    )
    path = folder / f"{TOP}.v"
    with whole_file(path) as partial:
        text = "".join(part.read_text() for part in parts)
        partial.write_text(text + cell_models(text))
    return path
