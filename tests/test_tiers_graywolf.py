"""The placer beside graywolf, where that is installed."""

import shutil

import numpy as np
import pytest

from golden.spec import SpecError
from synth.asic.cells import standard_cells
from synth.asic.netlist import Instance, Netlist, Port
from synth.tiers.design import Design
from synth.tiers.graywolf import block_of, compare
from tests.tiers_design import small_design

CHAINS, LENGTH = 8, 30


def chains() -> Design:
    """Chains of inverters, cells in random order, in one block beside another cell."""
    nets = {row: f"i[{row}]" for row in range(CHAINS)}
    instances = []
    for row in range(CHAINS):
        before = row
        for step in range(LENGTH):
            nets[len(nets)] = f"block__n{row}_{step}"
            pins = {"A": before, "ZN": len(nets) - 1}
            instances.append(Instance(f"block__g{row}_{step}", "INV_X1", pins, ("block",)))
            before = len(nets) - 1
    order = np.random.default_rng(1).permutation(len(instances))
    mixed = [instances[index] for index in order]
    mixed.append(Instance("other__g", "INV_X1", {"A": 0, "ZN": len(nets)}, ("other",)))
    nets[len(nets)] = "other__o"
    return Design.of(
        Netlist("chains", {"i": Port("input", tuple(range(CHAINS)))}, mixed, nets),
        standard_cells(),
    )


def test_block_has_its_cells_and_its_borders():
    block = block_of(chains(), ("block",))
    assert block.instances == CHAINS * LENGTH
    assert sorted(block.port_names) == [f"i_{row}" for row in range(CHAINS)]
    assert block.nets == CHAINS * (LENGTH + 1)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("graywolf") is None, reason="graywolf is not installed")
def test_as_short_as_graywolf():
    found = compare(block_of(chains(), ("block",)))
    assert found["cells"] == CHAINS * LENGTH
    assert found["ours_um"] < 1.3 * found["graywolf_um"]


def test_blocks_that_cannot_be_compared(monkeypatch):
    with pytest.raises(SpecError, match=r"^no block alu in chains$"):
        block_of(chains(), ("alu",))
    with pytest.raises(SpecError, match=r"^block array has a memory macro: take one of cells"):
        block_of(small_design(), ("array",))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SpecError, match=r"^no graywolf: the program comes with the package"):
        compare(block_of(chains(), ("block",)))
