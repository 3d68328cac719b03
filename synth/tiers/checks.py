"""Checks of what was written, by readers that share nothing with the writers."""

import re
import subprocess
import sys
from pathlib import Path

from golden.spec import SpecError

_LEFDEF = """
import sys, lefdef
reader, kind = (lefdef.C_LefReader(), "lef") if sys.argv[1].endswith(".lef") \
    else (lefdef.C_DefReader(), "def")
reader.read(sys.argv[1])
"""


def read_layouts(lefs: list[Path], defs: list[Path]) -> list[str]:
    """Complaints of Si2's parser and of KLayout about LEF and DEF files; empty if none."""
    complaints = []
    for path in (*lefs, *defs):
        # The parser ends its process at a syntax error.
        done = subprocess.run(
            [sys.executable, "-c", _LEFDEF, str(path)], capture_output=True, text=True, check=False
        )
        said = done.stdout + done.stderr
        if done.returncode or re.search(r"warning|error", said, re.IGNORECASE):
            complaints.append(f"lefdef on {path.name}: {said.strip()[-300:]}")
    import klayout.db as kdb

    for path in defs:
        options = kdb.LoadLayoutOptions()
        options.lefdef_config.lef_files = [str(lef) for lef in lefs]
        options.lefdef_config.read_lef_with_def = False
        layout = kdb.Layout()
        try:
            layout.read(str(path), options)
        except RuntimeError as error:
            complaints.append(f"klayout on {path.name}: {error}")
            continue
        if not layout.top_cells():
            complaints.append(f"klayout on {path.name}: no top cell")
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
