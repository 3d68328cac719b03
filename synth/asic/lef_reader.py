"""LEF files of others: units, the site, and size and pins of each macro."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from golden.spec import SpecError

_WORDS = re.compile(r'"[^"]*"|[^\s";]+|;')


@dataclass
class Shape:
    """What a LEF says of a macro.

    Members
    -------
    width_um, height_um : of its rectangle
    pins : centre of each pin's first rectangle from the lower left corner, in um
    core : whether it is a standard cell
    """

    width_um: float
    height_um: float
    pins: dict[str, tuple[float, float]] = field(default_factory=dict)
    core: bool = True


class Site(NamedTuple):
    """A site of class CORE: name, width and height in um."""

    name: str
    width_um: float
    height_um: float


class Lef(NamedTuple):
    """What a file has: steps of a micron, a core site, macros by name."""

    database_units: int | None
    site: Site | None
    shapes: dict[str, Shape]


def read_lef(path: Path) -> Lef:
    """Read a LEF file.

    Raises
    ------
    SpecError
        If the file is missing, or a macro in it has no size.
    """
    if not path.is_file():
        raise SpecError(f"no LEF file {path}")
    text = re.sub(r"#[^\n]*", "", path.read_text(errors="replace"))
    words = _WORDS.findall(text)
    units, site, shapes, at = None, None, {}, 0
    while at < len(words):
        if words[at] == "SITE":
            name = words[at + 1]
            end = _end(words, at + 2, name, path)
            body = words[at + 2 : end]
            if "SIZE" in body and "CORE" in body:
                place = body.index("SIZE")
                site = Site(name, float(body[place + 1]), float(body[place + 3]))
            at = end + 2
        elif words[at] == "MACRO":
            name = words[at + 1]
            end = _end(words, at + 2, name, path)
            shapes[name] = _shape(name, words[at + 2 : end], path)
            at = end + 2
        else:
            if words[at : at + 2] == ["DATABASE", "MICRONS"]:
                units = int(words[at + 2])
            at += 1
    return Lef(units, site, shapes)


def _end(words: list[str], start: int, name: str, path: Path) -> int:
    at = start
    while at + 1 < len(words):
        if words[at] == "END" and words[at + 1] == name:
            return at
        at += 1
    raise SpecError(f"{path}: {name} has no END")


def _shape(name: str, body: list[str], path: Path) -> Shape:
    shape, pin, at = None, None, 0
    core = True
    pins: dict[str, tuple[float, float]] = {}
    while at < len(body):
        word = body[at]
        if word == "SIZE" and pin is None:
            shape = float(body[at + 1]), float(body[at + 3])
        elif word == "CLASS" and pin is None:
            core = body[at + 1] == "CORE"
        elif word == "PIN" and pin is None:
            pin = body[at + 1]
        elif word == "RECT" and pin is not None and pin not in pins:
            numbers = [float(number) for number in body[at + 1 : at + 5]]
            pins[pin] = ((numbers[0] + numbers[2]) / 2, (numbers[1] + numbers[3]) / 2)
        elif word == "END" and pin is not None and body[at + 1 : at + 2] == [pin]:
            pin = None
            at += 1
        at += 1
    if shape is None:
        raise SpecError(f"{path}: macro {name} has no SIZE")
    return Shape(*shape, pins, core)
