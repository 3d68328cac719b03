"""Memories as macros in the style of ``fakeram45``, sized by formula.

A macro ``fakeram45_<depth>x<width>`` has one port for reads and writes, with the pins that the open
3D flows know. ``fakeram45_<depth>x<width>_1r1w`` has a read and a write port, for memories that do
both in one cycle. Rows are read one cycle after their address, hold while no read is asked for, and
have their old contents if they are written in the same cycle.

Area, access time, energy and leakage of one port are fitted to those that are published
(:mod:`synth.asic.published`). Two ports multiply area by :data:`TWO_PORTS`, our figure for an array
of 8-transistor cells. In another library a macro is larger, slower and so on as that
library's flip-flop is against the embedded one.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from golden.spec import SpecError

from .cells import Cell, Library, Pin, standard_cells
from .published import expected

TWO_PORTS = 1.4
ASPECT = 1.5
SETUP_PS = 50.0
CLOCK_FF, PIN_FF = 25.0, 5.0
# The published macros drive any load equally fast; this is the slope of a large buffer.
PS_PER_FF = 0.24

_NAME = re.compile(r"^fakeram45_([1-9]\d*)x([1-9]\d*)(_1r1w)?$")


def macro_name(depth: int, width: int, *, two_ports: bool) -> str:
    """Name of the macro of a shape."""
    return f"fakeram45_{depth}x{width}{'_1r1w' if two_ports else ''}"


def macro_shape(name: str) -> tuple[int, int, bool] | None:
    """Depth, width and whether there are two ports; None if it is no such macro."""
    match = _NAME.match(name)
    return (int(match[1]), int(match[2]), bool(match[3])) if match else None


def address_bits(depth: int) -> int:
    """Bits of an address; at least one."""
    return max(1, (depth - 1).bit_length())


def macro_ports(depth: int, width: int, *, two_ports: bool) -> dict[str, tuple[str, int]]:
    """Direction and bits of each port, in order. One bit stands for a scalar port."""
    bits = address_bits(depth)
    data = {"w_mask_in": ("input", width), "wd_in": ("input", width), "rd_out": ("output", width)}
    if two_ports:
        control = ("clk", "r_ce_in", "w_ce_in")
        addresses = {"r_addr_in": ("input", bits), "w_addr_in": ("input", bits)}
    else:
        control = ("clk", "ce_in", "we_in")
        addresses = {"addr_in": ("input", bits)}
    return {name: ("input", 1) for name in control} | addresses | data


def scalar(port: str) -> bool:
    """Whether a port of a macro is a single pin rather than a bus."""
    return port in ("clk", "ce_in", "we_in", "r_ce_in", "w_ce_in")


@dataclass(frozen=True)
class Scale:
    """A library's flip-flop over the embedded one, and its placement grid.

    Members
    -------
    area, delay, energy, leakage, load : ratios
    site_um, row_um : sizes are multiples of these
    """

    area: float
    delay: float
    energy: float
    leakage: float
    load: float
    site_um: float
    row_um: float

    @classmethod
    def of(cls, library: Library) -> "Scale":
        """Compare a library with the embedded one.

        Raises
        ------
        SpecError
            If the library has no flip-flop.
        """
        ours, theirs = _flip_flop(standard_cells()), _flip_flop(library)
        load = _data_pin(theirs).cap_ff / _data_pin(ours).cap_ff
        return cls(
            theirs.area_um2 / ours.area_um2,
            theirs.delay_ps / ours.delay_ps,
            theirs.energy_fj / ours.energy_fj,
            theirs.leakage_nw / ours.leakage_nw,
            load,
            library.site_um,
            library.row_um,
        )


def with_macros(library: Library, names: Iterable[str]) -> Library:
    """Library with the macros named."""
    scale = Scale.of(library)
    return library.with_cells({name: macro(name, scale) for name in names})


def macro(name: str, scale: Scale | None = None) -> Cell:
    """Cell of a macro, from its name.

    Raises
    ------
    SpecError
        If the name is no macro's.
    """
    shape = macro_shape(name)
    if shape is None:
        raise SpecError(f"macro {name}: must be named fakeram45_<depth>x<width>, with _1r1w or not")
    scale = scale or _UNSCALED
    depth, width, two_ports = shape
    fitted = expected(depth, width)
    area = fitted.area_um2 * (TWO_PORTS if two_ports else 1.0) * scale.area
    height = math.ceil(math.sqrt(area / ASPECT) / scale.row_um) * scale.row_um
    columns = math.ceil(area / height / scale.site_um)
    pins = {}
    for port, (direction, bits) in macro_ports(depth, width, two_ports=two_ports).items():
        cap = 0.0 if direction == "output" else CLOCK_FF if port == "clk" else PIN_FF
        pin = Pin(direction, cap * scale.load, is_clock=port == "clk")
        if scalar(port):
            pins[port] = pin
        else:
            pins |= {f"{port}[{index}]": pin for index in range(bits)}
    return Cell(
        name=name,
        area_um2=round(columns * scale.site_um * height, 4),
        width_um=round(columns * scale.site_um, 3),
        height_um=round(height, 3),
        pins=pins,
        delay_ps=round(fitted.access_ps * scale.delay, 1),
        ps_per_ff=PS_PER_FF * scale.delay / scale.load,
        setup_ps=SETUP_PS * scale.delay,
        leakage_nw=round(fitted.leakage_uw * 1000 * scale.leakage, 3),
        energy_fj=round(fitted.energy_fj * scale.energy, 1),
        sequential=True,
        macro=True,
    )


def _flip_flop(library: Library) -> Cell:
    """Smallest flip-flop of a library that takes D at every clock."""
    found = [
        cell
        for cell in library.cells.values()
        if cell.sequential
        and not cell.macro
        and cell.next_state in cell.pins
        and sum(pin.direction == "input" for pin in cell.pins.values()) == 2
    ]
    if not found:
        raise SpecError(f"library {library.name} has no flip-flop with a clock and D alone")
    return min(found, key=lambda cell: (cell.area_um2, cell.name))


def _data_pin(cell: Cell) -> Pin:
    return cell.pins[cell.next_state]


_UNSCALED = Scale.of(standard_cells())
