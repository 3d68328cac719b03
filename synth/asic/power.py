"""Power of a netlist from how often its nets switch, with the wires' share."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from .cells import Library
from .netlist import Netlist
from .stored import load_tree, save_tree
from .timing import default_wires
from .wires import NO_JOINTS, Joints, Wires

# Transitions of an ungated clock in a cycle.
CLOCK_EDGES = 2.0


@dataclass(frozen=True)
class Activity:
    """How often things happen, for each cycle of the clock.

    Members
    -------
    toggles : transitions of each net; one without a figure does not switch, and one that clocks
        something has both edges
    accesses : reads and writes of each macro instance
    """

    toggles: Mapping[int, float]
    accesses: Mapping[str, float]

    def save(self, path: Path) -> None:
        """Write the figures as JSON, whole or not at all."""
        save_tree(path, {"toggles": list(self.toggles.items()), "accesses": dict(self.accesses)})

    @classmethod
    def load(cls, path: Path) -> "Activity":
        """Read what :meth:`save` wrote.

        Raises
        ------
        SpecError
            If there is no such file.
        """
        tree = load_tree(path, "activity", "python -m synth.asic activity")
        return cls({net: toggles for net, toggles in tree["toggles"]}, tree["accesses"])


@dataclass(frozen=True)
class Power:
    """mW by cause.

    Members
    -------
    wires : loading of wires, bonds and repeaters of signals
    pins : loading of the inputs that signals reach
    cells : within gates and flip-flops when their outputs switch
    clock : the clocks' wires, their pins, clock gates, and flip-flops at the edges they get
    memories : accesses of macros
    leakage : of everything
    """

    wires: float
    pins: float
    cells: float
    clock: float
    memories: float
    leakage: float

    @property
    def total(self) -> float:
        """Sum of all causes."""
        return sum(asdict(self).values())


def estimate(
    netlist: Netlist,
    library: Library,
    activity: Activity,
    period_ps: float,
    lengths: Mapping[int, float] | None = None,
    *,
    joints: Mapping[int, Joints] | None = None,
    wires: Wires | None = None,
) -> Power:
    """Add up the energy of a cycle and divide by the period.

    Parameters
    ----------
    activity : of nets and macros
    period_ps : of the clock
    lengths, joints : um of wire and joints between tiers of each net; those of clocks are not read
    wires : by default those of :func:`synth.asic.timing.default_wires`
    """
    wires = wires or default_wires(library)
    lengths, joints = lengths or {}, joints or {}
    half = library.voltage**2 / 2
    found = dict.fromkeys(("wires", "pins", "cells", "clock", "memories"), 0.0)
    leakage = 0.0
    for one in netlist.instances:
        cell = library[one.cell]
        leakage += cell.leakage_nw
        if cell.macro:
            found["memories"] += activity.accesses.get(one.name, 0.0) * cell.energy_fj
        for pin, net in one.pins.items():
            known = cell.pins[pin]
            clocks = known.is_clock or (cell.enable and known.direction == "output")
            toggles = activity.toggles.get(net, CLOCK_EDGES if clocks else 0.0)
            if known.is_clock:
                within = cell.clock_energy_fj / CLOCK_EDGES
                found["clock"] += toggles * (half * known.cap_ff + within)
            elif clocks:
                found["clock"] += toggles * cell.energy_fj
            elif known.direction == "input":
                found["pins"] += toggles * half * known.cap_ff
            else:
                wire = wires.energy_fj(
                    lengths.get(net, 0.0), library.voltage, joints.get(net, NO_JOINTS)
                )
                found["wires"] += toggles * wire
                if not cell.macro:
                    found["cells"] += toggles * cell.energy_fj
    per_cycle = {name: energy / period_ps for name, energy in found.items()}
    return Power(**per_cycle, leakage=leakage * 1e-6)
