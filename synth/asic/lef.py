"""LEF: technology, cells and bonds."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from golden.sections import BOND_UM

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
_PIN_UM = 0.07
# Macro pins stand on multiples of this, in columns: left edge, right edge, then further in.
_TRACK_UM = 0.14
_COLUMN_UM = 0.28

# Lower and upper edge of a macro's supply bars, from its edge.
_BAR_UM = (0.14, 0.28)

_START = """VERSION 5.8 ;
BUSBITCHARS "[]" ;
DIVIDERCHAR "/" ;
"""


@dataclass(frozen=True)
class MacroView:
    """How a LEF shows macros.

    Members
    -------
    layer : name of a routing layer, with ``{}`` for its number
    cover : whether they are of CLASS COVER, which takes no room, instead of BLOCK
    blocked : whether they obstruct wires on the four lowest layers: on the lower two everywhere,
        on the upper two between the columns of pins and the supplies, so that each pin is reached
    """

    layer: str = "metal{}"
    cover: bool = False
    blocked: bool = False


_PLAIN = MacroView()


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


def cells_lef(library: Library, names: Iterable[str], view: MacroView = _PLAIN) -> str:
    """Write the macros of the cells named; the view is that of memories, not of standard cells."""
    lines = [_START.rstrip()]
    for name in names:
        lines += _cell(library[name], library.site, view)
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


def _cell(cell: Cell, site: str, view: MacroView) -> list[str]:
    block = "COVER" if view.cover else "BLOCK"
    lines = [
        f"MACRO {cell.name}",
        f"  CLASS {block if cell.macro else 'CORE'} ;",
        f"  FOREIGN {cell.name} 0 0 ;",
        "  ORIGIN 0 0 ;",
        f"  SIZE {cell.width_um:g} BY {cell.height_um:g} ;",
        "  SYMMETRY X Y ;",
    ]
    if not cell.macro:
        lines.append(f"  SITE {site} ;")
    half = _PIN_UM / 2
    layer = view.layer.format(3) if cell.macro else "metal1"
    for name, (x, y) in pin_offsets(cell).items():
        pin = cell.pins[name]
        use = "CLOCK" if pin.is_clock else "SIGNAL"
        box = (x - half, y - half, x + half, y + half)
        lines += _pin(name, pin.direction.upper(), use, layer, box)
    rail = 0.17 / 2
    for name, use, y in (("VDD", "POWER", cell.height_um), ("VSS", "GROUND", 0.0)):
        low, high = (y - rail, y + rail)
        if cell.macro:
            low, high = sorted(abs(y - edge) for edge in _BAR_UM)
        box = (0.0, low, cell.width_um, high)
        lines += _pin(name, "INOUT", use, view.layer.format(4) if cell.macro else "metal1", box)
    if cell.macro and view.blocked:
        lines += _obstructions(cell, view)
    return [*lines, f"END {cell.name}"]


def _obstructions(cell: Cell, view: MacroView) -> list[str]:
    # A column's room beside pins and bars is more than any layer's spacing.
    reach, bar = _PIN_UM / 2 + _COLUMN_UM, _BAR_UM[1] + _COLUMN_UM
    middle = cell.width_um / 2
    places = [x for x, _ in pin_offsets(cell).values()]
    left = max((x + reach for x in places if x < middle), default=0.0)
    right = min((x - reach for x in places if x >= middle), default=cell.width_um)
    inner = (left, bar, right, cell.height_um - bar)
    boxes = dict.fromkeys((1, 2), (0.0, 0.0, cell.width_um, cell.height_um))
    if left < right and inner[1] < inner[3]:
        boxes |= dict.fromkeys((3, 4), inner)
    lines = ["  OBS"]
    for number, box in boxes.items():
        lines += [f"    LAYER {view.layer.format(number)} ;", f"      RECT {_corners(box)} ;"]
    return [*lines, "  END"]


def _corners(box: tuple[float, ...]) -> str:
    return " ".join(f"{round(corner, 4):.10g}" for corner in box)


def _pin(name: str, way: str, use: str, layer: str, box: tuple[float, ...]) -> list[str]:
    return [
        f"  PIN {name}",
        f"    DIRECTION {way} ;",
        f"    USE {use} ;",
        "    PORT",
        f"      LAYER {layer} ;",
        f"        RECT {_corners(box)} ;",
        "    END",
        f"  END {name}",
    ]
