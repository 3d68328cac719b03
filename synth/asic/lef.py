"""LEF: technology, cells and bonds."""

import math
from collections.abc import Iterable

from .cells import Cell, Library

# Name, direction, pitch, width in um: metal of the Nangate library's technology.
LAYERS = (
    ("metal1", "HORIZONTAL", 0.14, 0.07),
    ("metal2", "VERTICAL", 0.19, 0.07),
    ("metal3", "HORIZONTAL", 0.14, 0.07),
    ("metal4", "VERTICAL", 0.28, 0.14),
    ("metal5", "HORIZONTAL", 0.28, 0.14),
    ("metal6", "VERTICAL", 0.28, 0.14),
    ("metal7", "HORIZONTAL", 0.8, 0.4),
    ("metal8", "VERTICAL", 0.8, 0.4),
    ("metal9", "HORIZONTAL", 1.6, 0.8),
    ("metal10", "VERTICAL", 1.6, 0.8),
)
BOND_MACRO = "HBT"
BOND_LAYER = "metal10"
# Side of a hybrid bond's pad.
BOND_UM = 0.8
_PIN_UM = 0.07
# Macro pins stand on multiples of this, in columns: left edge, right edge, then further in.
_TRACK_UM = 0.14
_COLUMN_UM = 0.28

_START = """VERSION 5.8 ;
BUSBITCHARS "[]" ;
DIVIDERCHAR "/" ;
"""


def tech_lef(library: Library) -> str:
    """Write units, routing layers and the site."""
    lines = [
        _START.rstrip(),
        "UNITS",
        f"  DATABASE MICRONS {library.database_units} ;",
        "END UNITS",
    ]
    lines += ["MANUFACTURINGGRID 0.005 ;"]
    for index, (name, direction, pitch, width) in enumerate(LAYERS):
        if index:
            lines += [f"LAYER via{index}", "  TYPE CUT ;", f"END via{index}"]
        lines += [
            f"LAYER {name}",
            "  TYPE ROUTING ;",
            f"  DIRECTION {direction} ;",
            f"  PITCH {pitch:g} ;",
            f"  WIDTH {width:g} ;",
            f"  SPACING {pitch - width:g} ;",
            f"END {name}",
        ]
    lines += [
        f"SITE {library.site}",
        "  CLASS CORE ;",
        "  SYMMETRY Y ;",
        f"  SIZE {library.site_um:g} BY {library.row_um:g} ;",
        f"END {library.site}",
    ]
    return "\n".join([*lines, "END LIBRARY", ""])


def cells_lef(library: Library, names: Iterable[str]) -> str:
    """Write the macros of the cells named."""
    lines = [_START.rstrip()]
    for name in names:
        lines += _cell(library[name], library.site)
    return "\n".join([*lines, "END LIBRARY", ""])


def bond_lef() -> str:
    """Write the macro of a hybrid bond: a cover with one pad around its origin."""
    half = BOND_UM / 2
    lines = [
        f"MACRO {BOND_MACRO}",
        "  CLASS COVER BUMP ;",
        f"  ORIGIN {half:g} {half:g} ;",
        f"  SIZE {BOND_UM:g} BY {BOND_UM:g} ;",
        "  SYMMETRY X Y ;",
        *_pin("PAD", "INOUT", "SIGNAL", BOND_LAYER, (-half, -half, half, half)),
        f"END {BOND_MACRO}",
    ]
    return "\n".join([_START.rstrip(), *lines, "END LIBRARY", ""])


def pin_offsets(cell: Cell) -> dict[str, tuple[float, float]]:
    """Centre of each pin from the cell's lower left corner, in um, as its LEF draws it."""
    if cell.offsets is not None:
        return dict(cell.offsets)
    names = list(cell.pins)
    if cell.macro:
        return _macro_offsets(cell, names)
    pitch = cell.width_um / (len(names) + 1)
    return {
        name: (round((index + 1) * pitch / 0.005) * 0.005, cell.height_um / 2)
        for index, name in enumerate(names)
    }


def _macro_offsets(cell: Cell, names: list[str]) -> dict[str, tuple[float, float]]:
    tracks = math.floor((cell.height_um - 2 * _TRACK_UM) / _TRACK_UM)
    columns = math.ceil(len(names) / tracks)
    each = math.ceil(len(names) / columns)
    step = tracks // each
    found = {}
    for index, name in enumerate(names):
        column, place = divmod(index, each)
        inset = column // 2 * _COLUMN_UM + _PIN_UM / 2
        x = cell.width_um - inset if column % 2 else inset
        found[name] = (round(x, 4), round((1 + step * place) * _TRACK_UM + _PIN_UM / 2, 4))
    return found


def _cell(cell: Cell, site: str) -> list[str]:
    lines = [
        f"MACRO {cell.name}",
        f"  CLASS {'BLOCK' if cell.macro else 'CORE'} ;",
        f"  FOREIGN {cell.name} 0 0 ;",
        "  ORIGIN 0 0 ;",
        f"  SIZE {cell.width_um:g} BY {cell.height_um:g} ;",
        "  SYMMETRY X Y ;",
    ]
    if not cell.macro:
        lines.append(f"  SITE {site} ;")
    half = _PIN_UM / 2
    layer = "metal3" if cell.macro else "metal1"
    for name, (x, y) in pin_offsets(cell).items():
        pin = cell.pins[name]
        use = "CLOCK" if pin.is_clock else "SIGNAL"
        box = (x - half, y - half, x + half, y + half)
        lines += _pin(name, pin.direction.upper(), use, layer, box)
    rail = 0.17 / 2
    for name, use, y in (("VDD", "POWER", cell.height_um), ("VSS", "GROUND", 0.0)):
        low, high = (y - rail, y + rail) if not cell.macro else (abs(y - 0.14), abs(y - 0.28))
        box = (0.0, min(low, high), cell.width_um, max(low, high))
        lines += _pin(name, "INOUT", use, "metal4" if cell.macro else "metal1", box)
    return [*lines, f"END {cell.name}"]


def _pin(name: str, way: str, use: str, layer: str, box: tuple[float, ...]) -> list[str]:
    corners = " ".join(f"{round(corner, 4):.10g}" for corner in box)
    return [
        f"  PIN {name}",
        f"    DIRECTION {way} ;",
        f"    USE {use} ;",
        "    PORT",
        f"      LAYER {layer} ;",
        f"        RECT {corners} ;",
        "    END",
        f"  END {name}",
    ]
