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
    """Instances of a seed directory's DEF that its partition lacks, and the other way round."""
    text = (seed / "2_2_floorplan_io.def").read_text()
    placed = re.search(r"^COMPONENTS.*?^END COMPONENTS", text, re.MULTILINE | re.DOTALL)
    if placed is None:
        raise SpecError(f"{seed}: the DEF has no COMPONENTS")
    components = set(re.findall(r"^- (\S+) ", placed[0], re.MULTILINE))
    listed = [line.split() for line in (seed / "partition.txt").read_text().splitlines()]
    names = {words[0] for words in listed}
    problems = [f"{name} has no tier" for name in sorted(components - names)]
    problems += [f"{name} is no instance" for name in sorted(names - components)]
    problems += [f"{words[0]}: {words[-1]} is no tier" for words in listed if words[-1] not in "01"]
    if len(names) != len(listed):
        problems.append("an instance is listed twice")
    return problems
