"""Clock gates: which registers share one, what it passes, and how strong it is.

Yosys finds registers that keep what they hold while an enable is low, and gives those of a block
that share clock and enable one gate. The gate takes the enable while the clock is low and passes
the next pulse or none, so flip-flops behind it need no way back from their output to their input.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from .buffers import WIRE_FF, first_that_drives
from .cells import Cell, Library
from .netlist import Netlist

# A reset counts as an enable: the registers of a group take their reset values through their data.
_RESETS = """module \\$_SDFFE_PP0P_ (input D, C, R, E, output Q);
  \\$_DFFE_PP_ _TECHMAP_REPLACE_ (.D(D & ~R), .C(C), .E(E | R), .Q(Q));
endmodule
module \\$_SDFFE_PP1P_ (input D, C, R, E, output Q);
  \\$_DFFE_PP_ _TECHMAP_REPLACE_ (.D(D | R), .C(C), .E(E | R), .Q(Q));
endmodule
"""


def clock_gates(library: Library) -> list[Cell]:
    """Clock gates to choose from, the smallest first: all with the pins of the first.

    Gates with few inputs for tests come before those with more; none if the library has none.
    """
    found = [cell for cell in library.cells.values() if cell.enable]
    found.sort(key=lambda cell: (len(cell.pins), cell.area_um2, cell.name))
    return [cell for cell in found if _roles(cell) == _roles(found[0])]


def gating_commands(library: Library, gate_flops: int, folder: Path) -> list[str]:
    """Yosys' commands between fine-grained cells and plain flip-flops that put clock gates in.

    Parameters
    ----------
    gate_flops : least flip-flops of a gate; 0 for no gates
    folder : for a file that the commands read
    """
    gates = clock_gates(library)
    if not gates or not gate_flops:
        return []
    (folder / "resets.v").write_text(_RESETS)
    enable, clock, output = _roles(gates[0])[:3]
    ties = "".join(f" -tie_lo {pin}" for pin in _roles(gates[0])[3:])
    return [
        "dfflegalize -cell $_SDFFE_PP?P_ x -cell $_DFFE_PP_ x -cell $_DFF_P_ x"
        f" -mince {gate_flops}",
        f"techmap -map {folder / 'resets.v'}",
        "techmap",
        "simplemap",
        "opt_expr",
        # Enables that are equal, resets included, become one.
        "opt_merge",
        "opt_clean",
        f"clockgate -pos {gates[0].name} {enable}:{clock}:{output}{ties}"
        f" -min_net_size {gate_flops}",
    ]


def clock_enables(netlist: Netlist, library: Library) -> dict[int, tuple[int, ...]]:
    """Nets that must be high for a pulse on each net that clocks something; none for a root."""
    behind: dict[int, tuple[int, int]] = {}
    clocks = set()
    for one in netlist.instances:
        cell = library[one.cell]
        clocks |= {net for pin, net in one.pins.items() if cell.pins[pin].is_clock}
        if cell.enable:
            enable, clock, output = _roles(cell)[:3]
            behind[one.pins[output]] = one.pins[clock], one.pins[enable]
    found = {}
    for net in sorted(clocks):
        enables, source = [], net
        while source in behind:
            source, enable = behind[source]
            enables.append(enable)
        found[net] = tuple(enables)
    return found


def size_gates(netlist: Netlist, library: Library) -> Netlist:
    """Netlist in which each clock gate is the smallest that drives its flip-flops in time.

    What is too much for the strongest is left to it: figures of placements have a tree of buffers
    behind it.
    """
    gates = clock_gates(library)
    load_ff: Counter[int] = Counter()
    for one in netlist.instances:
        for pin, net in one.pins.items():
            known = library[one.cell].pins[pin]
            if known.is_clock:
                load_ff[net] += known.cap_ff + WIRE_FF

    def sized(one):
        if not library[one.cell].enable:
            return one
        load = load_ff[one.pins[_roles(library[one.cell])[2]]]
        return replace(one, cell=first_that_drives(gates, load).name)

    return replace(netlist, instances=[sized(one) for one in netlist.instances])


def gated(netlist: Netlist, library: Library) -> int:
    """Number of flip-flops behind clock gates."""
    enables = clock_enables(netlist, library)
    return sum(
        bool(enables[net])
        for one in netlist.instances
        if not library[one.cell].enable
        for pin, net in one.pins.items()
        if library[one.cell].pins[pin].is_clock
    )


def _roles(cell: Cell) -> tuple[str, ...]:
    """Pins of a clock gate: enable, clock, output, then those for tests."""
    output = next(name for name, pin in cell.pins.items() if pin.direction == "output")
    tests = sorted(cell.pins.keys() - {cell.enable, cell.clock, output})
    return (cell.enable, cell.clock, output, *tests)
