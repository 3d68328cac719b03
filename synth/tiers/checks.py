"""Checks of what was written, by readers that share nothing with the writers."""

import re
import subprocess
import sys
from pathlib import Path

from golden.spec import SpecError
from synth.asic.synthesis import lef_files

from .exports import check3dblox, hypergraphs

_LEFDEF = """
import sys, lefdef
reader, kind = (lefdef.C_LefReader(), "lef") if sys.argv[1].endswith(".lef") \
    else (lefdef.C_DefReader(), "def")
reader.read(sys.argv[1])
"""
_KLAYOUT = """
import sys
import klayout.db as kdb
options = kdb.LoadLayoutOptions()
options.lefdef_config.lef_files = sys.argv[2:]
options.lefdef_config.read_lef_with_def = False
layout = kdb.Layout()
layout.read(sys.argv[1], options)
assert layout.top_cells(), "error: no top cell"
"""
# What the steps of TaiWei-Pin-3D read: class of the masters of a memory by suffix. The DEF of a
# seed has masters without a suffix.
_MASTERS = {
    "ADDITIONAL_LEFS": {"": "BLOCK", "_bottom": "BLOCK", "_upper": "BLOCK"},
    "ADDITIONAL_LEFS_UPPER_COVER": {"_bottom": "BLOCK", "_upper": "COVER"},
    "ADDITIONAL_LEFS_BOTTOM_COVER": {"_bottom": "COVER", "_upper": "BLOCK"},
}
_LIBERTIES = "ADDITIONAL_LIBS"
_TIER_LAYERS = {"": r"M\d+", "_bottom": r"M\d+", "_upper": r"M\d+_m"}


def file_problems(folder: Path) -> list[str]:
    """Complaints about the files of a style that was built; empty if none.

    Raises
    ------
    SpecError
        If the style was not built.
    """
    package = folder / "3dblox"
    if not package.is_dir():
        raise SpecError(f"no {package}: build it with `make tiers`")
    seeds = list(folder.glob("pin3d/results/*/*/seed"))
    lefs = [*lef_files(package), package / "bond.lef"]
    defs = [*sorted((folder / "def").glob("*.def")), folder.with_name("2d") / "flat.def"]
    problems = read_layouts(lefs, defs + [seed / "2_2_floorplan_io.def" for seed in seeds])
    problems += read_layouts(sorted(folder.glob("pin3d/designs/*/*/*.lef")), [])
    problems += check3dblox.check(package / "stack.3dbx")
    for seed in seeds:
        problems += seed_problems(seed)
    # It raises where the files do not fit each other.
    hypergraphs.recount(folder / "hypergraph")
    return problems


def read_layouts(lefs: list[Path], defs: list[Path]) -> list[str]:
    """Complaints of Si2's parser and of KLayout about LEF and DEF files; empty if none."""
    jobs = [("lefdef", _LEFDEF, [path]) for path in (*lefs, *defs)]
    jobs += [("klayout", _KLAYOUT, [path, *lefs]) for path in defs]
    complaints = []
    for reader, script, paths in jobs:
        # A process of its own: Si2's parser ends it at a syntax error, KLayout prints its warnings.
        # KLayout looks for relative names beside the DEF.
        command = [sys.executable, "-c", script, *(str(path.resolve()) for path in paths)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = (done.stdout + done.stderr).strip()
        if done.returncode or re.search(r"warning|error", said, re.IGNORECASE):
            complaints.append(f"{reader} on {paths[0].name}: {said[-300:]}")
    return complaints


def seed_problems(seed: Path) -> list[str]:
    """Complaints about a seed directory and the design's files beside it; empty if none.

    Instances of the DEF that the partition lacks, and the other way round; memories without a
    master of the right class, size, pins and layers in what a step reads.

    Raises
    ------
    SpecError
        If the DEF has no components.
    """
    text = (seed / "2_2_floorplan_io.def").read_text()
    placed = re.search(r"^COMPONENTS.*?^END COMPONENTS", text, re.MULTILINE | re.DOTALL)
    if placed is None:
        raise SpecError(f"{seed}: the DEF has no COMPONENTS")
    components = dict(re.findall(r"^- (\S+) (\S+) ", placed[0], re.MULTILINE))
    listed = [line.split() for line in (seed / "partition.txt").read_text().splitlines()]
    names = {words[0] for words in listed}
    problems = [f"{name} has no tier" for name in sorted(components.keys() - names)]
    problems += [f"{name} is no instance" for name in sorted(names - components.keys())]
    problems += [f"{words[0]}: {words[-1]} is no tier" for words in listed if words[-1] not in "01"]
    if len(names) != len(listed):
        problems.append("an instance is listed twice")
    memories = sorted(master for master in set(components.values()) if "fakeram" in master)
    return problems + (_memory_problems(seed, memories) if memories else [])


def _memory_problems(seed: Path, memories: list[str]) -> list[str]:
    """Complaints about the masters of memories in the files that a seed's configuration names."""
    root, platform, design = seed.parents[3], seed.parents[1].name, seed.parent.name
    folder = root / "designs" / platform / design
    if not (folder / "config.mk").is_file():
        return [f"no {folder / 'config.mk'} for the memories"]
    configuration = (folder / "config.mk").read_text()
    variables = dict(re.findall(r"^export (\w+) = (.*)$", configuration, re.MULTILINE))
    problems, texts = [], {}
    for variable in (*_MASTERS, _LIBERTIES):
        files = re.findall(r"\$\(DESIGN_DIR\)/(\S+)", variables.get(variable, ""))
        missing = [file for file in files if not (folder / file).is_file()]
        problems += [f"{variable}: no file {file}" for file in missing]
        there = [folder / file for file in files if file not in missing]
        texts[variable] = "\n".join(path.read_text() for path in there)
    shapes: dict[str, tuple] = {}
    for variable, classes in _MASTERS.items():
        found = _lef_masters(texts[variable])
        for memory in memories:
            for suffix, kind in classes.items():
                master = found.get(memory + suffix)
                where = f"{variable}: {memory}{suffix}"
                if master is None:
                    problems.append(f"{where}: no such master")
                    continue
                own, shape, layers = master
                if own != kind:
                    problems.append(f"{where}: is of CLASS {own}: must be {kind}")
                if shape != shapes.setdefault(memory, shape):
                    problems.append(f"{where}: size or pins differ from another master's")
                layer = _TIER_LAYERS[suffix]
                if strange := sorted(name for name in layers if not re.fullmatch(layer, name)):
                    problems.append(f"{where}: {strange[0]} is no layer of its tier")
    cells = set(re.findall(r"^\s*cell\s*\(\s*(\S+?)\s*\)", texts[_LIBERTIES], re.MULTILINE))
    needed = [memory + suffix for memory in memories for suffix in _TIER_LAYERS]
    return problems + [f"{_LIBERTIES}: {one}: no such cell" for one in needed if one not in cells]


def _lef_masters(text: str) -> dict[str, tuple[str, tuple, set[str]]]:
    """Class, shape (size; places of pins), and layers of each master of a LEF, by name."""
    masters = {}
    for name, body in re.findall(r"^MACRO (\S+)\n(.*?)^END \1$", text, re.MULTILINE | re.DOTALL):
        (kind,) = re.findall(r"^  CLASS (.*?) ;", body, re.MULTILINE)
        (size,) = re.findall(r"^  SIZE (.*?) ;", body, re.MULTILINE)
        pins = re.findall(r"^  PIN (\S+)\n(.*?)^  END \1$", body, re.MULTILINE | re.DOTALL)
        boxes = tuple((pin, *re.findall(r"RECT (.*?) ;", inner)) for pin, inner in sorted(pins))
        masters[name] = (kind, (size, boxes), set(re.findall(r"LAYER (\S+) ;", body)))
    return masters
