"""What OpenROAD's 3DBlox checker asks of a package, and more, read from the package's files alone.

Rules: required keys are there; cuboids do not overlap; bonded regions overlap in x and y, the top
one facing down and the bottom one up, at exactly the thickness of their connection; every chip
reaches a ``~``; every bump lies in its region; bumps of bonded regions at one place are on one net.

OpenROAD adds what a bump map names and the DEF lacks, and so cuts a misspelt port from its logic.
It takes nets between chips from the top Verilog, and a port for one bump. Hence, beyond its
checker: every bump has a partner, and a name and a port of its own on its chip; the top Verilog
joins the ports of bumps on each other; port and net are those of a pin of the chip's DEF, which is
at the bump; ports of the package are at the edge of the chip that lies on it; a chip with bumps on
its back has vias through its silicon.
"""

import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from golden.spec import SpecError

_DEFINE = re.compile(r"^#!define\s+(\S+)\s+(.*)$", re.MULTILINE)
_BLOCK = re.MULTILINE | re.DOTALL
_TYPES = ("die", "rdl", "ip", "substrate", "hier")
NEAR_UM = 1e-4
# Bump maps and DEF round to their own grids.
_GRID_UM = 1.1e-3


@dataclass(frozen=True)
class _Bump:
    """Row of a bump map, at its place in the stack."""

    name: str
    x: float
    y: float
    port: str
    net: str


@dataclass(frozen=True)
class _Region:
    """Region of a placed chip: box in x and y, height, and whether it faces up."""

    box: tuple[float, float, float, float]
    z: float
    up: bool
    bumps: list[_Bump]


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
    problems += _connections(tree["Connection"], regions)
    problems += _unreached(tree["Connection"], placed)
    for name, region in regions.items():
        problems += _outside(name, region)
    return problems + _ports(stack.parent, tree, placed, regions)


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
    problems += _missing(chiplet.get("external", {}), ("DEF_file",), f"chiplet {name}, external")
    for key, region in chiplet.get("regions", {}).items():
        if region.get("side") == "back" and "bmap" in region and not chiplet.get("tsv"):
            problems.append(f"chiplet {name}, region {key}: bumps on the back need tsv: true")
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
                name, _, left, low, port, net = line.split()
                bumps.append(_Bump(name, float(left) + x, float(low) + y, port, net))
    return _Region(
        (min(xs) + x, min(ys) + y, max(xs) + x, max(ys) + y),
        place["z"] + (chiplet["thickness"] if front else 0.0),
        front,
        bumps,
    )


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
        problems += _pairs(name, top.bumps, bottom.bumps)
    return problems


def _pairs(name: str, upper: list[_Bump], lower: list[_Bump]) -> list[str]:
    """Bumps of a connection that have no partner, or one on another net."""
    above, below = (
        {(round(bump.x, 4), round(bump.y, 4)): bump for bump in bumps} for bumps in (upper, lower)
    )
    lonely = [above.get(at) or below[at] for at in above.keys() ^ below.keys()]
    problems = [f"Connection {name}: {bump.name} has no partner" for bump in lonely]
    for at in above.keys() & below.keys():
        one, other = above[at], below[at]
        if one.net != other.net:
            problems.append(
                f"Connection {name}: {one.name} is on {one.net}, {other.name} below it on"
                f" {other.net}"
            )
    return sorted(problems)


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
        f"{name}: bump {bump.name} at ({bump.x:g}, {bump.y:g}) is outside"
        for bump in region.bumps
        if not (low_x <= bump.x <= high_x and low_y <= bump.y <= high_y)
    ]


def _ports(folder: Path, tree: dict, placed: dict, regions: dict[str, _Region]) -> list[str]:
    """Bumps whose port or net is not that of their chip."""
    design = tree["Design"]
    top = (folder / design["external"]["verilog_file"]).read_text()
    top = re.search(rf"^module {design['name']} \((.*?)\);(.*?)^endmodule", top, _BLOCK)
    if top is None:
        return [f"the top Verilog has no module {design['name']}"]
    outer = set(top[1].replace(",", " ").split())
    joints = tree["Connection"].values()
    lying = {joint["top"].split(".")[0] for joint in joints if joint["bot"] == "~"}
    problems, wiring = [], {}
    for name, (chiplet, place) in placed.items():
        instance = re.search(
            rf"^\s*{tree['ChipletInst'][name]['reference']} {name} (.*?);", top[2], _BLOCK
        )
        joined = dict(re.findall(r"\.(\w+)\(([^)]*)\)", instance[1] if instance else ""))
        wiring[name] = joined
        # What the package side carries.
        edge = {port for port, net in joined.items() if net.split("[")[0] in outer}
        bumps = [
            bump for key, one in regions.items() if key.split(".")[0] == name for bump in one.bumps
        ]
        file = folder / chiplet["external"]["DEF_file"]
        if not file.is_file():
            problems.append(f"{name}: no file {file.name}")
            continue
        found = _against_def(bumps, _Layout.of(file, place["loc"]), edge if name in lying else ())
        found += [
            f"top Verilog does not join {port}"
            for port in sorted({bump.port for bump in bumps} - joined.keys())
        ]
        problems += [f"{name}: {problem}" for problem in found]
    return problems + _apart(joints, regions, wiring)


def _apart(joints: Iterable[dict], regions: dict[str, _Region], wiring: dict) -> list[str]:
    """Bumps on each other whose ports are on two nets of the top Verilog."""
    problems = []
    for joint in joints:
        ends = joint["top"], joint["bot"]
        if not set(ends) <= regions.keys():
            continue
        (upper, above), (lower, below) = (
            (end.split(".")[0], {(round(b.x, 4), round(b.y, 4)): b for b in regions[end].bumps})
            for end in ends
        )
        for at in sorted(above.keys() & below.keys()):
            one, other = (
                wiring[chip].get(bumps[at].port) for chip, bumps in ((upper, above), (lower, below))
            )
            if one != other:
                problems.append(
                    f"top Verilog has {upper}.{above[at].port} on {one},"
                    f" {lower}.{below[at].port} below it on {other}"
                )
    return problems


@dataclass(frozen=True)
class _Layout:
    """Net and place of each pin of a placed DEF, its nets, and its box in x and y."""

    pins: dict[str, tuple[str, float, float]]
    nets: set[str]
    box: tuple[float, float, float, float]

    @classmethod
    def of(cls, path: Path, at: tuple[float, float]) -> "_Layout":
        text = path.read_text()
        units = int(re.search(r"^UNITS DISTANCE MICRONS (\d+)", text, re.MULTILINE)[1])
        corners = re.search(r"^DIEAREA \( (\S+) (\S+) \) \( (\S+) (\S+) \)", text, re.MULTILINE)
        pins, nets = (
            re.search(rf"^{kind} \d+ ;(.*?)^END {kind}", text, _BLOCK)[1]
            for kind in ("PINS", "NETS")
        )
        rows = re.findall(
            r"^- (\S+) \+ NET (\S+)[^;]*? \+ (?:PLACED|FIXED) \( (\S+) (\S+) \)", pins, _BLOCK
        )
        x, y = at
        left, low, right, high = (int(corner) / units for corner in corners.groups())
        return cls(
            {pin: (net, int(px) / units + x, int(py) / units + y) for pin, net, px, py in rows},
            set(re.findall(r"^- (\S+)", nets, re.MULTILINE)),
            (left + x, low + y, right + x, high + y),
        )

    def at_edge(self, x: float, y: float) -> bool:
        left, low, right, high = self.box
        return min(abs(x - left), abs(x - right), abs(y - low), abs(y - high)) < _GRID_UM


def _against_def(bumps: list[_Bump], layout: _Layout, edge: Collection[str]) -> list[str]:
    """Complaints about a chip's bumps, and about its ports at the edge of the package's chip."""
    problems = []
    for what in ("name", "port"):
        counts = Counter(getattr(bump, what) for bump in bumps)
        said = {"name": "are called", "port": "are at port"}[what]
        problems += [f"{n} bumps {said} {value}" for value, n in counts.items() if n > 1]
    for bump in bumps:
        pin = layout.pins.get(bump.port)
        if pin is None:
            problems.append(f"the DEF has no pin {bump.port}")
            continue
        net, x, y = pin
        if bump.net != net:
            problems.append(f"{bump.name} is on net {bump.net}, its port on {net}")
        if net not in layout.nets:
            problems.append(f"the DEF has no net {net}")
        if not abs(bump.x - x) < _GRID_UM > abs(bump.y - y):
            problems.append(f"pin {bump.port} is at ({x:g}, {y:g}), its bump is not")
    problems += [
        f"pin {port} of the package is not at the edge"
        for port in sorted(edge)
        if port not in layout.pins or not layout.at_edge(*layout.pins[port][1:])
    ]
    return problems
