"""Verilog of a component, one module a block, with its cell counts."""

import re
from collections import Counter
from dataclasses import dataclass

from amaranth._toolchain.yosys import find_yosys
from amaranth.back import rtlil
from amaranth.lib import wiring

# Cells that no block may have: everything is additions, gates and shifts.
MULTIPLIERS = ("$mul", "$div", "$mod", "$divfloor", "$modfloor", "$pow", "$macc")

# Every memory is loaded through ports, so the zeros that Amaranth writes into a memory are dropped
# (a line of Verilog each); memories with real contents keep them.
_ZERO_INIT = re.compile(
    r"^  cell \$meminit_v2 [^\n]*\n(?:    [^\n]*\n)*?    connect \\DATA \d+'0+\n(?:    [^\n]*\n)*?"
    r"  end\n",
    re.MULTILINE,
)
# Names that look like a bit of another name: Amaranth's elements of an array. Yosys' abc9 confuses
# the two, and stops.
_INDEXED = re.compile(r"\\\S*\[\S*")
_CELL = re.compile(r"^ +cell (\$\S+) ", re.MULTILINE)
_ATTRIBUTES = ("generator", "top", "src", "amaranth.hierarchy", "amaranth.decoding")


@dataclass(frozen=True)
class Generated:
    """Verilog and what Yosys counted in it.

    Members
    -------
    text : Verilog, one module a block
    cells : number of cells by type, before any mapping; instances count as often as they occur
    """

    text: str
    cells: dict[str, int]

    @property
    def multipliers(self) -> int:
        """Multiplications, divisions and powers; 0 for every block of this project."""
        return sum(self.cells.get(kind, 0) for kind in MULTIPLIERS)


def without_zero_contents(text: str) -> str:
    """RTLIL without the initial contents of memories that start as all zeros."""
    return _ZERO_INIT.sub("", text)


def without_collisions(text: str) -> str:
    """RTLIL for synthesis: no row is read and written in one cycle, so that block RAMs may be used
    as they are, without a bypass that gives the old contents.

    ``tests/test_memories.py`` holds the accelerator to that.
    """
    return text.replace("parameter \\COLLISION_X_MASK 1'0", "parameter \\COLLISION_X_MASK 1'1")


def plain_names(text: str) -> str:
    """RTLIL in which an array's element is ``name.1``, not ``name[1]``."""
    return _INDEXED.sub(lambda name: name[0].replace("[", ".").replace("]", ""), text)


def generate(component: wiring.Component, name: str, platform: object = None) -> Generated:
    """Convert a component to Verilog.

    Parameters
    ----------
    component : what to convert; its ports become ``i__payload``, ``i__valid`` and so on
    name : name of the top module
    platform : what components are elaborated for

    Returns
    -------
    Generated
        The text, and the cells of the design, as Yosys' ``stat`` counts them.
    """
    text = rtlil.convert(component, name=name, emit_src=False, platform=platform)
    text = plain_names(without_zero_contents(text))
    attributes = " ".join(f"-remove {attribute}" for attribute in _ATTRIBUTES)
    script = (
        f"read_rtlil <<rtlil\n{text}\nrtlil",
        "proc -nomux -norom",
        "memory_collect",
        f"attrmap {attributes}",
        f"attrmap -modattr {attributes}",
        "write_verilog -norename",
    )
    yosys = find_yosys(lambda version: version >= (0, 40))
    # Yosys warns that Verilog cannot express every process; Amaranth only makes those it can.
    output = yosys.run(["-q", "-"], "\n".join(script), ignore_warnings=True)
    return Generated(output, dict(Counter(_CELL.findall(text))))
