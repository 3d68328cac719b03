"""Standard cells as figures: what a netlist's instances weigh, load, delay and burn.

Cells carry the names, pins and areas of the Nangate Open Cell Library (45 nm, 1.1 V, 25 C), whose
site is 0.19 x 1.4 um; netlists made with them link against that library. Delay, load, leakage and
energy are one number each, our own fit to typical figures of that library: mean of rise and fall
over all arcs, at an input slew of 40 ps. A clock gate's energies are split so that cycles with and
without a pulse both add up. They are for comparing netlists and stacks with one another; sign-off
takes the Liberty of a process.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from golden.spec import SpecError

from .stored import load_tree, save_tree

SITE = "spikestack45"
SITE_UM = 0.19
ROW_UM = 1.4
VOLTAGE = 1.1
# KLayout's own; DEF may have fewer than the technology that it is read with.
DATABASE_UNITS = 1000


@dataclass(frozen=True)
class Pin:
    """A pin of a cell; a pin of a bus is one bit of it, ``name[index]``.

    Members
    -------
    direction : ``"input"`` or ``"output"``
    cap_ff : what the pin loads its net with, in fF
    is_clock : whether it takes the clock
    function : of an output of a gate, its value as a Liberty expression
    """

    direction: str
    cap_ff: float = 0.0
    is_clock: bool = False
    function: str = ""


@dataclass(frozen=True)
class Cell:
    """A standard cell or a macro.

    Members
    -------
    name : as in netlists
    area_um2, width_um, height_um : of its rectangle
    pins : by name, without supplies
    delay_ps : from an input, or the clock, to an output without load
    ps_per_ff : further delay for each fF at the output
    setup_ps : how long before the clock an input must be steady
    leakage_nw : at rest
    energy_fj : within the cell, for each transition of an output; of a macro for each access
    clock_energy_fj : within the cell, for each cycle of its clock, whatever its output does
    sequential, macro : what it is
    next_state : what a flip-flop takes at its clock, as a Liberty expression
    enable : of a clock gate, the input that lets the next pulse of its clock through to its output;
        inputs besides it and the clock are for tests, and low
    offsets : centre of each pin from the lower left corner in um, where a LEF gave them
    """

    name: str
    area_um2: float
    width_um: float
    height_um: float
    pins: Mapping[str, Pin] = field(repr=False)
    delay_ps: float = 0.0
    ps_per_ff: float = 0.0
    setup_ps: float = 0.0
    leakage_nw: float = 0.0
    energy_fj: float = 0.0
    clock_energy_fj: float = 0.0
    sequential: bool = False
    macro: bool = False
    next_state: str = ""
    enable: str = ""
    offsets: Mapping[str, tuple[float, float]] | None = field(default=None, repr=False)

    @property
    def input_ff(self) -> float:
        """Load of all inputs together, in fF."""
        return sum(pin.cap_ff for pin in self.pins.values() if pin.direction == "input")

    @property
    def clock(self) -> str | None:
        """Pin that takes the clock, if there is one."""
        return next((name for name, pin in self.pins.items() if pin.is_clock), None)


@dataclass(frozen=True)
class Library:
    """All cells that a netlist may use.

    Members
    -------
    name : of the library
    cells : by name
    site_um, row_um : placement grid of standard cells
    voltage : supply in V
    site : name of the placement grid's site
    database_units : steps of a micron in DEF
    """

    name: str
    cells: Mapping[str, Cell] = field(repr=False)
    site_um: float = SITE_UM
    row_um: float = ROW_UM
    voltage: float = VOLTAGE
    site: str = SITE
    database_units: int = DATABASE_UNITS

    def __getitem__(self, name: str) -> Cell:
        """Look a cell up.

        Raises
        ------
        SpecError
            If the library has none of that name.
        """
        if name not in self.cells:
            raise SpecError(f"library {self.name} has no cell {name}")
        return self.cells[name]

    def with_cells(self, more: Mapping[str, Cell]) -> "Library":
        """Library with further cells."""
        return replace(self, cells={**self.cells, **more})

    def save(self, path: Path) -> None:
        """Write the library as JSON, whole or not at all."""
        save_tree(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> "Library":
        """Read what :meth:`save` wrote.

        Raises
        ------
        SpecError
            If there is no such file.
        """
        tree = load_tree(path, "library")
        cells = {}
        for name, fields in tree.pop("cells").items():
            pins = {pin: Pin(**known) for pin, known in fields.pop("pins").items()}
            cells[name] = Cell(**fields, pins=pins)
        return cls(**tree, cells=cells)


# name: area, delay, ps/fF, leakage, energy, {input: fF}, {output: function}
_GATES = {
    "INV_X1": (0.532, 10, 2.2, 14, 1.1, {"A": 1.7}, {"ZN": "!A"}),
    "INV_X2": (0.798, 10, 1.1, 29, 2.3, {"A": 3.3}, {"ZN": "!A"}),
    "INV_X4": (1.330, 10, 0.56, 57, 4.6, {"A": 6.3}, {"ZN": "!A"}),
    "BUF_X1": (0.798, 32, 1.9, 21, 2.5, {"A": 1.0}, {"Z": "A"}),
    "BUF_X2": (1.064, 30, 0.96, 43, 5.0, {"A": 1.8}, {"Z": "A"}),
    "BUF_X4": (1.862, 29, 0.48, 86, 9.5, {"A": 3.4}, {"Z": "A"}),
    "BUF_X8": (3.458, 30, 0.24, 172, 19, {"A": 6.6}, {"Z": "A"}),
    "NAND2_X1": (0.798, 17, 2.5, 17, 1.6, {"A1": 1.6, "A2": 1.7}, {"ZN": "!(A1 & A2)"}),
    "NAND2_X2": (1.330, 17, 1.3, 35, 3.1, {"A1": 3.1, "A2": 3.5}, {"ZN": "!(A1 & A2)"}),
    "NOR2_X1": (0.798, 18, 3.7, 21, 1.5, {"A1": 1.7, "A2": 1.7}, {"ZN": "!(A1 | A2)"}),
    "AND2_X1": (1.064, 38, 2.0, 25, 2.7, {"A1": 0.9, "A2": 1.0}, {"ZN": "(A1 & A2)"}),
    "OR2_X1": (1.064, 42, 2.0, 23, 2.6, {"A1": 1.0, "A2": 0.9}, {"ZN": "(A1 | A2)"}),
    "AOI21_X1": (
        *(1.064, 25, 3.6, 28, 2.2),
        {"A": 1.6, "B1": 1.7, "B2": 1.7},
        {"ZN": "!(A | (B1 & B2))"},
    ),
    "OAI21_X1": (
        *(1.064, 23, 3.2, 23, 2.1),
        {"A": 1.7, "B1": 1.7, "B2": 1.6},
        {"ZN": "!(A & (B1 | B2))"},
    ),
    "XOR2_X1": (1.596, 39, 3.7, 36, 3.0, {"A": 2.2, "B": 2.4}, {"Z": "(A ^ B)"}),
    "XNOR2_X1": (1.596, 35, 3.2, 36, 3.0, {"A": 2.2, "B": 2.6}, {"ZN": "!(A ^ B)"}),
    "MUX2_X1": (
        *(1.862, 52, 2.1, 36, 3.4),
        {"A": 0.9, "B": 0.9, "S": 1.9},
        {"Z": "((S & B) | (A & !S))"},
    ),
    "LOGIC0_X1": (0.532, 0, 0, 18, 0, {}, {"Z": "0"}),
    "LOGIC1_X1": (0.532, 0, 0, 18, 0, {}, {"Z": "1"}),
}


def _gate(name: str) -> Cell:
    area, delay, slope, leakage, energy, inputs, outputs = _GATES[name]
    return Cell(
        name=name,
        area_um2=area,
        width_um=round(area / ROW_UM, 3),
        height_um=ROW_UM,
        pins={pin: Pin("input", cap) for pin, cap in inputs.items()}
        | {pin: Pin("output", function=function) for pin, function in outputs.items()},
        delay_ps=delay,
        ps_per_ff=slope,
        leakage_nw=leakage,
        energy_fj=energy,
    )


_FLIP_FLOP = Cell(
    name="DFF_X1",
    area_um2=4.522,
    width_um=3.23,
    height_um=ROW_UM,
    pins={
        "D": Pin("input", 1.1),
        "CK": Pin("input", 0.95, is_clock=True),
        "Q": Pin("output", function="IQ"),
        "QN": Pin("output", function="IQN"),
    },
    delay_ps=92,
    ps_per_ff=1.8,
    setup_ps=40,
    leakage_nw=79,
    energy_fj=4.3,
    # Both edges of a cycle in which D does not change.
    clock_energy_fj=7.0,
    sequential=True,
    next_state="D",
)

# name: area, delay, ps/fF, setup, leakage, energy, energy of a cycle without a pulse, E fF, CK fF.
_CLOCK_GATES = {
    "CLKGATE_X1": (3.458, 37, 2.6, 57, 49, 2.0, 5.2, 0.9, 1.8),
    "CLKGATE_X2": (3.724, 36, 1.3, 66, 67, 4.2, 5.6, 0.9, 2.6),
    "CLKGATE_X4": (4.522, 35, 0.65, 68, 110, 8.2, 6.0, 0.9, 4.3),
    "CLKGATE_X8": (6.916, 35, 0.33, 70, 198, 16, 7.6, 1.2, 7.7),
}


def _clock_gate(name: str) -> Cell:
    area, delay, slope, setup, leakage, energy, idle, enable, clock = _CLOCK_GATES[name]
    return Cell(
        name=name,
        area_um2=area,
        width_um=round(area / ROW_UM, 3),
        height_um=ROW_UM,
        pins={
            "CK": Pin("input", clock, is_clock=True),
            "E": Pin("input", enable),
            "GCK": Pin("output", function="(CK & IQ)"),
        },
        delay_ps=delay,
        ps_per_ff=slope,
        setup_ps=setup,
        leakage_nw=leakage,
        energy_fj=energy,
        clock_energy_fj=idle,
        sequential=True,
        enable="E",
    )


def standard_cells() -> Library:
    """Library of the embedded cells, without macros."""
    cells = [*map(_gate, _GATES), _FLIP_FLOP, *map(_clock_gate, _CLOCK_GATES)]
    return Library("spikestack45", {cell.name: cell for cell in cells})
