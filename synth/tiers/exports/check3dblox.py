"""What OpenROAD's 3DBlox checker asks of a package, read from the package's files alone.

Rules: required keys are there; cuboids do not overlap; bonded regions overlap in x and y, the top
one facing down and the bottom one up, at exactly the thickness of their connection; every chip
reaches a ``~``; every bump lies in its region; bumps of bonded regions at one place are on one net.
Besides: every bump has one on the other side, and its port and net are in a tier's DEF (a tier that
a net only passes has neither).
"""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from golden.spec import SpecError

_DEFINE = re.compile(r"^#!define\s+(\S+)\s+(.*)$", re.MULTILINE)
_TYPES = ("die", "rdl", "ip", "substrate", "hier")
NEAR_UM = 1e-4


@dataclass(frozen=True)
class _Region:
    """Region of a placed chip: box in x and y, height, and whether it faces up."""

    box: tuple[float, float, float, float]
    z: float
    up: bool
    bumps: list[tuple[str, float, float, str]]


def check(stack: Path) -> list[str]:
    """All violations in a ``.3dbx`` file and what it includes, a line each; empty if none.

    Raises
    ------
    SpecError
        If a file is not YAML.
    """
    tree = _read(stack)
    problems = _missing(tree, ("Header", "Design", "ChipletInst", "Stack", "Connection"), "stack")
    problems += _missing(tree.get("Design", {}), ("name",), "Design")
    chiplets = {}
    for included in tree.get("Header", {}).get("include", []):
        chiplets |= _read(stack.parent / included).get("ChipletDef", {})
    for name, chiplet in chiplets.items():
        problems += _chiplet(name, chiplet)
    for name, instance in tree.get("ChipletInst", {}).items():
        problems += _missing(instance, ("reference",), f"ChipletInst {name}")
        problems += _missing(tree.get("Stack", {}), (name,), "Stack")
        if instance.get("reference") not in chiplets:
            problems.append(f"ChipletInst {name}: no ChipletDef {instance.get('reference')}")
    for name, place in tree.get("Stack", {}).items():
        problems += _missing(place, ("loc", "z", "orient"), f"Stack {name}")
    for name, joint in tree.get("Connection", {}).items():
        problems += _missing(joint, ("top", "bot"), f"Connection {name}")
    if problems:
        return problems
    placed = {
        name: (chiplets[one["reference"]], tree["Stack"][name])
        for name, one in tree["ChipletInst"].items()
    }
    problems += _overlaps(placed)
    regions = {}
    for name, (chiplet, place) in placed.items():
        for key, region in chiplet["regions"].items():
            regions[f"{name}.regions.{key}"] = _place(chiplet, region, place, stack.parent)
    problems += _unknown([chiplet for chiplet, _ in placed.values()], stack.parent)
    problems += _connections(tree["Connection"], regions)
    problems += _unreached(tree["Connection"], placed)
    for name, region in regions.items():
        problems += _outside(name, region)
    return problems


def _read(path: Path) -> dict:
    text = path.read_text()
    for name, value in _DEFINE.findall(text):
        text = re.sub(rf"(?<!#!define )\b{re.escape(name)}\b", value.strip(), text)
    try:
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise SpecError(f"{path}: not YAML: {error}") from None


def _missing(tree: dict, keys: tuple[str, ...], where: str) -> list[str]:
    return [f"{where}: key {key} is missing" for key in keys if key not in (tree or {})]


def _chiplet(name: str, chiplet: dict) -> list[str]:
    problems = _missing(chiplet, ("type", "design_area", "thickness", "regions"), f"chiplet {name}")
    if chiplet.get("type", "die") not in _TYPES:
        problems.append(f"chiplet {name}: type {chiplet['type']} is none of {', '.join(_TYPES)}")
    for key, region in chiplet.get("regions", {}).items():
        where = f"chiplet {name}, region {key}"
        problems += _missing(region, ("side", "coords"), where)
        if len(region.get("coords", range(4))) != 4:
            problems.append(f"{where}: coords must have four points")
    return problems


def _overlaps(placed: dict) -> list[str]:
    boxes = {}
    for name, (chiplet, place) in placed.items():
        (x, y), z = place["loc"], place["z"]
        width, height = chiplet["design_area"]
        boxes[name] = ((x, x + width), (y, y + height), (z, z + chiplet["thickness"]))
    return [
        f"{one} and {other} overlap"
        for one, other in itertools.combinations(boxes, 2)
        if all(
            min(a[1], b[1]) - max(a[0], b[0]) > NEAR_UM
            for a, b in zip(boxes[one], boxes[other], strict=True)
        )
    ]


def _place(chiplet: dict, region: dict, place: dict, folder: Path) -> _Region:
    flipped = place["orient"].startswith("MZ")
    front = (region["side"] == "front") != flipped
    xs, ys = zip(*region["coords"], strict=True)
    x, y = place["loc"]
    bumps = []
    if "bmap" in region:
        for line in (folder / region["bmap"]).read_text().splitlines():
            if line.strip():
                name, _, left, low, _, net = line.split()
                bumps.append((name, float(left) + x, float(low) + y, net))
    return _Region(
        (min(xs) + x, min(ys) + y, max(xs) + x, max(ys) + y),
        place["z"] + (chiplet["thickness"] if front else 0.0),
        front,
        bumps,
    )


def _unknown(chiplets: list[dict], folder: Path) -> list[str]:
    """Layouts that are missing, and ports and nets of bumps that no layout has."""
    problems, ports, nets = [], set(), set()
    for chiplet in chiplets:
        file = chiplet.get("external", {}).get("DEF_file", "")
        if not (folder / file).is_file():
            problems.append(f"no DEF_file {file}")
            continue
        text = (folder / file).read_text()
        pins = text[text.index("\nPINS ") : text.index("\nEND PINS")]
        ports |= set(re.findall(r"^- (\S+) \+ NET", pins, re.MULTILINE))
        nets |= set(re.findall(r"^- (\S+) ", text[text.index("\nNETS ") :], re.MULTILINE))
    regions = [region for chiplet in chiplets for region in chiplet["regions"].values()]
    maps = {region["bmap"] for region in regions if "bmap" in region}
    for name in sorted(maps):
        for line in (folder / name).read_text().splitlines():
            bump, _, _, _, port, net = line.split()
            if port not in ports:
                problems.append(f"{name}: bump {bump}: no tier's DEF has port {port}")
            if net not in nets:
                problems.append(f"{name}: bump {bump}: no tier's DEF has net {net}")
    return problems


def _connections(joints: dict, regions: dict[str, _Region]) -> list[str]:
    problems = []
    for name, joint in joints.items():
        unknown = [end for end in (joint["top"], joint["bot"]) if end not in (*regions, "~")]
        problems += [f"Connection {name}: no region {end}" for end in unknown]
        if unknown or "~" in (joint["top"], joint["bot"]):
            continue
        top, bottom = regions[joint["top"]], regions[joint["bot"]]
        a, b = top.box, bottom.box
        if min(a[2], b[2]) <= max(a[0], b[0]) or min(a[3], b[3]) <= max(a[1], b[1]):
            problems.append(f"Connection {name}: its regions do not overlap")
        if top.up or not bottom.up:
            problems.append(f"Connection {name}: the top must face down and the bottom up")
        gap, wanted = top.z - bottom.z, joint.get("thickness", 0.0)
        if abs(gap - wanted) > NEAR_UM:
            problems.append(f"Connection {name}: surfaces are {gap:g} um apart: must be {wanted:g}")
        below = {(round(x, 4), round(y, 4)): (bump, net) for bump, x, y, net in bottom.bumps}
        for bump, x, y, net in top.bumps:
            other = below.get((round(x, 4), round(y, 4)))
            if other is None:
                problems.append(f"Connection {name}: no bump of {joint['bot']} below {bump}")
            elif other[1] != net:
                problems.append(
                    f"Connection {name}: {bump} is on {net}, {other[0]} below it on {other[1]}"
                )
    return problems


def _unreached(joints: dict, placed: dict) -> list[str]:
    reached = {"~"}
    for _ in range(len(placed) + 1):
        for joint in joints.values():
            ends = {end.split(".")[0] for end in (joint["top"], joint["bot"])}
            if ends & reached:
                reached |= ends
    return [f"{name} is not connected to the package" for name in placed if name not in reached]


def _outside(name: str, region: _Region) -> list[str]:
    low_x, low_y, high_x, high_y = region.box
    return [
        f"{name}: bump {bump} at ({x:g}, {y:g}) is outside"
        for bump, x, y, _ in region.bumps
        if not (low_x <= x <= high_x and low_y <= y <= high_y)
    ]
