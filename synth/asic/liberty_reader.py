"""Liberty files of others: areas, pins, functions, loads, and one typical delay a cell."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from golden.spec import SpecError

from .cells import Pin

_TOKEN = re.compile(
    r"""/\*.*?\*/ | //[^\n]* | \\\s*\n
      | (?P<group> [A-Za-z_]\w*) \s* \( (?P<args> [^()]*(?:\([^()]*\)[^()]*)*) \) \s* \{
      | (?P<call> [A-Za-z_]\w*) \s* \( (?P<values> [^()]*(?:\([^()]*\)[^()]*)*) \) \s* ;?
      | (?P<key> [A-Za-z_]\w*) \s* : \s* (?P<value> "[^"]*" | [^;\n}]*) \s* ;?
      | (?P<end> \})""",
    re.DOTALL | re.VERBOSE,
)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_TIME_PS = {"1fs": 1e-3, "1ps": 1.0, "10ps": 10.0, "100ps": 100.0, "1ns": 1e3}
_POWER_NW = {"1pw": 1e-3, "1nw": 1.0, "10nw": 10.0, "1uw": 1e3, "1mw": 1e6}


@dataclass
class Group:
    """``kind (args) { values; groups }`` of a Liberty file."""

    kind: str
    args: str
    values: dict[str, str] = field(default_factory=dict)
    groups: list["Group"] = field(default_factory=list)

    def all(self, *kinds: str) -> Iterator["Group"]:
        """Groups of some kinds directly within."""
        return (group for group in self.groups if group.kind in kinds)


def parse_liberty(text: str, source: str) -> Group:
    """Parse a Liberty text to its library group.

    Raises
    ------
    SpecError
        If it has no library or its braces do not match.
    """
    root = Group("file", "")
    stack = [root]
    for match in _TOKEN.finditer(text):
        if match["group"]:
            group = Group(match["group"], match["args"].replace('"', "").strip())
            stack[-1].groups.append(group)
            stack.append(group)
        elif match["call"]:
            stack[-1].values[match["call"]] = match["values"]
        elif match["key"]:
            stack[-1].values[match["key"]] = match["value"].strip().strip('"')
        elif match["end"]:
            stack.pop()
            if not stack:
                break
    library = next(root.all("library"), None)
    if library is None or stack != [root]:
        raise SpecError(f"{source} is no Liberty file: must be one library (name) {{ ... }}")
    return library


@dataclass(frozen=True)
class _Units:
    ps: float
    ff: float
    nw: float
    voltage: float


def read_cells(path: Path) -> tuple[str, float, dict[str, dict]]:
    """Read a Liberty file.

    Returns
    -------
    tuple
        Name of the library, its voltage, and for each cell the arguments of
        :class:`synth.asic.cells.Cell` without its size.

    Raises
    ------
    SpecError
        If the file is missing or malformed, or a cell has no area.
    """
    if not path.is_file():
        raise SpecError(f"no Liberty file {path}")
    library = parse_liberty(path.read_text(errors="replace"), str(path))
    units = _units(library, path)
    cells = {}
    for group in library.all("cell"):
        if "area" not in group.values:
            raise SpecError(f"{path}: cell {group.args} has no area")
        cells[group.args] = _cell(group, units, library)
    if not cells:
        raise SpecError(f"{path} has no cells")
    return library.args, units.voltage, cells


def _units(library: Group, path: Path) -> _Units:
    time = library.values.get("time_unit", "1ns").lower()
    power = library.values.get("leakage_power_unit", "1nW").lower()
    load = library.values.get("capacitive_load_unit", "1,pf").replace('"', "")
    number, _, unit = (part.strip().lower() for part in load.partition(","))
    if time not in _TIME_PS or power not in _POWER_NW or unit not in ("ff", "pf"):
        raise SpecError(f"{path}: units {time}, {power}, {load}: known are ps, ns; nW, uW; fF, pF")
    return _Units(
        ps=_TIME_PS[time],
        ff=float(number) * (1.0 if unit == "ff" else 1000.0),
        nw=_POWER_NW[power],
        voltage=float(library.values.get("nom_voltage", "1.0")),
    )


def _cell(group: Group, units: _Units, library: Group) -> dict:
    register = next(group.all("ff", "latch"), None)
    states = dict(zip(_names(register.args), ("IQ", "IQN"), strict=False)) if register else {}
    clock = register.values.get("clocked_on", "") if register else ""
    clock_gate = _clock_gate(group)
    buses = {bus.args: int(bus.values["bit_width"]) for bus in library.all("type")}
    pins: dict[str, Pin] = {}
    for pin in group.all("pin", "bus"):
        direction = pin.values.get("direction", "")
        if direction not in ("input", "output"):
            continue
        function = expression(pin.values.get("function", ""))
        if clock_gate and direction == "output":
            function = f"({clock_gate['clock']} & IQ)"
        made = Pin(
            direction,
            float(pin.values.get("capacitance", 0.0)) * units.ff,
            _is_clock(pin) or pin.args == clock,
            states.get(function, function),
        )
        if pin.kind == "pin":
            pins[pin.args] = made
        else:
            bits = buses[pin.values["bus_type"]]
            pins |= {f"{pin.args}[{index}]": made for index in range(bits)}
    macro = register is None and any(group.all("bus"))
    figures = _Figures(group, units, library)
    delay, slope = figures.delay()
    return {
        "name": group.args,
        "area_um2": float(group.values["area"]),
        "pins": pins,
        "delay_ps": delay,
        "ps_per_ff": slope,
        "setup_ps": figures.setup(),
        "leakage_nw": float(group.values.get("cell_leakage_power", 0.0)) * units.nw,
        "energy_fj": figures.energy(clocks=macro) * (2 if macro else 1),
        "clock_energy_fj": 0.0 if macro else 2 * figures.energy(clocks=True),
        "sequential": register is not None or macro or bool(clock_gate),
        "macro": macro,
        "next_state": expression(register.values.get("next_state", "")) if register else "",
        "enable": clock_gate.get("enable", ""),
    }


def _is_clock(pin: Group) -> bool:
    return "true" in (pin.values.get("clock"), pin.values.get("clock_gate_clock_pin"))


def _clock_gate(cell: Group) -> dict[str, str]:
    """Pins ``clock``, ``enable`` and ``out`` of a clock gate for rising edges, low between pulses.

    Such a gate has one pin of each and inputs for tests besides; nothing of any other cell.
    """
    if not cell.values.get("clock_gating_integrated_cell", "").startswith("latch_posedge"):
        return {}
    pins = [pin for pin in cell.all("pin") if pin.values.get("direction") in ("input", "output")]
    found = {
        pin.args: role
        for pin in pins
        for role in ("clock", "enable", "out", "test")
        if pin.values.get(f"clock_gate_{role}_pin") == "true"
    }
    roles = {role: name for name, role in found.items() if role != "test"}
    single = len(found) == len(pins) == 3 + list(found.values()).count("test")
    return roles if single and len(roles) == 3 else {}


def expression(text: str) -> str:
    """Liberty expression in the operators that Verilog shares.

    Liberty also writes ``A'`` for ``!A``, ``*`` or a blank for ``&``, and ``+`` for ``|``.
    """
    text = re.sub(r"(\w+)\s*'", r"!\1", text)
    text = text.replace("*", " & ").replace("+", " | ")
    text = re.sub(r"(?<=[\w)])\s+(?=[\w(!])", " & ", text.strip())
    return re.sub(r"\s*([&|^])\s*", r" \1 ", text)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _numbers(text: str) -> list[float]:
    return [float(number) for number in _NUMBER.findall(text.replace("\\", ""))]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


class _Figures:
    """One number of each kind from the tables of a cell."""

    def __init__(self, group: Group, units: _Units, library: Group) -> None:
        self._units = units
        self._pins = list(group.all("pin", "bus"))
        self._templates = {one.args: one.values for one in library.all("lu_table_template")}

    def delay(self) -> tuple[float, float]:
        """Mean over arcs and edges of a straight line over the load, at the second lowest slew."""
        lines = [
            line
            for pin in self._pins
            for arc in pin.all("timing")
            for table in arc.all("cell_rise", "cell_fall")
            if (line := self._line(table))
        ]
        constant, slope = (_mean([line[part] for line in lines]) for part in (0, 1))
        return constant * self._units.ps, slope * self._units.ps / self._units.ff

    def setup(self) -> float:
        """Longest set-up time."""
        found = [
            max(_numbers(table.values.get("values", "")), default=0.0)
            for pin in self._pins
            for arc in pin.all("timing")
            if arc.values.get("timing_type", "") == "setup_rising"
            for table in arc.all("rise_constraint", "fall_constraint")
        ]
        return max(found, default=0.0) * self._units.ps

    def energy(self, *, clocks: bool) -> float:
        """Mean internal energy of a transition, of outputs or of the clock.

        Liberty counts energy in the unit of load times the square of the unit of voltage.
        """
        means = [
            _mean(values)
            for pin in self._pins
            if _is_clock(pin) == clocks and (clocks or pin.values.get("direction") == "output")
            for power in pin.all("internal_power")
            for table in power.all("rise_power", "fall_power")
            if (values := _numbers(table.values.get("values", "")))
        ]
        return _mean(means) * self._units.ff

    def _line(self, table: Group) -> tuple[float, float] | None:
        template = self._templates.get(table.args, {})
        load_first = "capacitance" in template.get("variable_1", "")
        values = _numbers(table.values.get("values", ""))
        axes = [
            _numbers(table.values.get(axis, template.get(axis, "")))
            for axis in ("index_1", "index_2")
        ]
        if len(values) < 2:
            return (values[0], 0.0) if values else None
        loads, slews = axes if load_first else reversed(axes)
        if len(loads) < 2 or len(values) != len(loads) * max(1, len(slews)):
            return None
        slew = min(1, len(slews) - 1) if slews else 0
        step = (max(1, len(slews)), 1) if load_first else (1, len(loads))
        row = [values[index * step[0] + slew * step[1]] for index in range(len(loads))]
        slope = (row[-1] - row[0]) / (loads[-1] - loads[0])
        return row[0] - slope * loads[0], slope
