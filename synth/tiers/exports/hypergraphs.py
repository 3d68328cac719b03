"""hMETIS hypergraph, fix file and partition; and the cut, counted from the files alone."""

from pathlib import Path

import numpy as np

from golden.files import whole_file
from golden.spec import SpecError

from ..design import PORT_TIER, Design
from ..hypergraph import FREE, write_hgr, write_labels


def write(design: Design, tiers: np.ndarray, folder: Path, *, fix_memories: bool) -> None:
    """Write ``netlist.hgr``, ``netlist.hgr.fix``, ``netlist.hgr.part.N`` and names of vertices."""
    count = int(tiers.max(initial=0)) + 1
    graph = design.hypergraph()
    write_hgr(graph, folder / "netlist.hgr")
    fixed = np.full(graph.vertices, FREE)
    fixed[-1] = PORT_TIER
    if fix_memories:
        memories = np.flatnonzero(design.macro[: design.instances])
        fixed[memories] = tiers[memories]
    write_labels(fixed, folder / "netlist.hgr.fix")
    write_labels(np.append(tiers, PORT_TIER), folder / f"netlist.hgr.part.{count}")
    names = [one.name for one in design.netlist.instances]
    with whole_file(folder / "vertices.txt") as partial:
        partial.write_text("\n".join([*names, "ports", ""]))


def recount(folder: Path) -> int:
    """Cut of the partition in a folder, read from its files without the writer's code.

    Raises
    ------
    SpecError
        If the partition does not have a part for each vertex.
    """
    (part_file,) = folder.glob("netlist.hgr.part.*")
    part = part_file.read_text().split()
    lines = (folder / "netlist.hgr").read_text().splitlines()
    edges, vertices, _ = map(int, lines[0].split())
    if len(part) != vertices:
        raise SpecError(f"{part_file}: has {len(part)} parts: must be {vertices}")
    cut = 0
    for line in lines[1 : edges + 1]:
        weight, *pins = line.split()
        if len({part[int(pin) - 1] for pin in pins}) > 1:
            cut += int(weight)
    return cut
