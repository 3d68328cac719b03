"""Look-up tables of blocks, and the names that synthesis needs."""

import pytest

from hw.layouts import NeuronKind
from hw.neuron_array import NeuronArray
from hw.synaptic_array import SynapticArray
from hw.verilog import plain_names
from hw.weight_fetch import SHIFT_BITS
from synth.ecp5 import Ecp5
from synth.fpga.blocks import count_cells, neuron_luts


def make_array(width: int = 18) -> SynapticArray:
    return SynapticArray(lanes=2, time_steps=2, weight_bits=8, width=width, shift_bits=SHIFT_BITS)


@pytest.mark.parametrize("width", [17, 18])
def test_an_accumulator_is_its_carry_cells(tmp_path, width):
    """As the docstring's formula says: beside them an OR for 9 bits of a lane, and control."""
    cells = count_cells(make_array(width), "array", "synth_ecp5", tmp_path, Ecp5())
    assert cells["CCU2C"] == 2 * 2 * 9
    assert 2 * 9 <= cells["LUT4"] <= 2 * 9 + 16
    assert cells["TRELLIS_FF"] <= 2 * (2 * width + 6 * 8 + 7) + 2 * 2 + 8


@pytest.mark.slow
def test_luts_of_a_neuron_are_those_of_its_updates(tmp_path):
    neurons = NeuronArray(
        lanes=1,
        time_steps=2,
        width=16,
        threshold_bits=15,
        value_bits=1,
        key_shift=0,
        key_bits=1,
        kinds=frozenset({NeuronKind.BINARY}),
    )
    assert 15 < neuron_luts(neurons, tmp_path) < 30


def test_elements_of_an_array_do_not_look_like_bits():
    text = "wire width 4 \\o.sums[1][0]\nconnect \\o.sums [3:0] \\o.sums[1][0] [3:0]\n"
    assert plain_names(text) == (
        "wire width 4 \\o.sums.1.0\nconnect \\o.sums [3:0] \\o.sums.1.0 [3:0]\n"
    )
