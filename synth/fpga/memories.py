"""The memories of a design, and how many of their bits went into block RAMs."""

import re
from collections.abc import Mapping

_MODULE = re.compile(r"^module \\(\S+)$")
_MEMORY = re.compile(r"^  memory width (\d+) size (\d+) \\(\S+)$")
_MAPPED = re.compile(r"^mapping memory (\S+) via \$__(\S+?)_?$", re.MULTILINE)
# Yosys' names of what is no block RAM but look-up tables.
_LUT_RAM = ("TRELLIS_DPR",)


def memory_bits(rtlil: str) -> dict[str, int]:
    """Bits of each memory of a design in RTLIL, by its name after flattening."""
    found, module = {}, ""
    for line in rtlil.splitlines():
        if match := _MODULE.match(line):
            module = match[1]
        elif match := _MEMORY.match(line):
            width, size, name = match.groups()
            found[f"{module}.{name}"] = int(width) * int(size)
    return found


def bits_in_block_rams(memories: Mapping[str, int], log: str) -> int:
    """Sum of the bits of the memories that Yosys' log says it put into block RAMs."""
    kinds = dict(_MAPPED.findall(log))
    return sum(memories[name] for name, kind in kinds.items() if not kind.startswith(_LUT_RAM))
