"""Slack and power by OpenSTA, for any Liberty."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from golden.spec import SpecError

from .cells import Library
from .netlist import Netlist
from .power import Activity

# Transitions a cycle of inputs that nobody measured.
INPUT_ACTIVITY = 0.1
# Total and name of an instance; a total that is no number does not match.
_INSTANCE = re.compile(r"^ *\S+ +\S+ +\S+ +(\d\.\S+) +(\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Report:
    """What OpenSTA says.

    Members
    -------
    slack_ns : of the longest path at the period asked for, with an ideal clock and no wires
    logic_mw : of all cells but macros. Debian's version (2.0.17) adds a pin's energies of rise
        and fall at each edge, so it counts what a flip-flop takes within itself twice; every clock
        has a pulse each cycle for it, gated or not; and a gate at the end of a very long chain,
        for which it finds no finite power, counts for nothing
    path : the longest path, as a text
    """

    slack_ns: float
    logic_mw: float
    path: str


def run_opensta(
    netlist: Netlist,
    library: Library,
    verilog: Path,
    liberties: Sequence[Path],
    period_ns: float,
    activity: Activity | None = None,
) -> Report:
    """Time a netlist and add up its power.

    Parameters
    ----------
    verilog, liberties : files of the netlist and its cells
    period_ns : of the clock
    activity : transitions of nets; it takes those of flip-flops and macros and spreads them
        through the gates itself; without it OpenSTA spreads that of the inputs

    Raises
    ------
    SpecError
        If OpenSTA is not installed, or fails.
    """
    if shutil.which("sta") is None:
        raise SpecError("no OpenSTA: the program sta comes with the package opensta (apt-get)")
    clock = next(iter(_clocks(netlist, library)))
    macros = {one.name for one in netlist.instances if library[one.cell].macro}
    lines = [
        *(f"read_liberty {path.resolve()}" for path in liberties),
        f"read_verilog {verilog.resolve()}",
        f"link_design {netlist.name}",
        f"create_clock -name clock -period [expr {period_ns} * [sta::time_sta_ui 1e-9]]"
        f" [get_ports {clock}]",
        f"set_power_activity -input -activity {INPUT_ACTIVITY} -duty 0.5",
        'puts "worst_slack_s [sta::worst_slack_cmd max]"',
        "report_checks -path_delay max",
        # The first report spreads activities; flip-flops keep what is set after it. It fails where
        # a power is not finite.
        "catch {report_power}",
        *(_pin_activities(netlist, library, activity) if activity else ()),
        'puts "measured"',
        "report_power -digits 9 -instances [get_cells *]",
        "exit",
    ]
    with TemporaryDirectory() as scratch:
        script = Path(scratch) / "run.tcl"
        script.write_text("\n".join(lines) + "\n")
        done = subprocess.run(
            ["sta", "-no_splash", str(script)],
            cwd=scratch,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
    text = done.stdout + done.stderr
    rows = _INSTANCE.findall(text.partition("\nmeasured\n")[2])
    slack = re.search(r"worst_slack_s (\S+)", text)
    if not slack or not rows:
        errors = [line for line in text.splitlines() if "rror" in line]
        raise SpecError(f"OpenSTA on {verilog}: {(errors or [text[-200:]])[0].strip()}")
    path = text[text.find("Startpoint") : text.find("Group  ")].strip()
    logic = sum(float(watts) for watts, name in rows if name not in macros)
    return Report(float(slack[1]) * 1e9, logic * 1e3, path)


def _clocks(netlist: Netlist, library: Library) -> list[str]:
    """Ports whose net takes a flip-flop's clock pin."""
    used = {
        net
        for one in netlist.instances
        for pin, net in one.pins.items()
        if library[one.cell].pins[pin].is_clock
    }
    return [name for name, port in netlist.ports.items() if set(port.nets) & used]


def _pin_activities(netlist: Netlist, library: Library, activity: Activity) -> list[str]:
    """Set what flip-flops and macros put out; OpenSTA keeps to its own figures for gates."""
    lines = []
    for one in netlist.instances:
        cell = library[one.cell]
        for pin, known in cell.pins.items() if cell.sequential and not cell.enable else ():
            if known.direction == "output":
                rate = activity.toggles.get(one.pins.get(pin), 0.0)
                name = pin.replace("[", "\\[").replace("]", "\\]")
                lines.append(
                    f"sta::set_power_pin_activity [get_pins {{{one.name}/{name}}}] {rate:.6f} 0.5"
                )
    return lines
