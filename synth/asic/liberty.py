"""Liberty of a library of :mod:`synth.asic.cells`, for Yosys, ABC and OpenSTA."""

from collections.abc import Iterable

from .cells import Cell, Library, Pin
from .fakeram import scalar

# Slews of the 30 to 70 % kind: a constant part, and a share of the delay that the load adds.
SLEW_PS = 7.0
SLEW_SHARE = 0.8
_LOADS_FF = (0.5, 8.0, 64.0)
_SLEWS_PS = (5.0, 40.0, 160.0)
# Delay that an input slew above the fit's 40 ps adds, for each ps.
_SLEW_DELAY = 0.15

_HEADER = """library ({name}) {{
  delay_model : table_lookup;
  time_unit : "1ps";
  voltage_unit : "1V";
  current_unit : "1uA";
  leakage_power_unit : "1nW";
  pulling_resistance_unit : "1kohm";
  capacitive_load_unit (1, ff);
  nom_process : 1;
  nom_temperature : 25;
  nom_voltage : {voltage};
  input_threshold_pct_rise : 50;
  input_threshold_pct_fall : 50;
  output_threshold_pct_rise : 50;
  output_threshold_pct_fall : 50;
  slew_lower_threshold_pct_rise : 30;
  slew_lower_threshold_pct_fall : 30;
  slew_upper_threshold_pct_rise : 70;
  slew_upper_threshold_pct_fall : 70;
  default_max_transition : 500;
  operating_conditions (typical) {{
    process : 1;
    temperature : 25;
    voltage : {voltage};
  }}
  default_operating_conditions : typical;
  lu_table_template (delay) {{
    variable_1 : input_net_transition;
    variable_2 : total_output_net_capacitance;
    index_1 ("{slews}");
    index_2 ("{loads}");
  }}
"""


def write_liberty(library: Library, names: Iterable[str] | None = None) -> str:
    """Write the Liberty text of the cells named; all of them by default."""
    cells = [library[name] for name in (sorted(names) if names is not None else library.cells)]
    lines = [
        _HEADER.format(
            name=library.name,
            voltage=library.voltage,
            slews=_numbers(_SLEWS_PS),
            loads=_numbers(_LOADS_FF),
        ).rstrip()
    ]
    widths = sorted({bits for cell in cells if cell.macro for bits in _buses(cell).values()})
    for bits in widths:
        lines += [
            f"  type (bus{bits}) {{",
            "    base_type : array;",
            "    data_type : bit;",
            f"    bit_width : {bits};",
            f"    bit_from : {bits - 1};",
            "    bit_to : 0;",
            "    downto : true;",
            "  }",
        ]
    for cell in cells:
        lines += _cell(cell)
    return "\n".join([*lines, "}", ""])


def _cell(cell: Cell) -> list[str]:
    lines = [f"  cell ({cell.name}) {{", f"    area : {cell.area_um2:g};"]
    lines.append(f"    cell_leakage_power : {cell.leakage_nw:g};")
    if cell.macro:
        lines.append("    interface_timing : true;")
        lines.append("    dont_touch : true;")
        lines.append("    dont_use : true;")
    elif cell.enable:
        lines += _latch(cell)
    elif cell.sequential:
        lines += [
            "    ff (IQ, IQN) {",
            '      next_state : "D";',
            '      clocked_on : "CK";',
            "    }",
        ]
    buses = _buses(cell)
    done = set()
    for name, pin in cell.pins.items():
        group, kind = name, "pin"
        if cell.macro and not scalar(name):
            group, kind = name.split("[")[0], "bus"
        if group in done:
            continue
        done.add(group)
        lines.append(f"    {kind} ({group}) {{")
        if kind == "bus":
            lines.append(f"      bus_type : bus{buses[group]};")
        lines += [f"      {line}" for line in _pin(cell, name, pin)]
        lines.append("    }")
    return [*lines, "  }"]


def _latch(cell: Cell) -> list[str]:
    """What a clock gate holds: the enable of the clock's low phase."""
    return [
        "    clock_gating_integrated_cell : latch_posedge;",
        f'    statetable ("{cell.clock} {cell.enable}", "IQ") {{',
        '      table : "L L : - : L, L H : - : H, H - : - : N";',
        "    }",
        "    pin (IQ) {",
        "      direction : internal;",
        '      internal_node : "IQ";',
        "    }",
    ]


def _pin(cell: Cell, name: str, pin: Pin) -> list[str]:
    clock = cell.clock
    lines = [f"direction : {pin.direction};"]
    if pin.direction == "input":
        lines.append(f"capacitance : {pin.cap_ff:g};")
        if cell.enable and name in (clock, cell.enable):
            role = "clock" if pin.is_clock else "enable"
            lines.append(f"clock_gate_{role}_pin : true;")
        if pin.is_clock:
            lines.append("clock : true;")
            energy = cell.energy_fj if cell.macro else cell.clock_energy_fj
            lines += _power(energy / 2)
        elif cell.sequential:
            lines += _constraint("setup_rising", clock, cell.setup_ps)
            lines += _constraint("hold_rising", clock, 0.0)
        return lines
    if cell.enable:
        lines += ["clock_gate_out_pin : true;", f'state_function : "{pin.function}";']
    elif pin.function:
        lines.append(f'function : "{pin.function}";')
    if cell.ps_per_ff:
        lines.append(f"max_capacitance : {120 / cell.ps_per_ff:.1f};")
        if cell.enable:
            lines += _arc(cell, clock, "timing_sense : positive_unate;")
        elif cell.sequential:
            lines += _arc(cell, clock, "timing_type : rising_edge;")
        else:
            for other, source in cell.pins.items():
                if source.direction == "input":
                    lines += _arc(cell, other, f"timing_sense : {_sense(cell)};")
    if cell.energy_fj and not cell.macro:
        related = clock or next(n for n, p in cell.pins.items() if p.direction == "input")
        lines += _power(cell.energy_fj, related)
    return lines


def _sense(cell: Cell) -> str:
    if cell.name.startswith(("XOR", "XNOR", "MUX")):
        return "non_unate"
    output = next(pin for pin in cell.pins.values() if pin.direction == "output")
    return "negative_unate" if output.function.startswith("!") else "positive_unate"


def _arc(cell: Cell, related: str, kind: str) -> list[str]:
    delay = [
        [
            cell.delay_ps + cell.ps_per_ff * load + _SLEW_DELAY * (slew - 40.0)
            if not cell.sequential
            else cell.delay_ps + cell.ps_per_ff * load
            for load in _LOADS_FF
        ]
        for slew in _SLEWS_PS
    ]
    slews = [[SLEW_PS + SLEW_SHARE * cell.ps_per_ff * load for load in _LOADS_FF]] * 3
    lines = ["timing () {", f'  related_pin : "{related}";', f"  {kind}"]
    for group, rows in (
        ("cell_rise", delay),
        ("cell_fall", delay),
        ("rise_transition", slews),
        ("fall_transition", slews),
    ):
        values = ", ".join(f'"{_numbers(row)}"' for row in rows)
        lines.append(f"  {group} (delay) {{ values ({values}); }}")
    return [*lines, "}"]


def _constraint(kind: str, clock: str, ps: float) -> list[str]:
    return [
        "timing () {",
        f'  related_pin : "{clock}";',
        f"  timing_type : {kind};",
        f'  rise_constraint (scalar) {{ values ("{ps:g}"); }}',
        f'  fall_constraint (scalar) {{ values ("{ps:g}"); }}',
        "}",
    ]


def _power(energy_fj: float, related: str | None = None) -> list[str]:
    lines = ["internal_power () {"]
    if related:
        lines.append(f'  related_pin : "{related}";')
    for edge in ("rise", "fall"):
        lines.append(f'  {edge}_power (scalar) {{ values ("{energy_fj:g}"); }}')
    return [*lines, "}"]


def _buses(cell: Cell) -> dict[str, int]:
    buses: dict[str, int] = {}
    for name in cell.pins:
        if "[" in name:
            bus = name.split("[")[0]
            buses[bus] = buses.get(bus, 0) + 1
    return buses


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
