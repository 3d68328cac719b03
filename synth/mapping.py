"""A design and its mapping to ECP5 as Yosys sees them: sources, and which modules are memories."""

import re
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring

from hw.verilog import plain_names

from .ecp5 import Ecp5, PlainFpga

_NAMELESS = re.compile(r"\bport\$\d+\$\d+")
_MODULE_OR_WRITE = re.compile(r"^module (\S+)|^ +cell \$memwr_v2 ", re.MULTILINE)


def write_source(
    component: wiring.Component, name: str, folder: Path, *, mapped: bool
) -> tuple[Path, list[str]]:
    """Write a component's RTLIL, and say which modules of it are memories.

    What a memory holds is not logic, and its block RAM has no model: modules that can be written
    are to become black boxes. Read-only ones stay.

    Parameters
    ----------
    name : of the top module
    folder : for the file
    mapped : take the cells that blocks choose on ECP5

    Returns
    -------
    tuple of Path and list
        The file, and names of the modules that hold a memory with a write port.
    """
    folder.mkdir(parents=True, exist_ok=True)
    platform = Ecp5() if mapped else PlainFpga()
    text = rtlil.convert(component, platform=platform, name=name, emit_src=False)
    text = stable_ports(plain_names(text))
    path = folder / f"{'mapped' if mapped else 'plain'}.il"
    path.write_text(text)
    return path, memory_modules(text)


def stable_ports(text: str) -> str:
    """RTLIL whose nameless ports are numbered as they come.

    Amaranth's numbers count all cells, and so differ where a block chooses other cells.
    """
    numbers: dict[str, str] = {}
    return _NAMELESS.sub(lambda port: numbers.setdefault(port[0], f"port${len(numbers)}"), text)


def memory_modules(text: str) -> list[str]:
    """Modules of an RTLIL text that hold a memory with a write port."""
    found, module = [], ""
    for match in _MODULE_OR_WRITE.finditer(text):
        if match[1]:
            module = match[1]
        elif module not in found:
            found.append(module)
    return found
