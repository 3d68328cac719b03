"""Every block that has a bench, on Verilator."""

import pytest

from sim.blocks import BLOCKS
from sim.matrix import run_bench


@pytest.mark.slow
@pytest.mark.parametrize("block", sorted(BLOCKS))
def test_block(block):
    outcome = run_bench(block, BLOCKS[block])
    assert len(outcome.tests) == 4, "one test a stall regime"
