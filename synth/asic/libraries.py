"""The library to synthesise for: the embedded one, or the user's Liberty and LEF."""

from collections.abc import Sequence
from pathlib import Path

from golden.spec import SpecError

from .buffers import buffers
from .cells import DATABASE_UNITS, Cell, Library, Pin, standard_cells
from .lef_reader import Shape, Site, read_lef
from .liberty_reader import read_cells

# Stand for connections to the supplies in a library without tie cells.
TIES = {"0": "LOGIC0_X1", "1": "LOGIC1_X1"}


def load_library(liberty: Path | None, lefs: Sequence[Path]) -> Library:
    """Read a library.

    Parameters
    ----------
    liberty : the user's Liberty; None for the embedded cells
    lefs : files with the site and a macro for every cell of the Liberty

    Raises
    ------
    SpecError
        If a file is missing or malformed, a cell has no area or no LEF macro, or there is no site,
        no buffer, or no Liberty for the LEF.
    """
    if liberty is None:
        if lefs:
            raise SpecError(f"LEF {lefs[0]} without a Liberty: give both or neither")
        return standard_cells()
    name, voltage, read = read_cells(liberty)
    units, site, shapes = None, None, {}
    for path in lefs:
        found = read_lef(path)
        units, site = units or found.database_units, site or found.site
        shapes |= found.shapes
    files = ", ".join(str(path) for path in lefs) or "no LEF given"
    if site is None:
        raise SpecError(f"no SITE of class CORE in {files}")
    cells = {}
    for cell, fields in read.items():
        if cell not in shapes:
            raise SpecError(f"cell {cell} of {liberty} has no MACRO in {files}")
        cells[cell] = _sized(fields, shapes[cell])
    made = Library(
        name,
        cells | _missing_ties(cells, site),
        site.width_um,
        site.height_um,
        voltage,
        site.name,
        units or DATABASE_UNITS,
    )
    if not buffers(made):
        raise SpecError(f"{liberty} has no buffer: a cell with one input and its copy as output")
    return made


def tie_cells(library: Library) -> dict[str, tuple[str, str]]:
    """Cell and output pin that give each constant, by ``"0"`` and ``"1"``."""
    return {
        pin.function: (name, output)
        for name, cell in sorted(library.cells.items(), reverse=True)
        for output, pin in cell.pins.items()
        if pin.function in TIES
    }


def _sized(fields: dict, shape: Shape) -> Cell:
    offsets = {pin: shape.pins[pin] for pin in fields["pins"] if pin in shape.pins}
    lost = fields["pins"].keys() - offsets.keys()
    if lost:
        raise SpecError(f"LEF macro {fields['name']} has no pin {min(lost)}, which the Liberty has")
    return Cell(**fields, width_um=shape.width_um, height_um=shape.height_um, offsets=offsets)


def _missing_ties(cells: dict[str, Cell], site: Site) -> dict[str, Cell]:
    known = {pin.function for cell in cells.values() for pin in cell.pins.values()}
    return {
        name: Cell(
            name,
            site.width_um * site.height_um,
            site.width_um,
            site.height_um,
            {"Z": Pin("output", function=value)},
        )
        for value, name in TIES.items()
        if value not in known
    }
