"""Memories as macros in the style of ``fakeram45``, sized by formula.

A macro ``fakeram45_<depth>x<width>`` has one port for reads and writes, with the pins that the open
3D flows know. ``fakeram45_<depth>x<width>_1r1w`` has a read and a write port, for memories that do
both in one cycle. Rows are read one cycle after their address, hold while no read is asked for, and
have their old contents if they are written in the same cycle.

Area, access time, energy and leakage of one port are a non-negative least-squares fit, in depth,
width and bits, to the six ``fakeram45`` macros that OpenSTA's tests publish (64x7 to 1024x32); it
meets each of their figures within 11 %. Two ports multiply area by :data:`TWO_PORTS`, our figure
for an array of 8-transistor cells.
"""

import math
import re

from golden.spec import SpecError

from .cells import ROW_UM, SITE_UM, Cell, Pin

# Constant, for each row, for each bit of a row, for each bit.
_AREA_UM2 = (1496.0, 24.07, 6.05, 0.1132)
_ACCESS_PS = (206.0, 0.125, 0.166, 0.000578)
_ENERGY_FJ = (775.0, 3.71, 18.7, 0.0378)
_LEAKAGE_NW = (47_700.0, 1496.0, 258.0, 0.0)
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


SCALARS = frozenset({"clk", "ce_in", "we_in", "r_ce_in", "w_ce_in"})


def macro(name: str) -> Cell:
    """Cell of a macro, from its name.

    Raises
    ------
    SpecError
        If the name is no macro's.
    """
    shape = macro_shape(name)
    if shape is None:
        raise SpecError(f"macro {name}: must be named fakeram45_<depth>x<width>, with _1r1w or not")
    depth, width, two_ports = shape
    area = _fit(_AREA_UM2, depth, width) * (TWO_PORTS if two_ports else 1.0)
    height = math.ceil(math.sqrt(area / ASPECT) / ROW_UM) * ROW_UM
    columns = math.ceil(area / height / SITE_UM)
    pins = {}
    for port, (direction, bits) in macro_ports(depth, width, two_ports=two_ports).items():
        cap = 0.0 if direction == "output" else CLOCK_FF if port == "clk" else PIN_FF
        pin = Pin(direction, cap, is_clock=port == "clk")
        if port in SCALARS:
            pins[port] = pin
        else:
            pins |= {f"{port}[{index}]": pin for index in range(bits)}
    return Cell(
        name=name,
        area_um2=round(columns * SITE_UM * height, 4),
        width_um=round(columns * SITE_UM, 3),
        height_um=round(height, 3),
        pins=pins,
        delay_ps=round(_fit(_ACCESS_PS, depth, width), 1),
        ps_per_ff=PS_PER_FF,
        setup_ps=SETUP_PS,
        leakage_nw=round(_fit(_LEAKAGE_NW, depth, width)),
        energy_fj=round(_fit(_ENERGY_FJ, depth, width), 1),
        sequential=True,
        macro=True,
    )


def _fit(terms: tuple[float, float, float, float], depth: int, width: int) -> float:
    constant, row, column, bit = terms
    return constant + row * depth + column * width + bit * depth * width
