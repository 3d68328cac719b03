"""Look-up tables of the blocks that carry the arithmetic, each by the unit of work that it does.

``fpga.lane_lut_ratio``: a synaptic array of the preset's lanes, time steps and accumulator width,
mapped to ECP5 by ``synth_ecp5``: LUT4s, two for each carry cell, shifters and control included,
over accumulators (``lanes * time_steps``), over the bits of an accumulator.

``fpga.neuron_luts``: a neuron array of binary neurons with hard reset, 16-bit sums and a threshold
set at run time, of the preset's lanes of a slice and time steps, mapped by ``synth_xilinx``:
LUTs of any size over neuron updates a cycle (``lanes * time_steps``).
"""

import json
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring

from golden.metrics import build_dir, write_metrics
from golden.ranges import built_widths
from golden.spec import Preset
from hw.__main__ import find_checkpoint
from hw.layouts import NeuronKind
from hw.neuron_array import NeuronArray
from hw.synaptic_array import SynapticArray
from hw.verilog import plain_names
from hw.weight_fetch import SHIFT_BITS
from synth.ecp5 import Ecp5, PlainFpga
from synth.yosys import run_yosys

from .reports import count_cells as count_resources

NEURON_WIDTH = 16


def count_cells(
    component: wiring.Component, name: str, synthesis: str, folder: Path, platform: object
) -> dict[str, int]:
    """Synthesise a block and count its cells by type.

    Parameters
    ----------
    synthesis : Yosys' command, without ``-top``
    folder : for netlist, figures and log
    platform : what the block is elaborated for
    """
    folder.mkdir(parents=True, exist_ok=True)
    source, figures = folder / f"{name}.il", folder / f"{name}.json"
    text = rtlil.convert(component, platform=platform, name=name, emit_src=False)
    source.write_text(plain_names(text))
    commands = [
        f"read_rtlil {source}",
        f"{synthesis} -top {name}",
        f"tee -o {figures} stat -json",
    ]
    run_yosys(commands, folder / f"{name}.log", name)
    return json.loads(figures.read_text())["design"]["num_cells_by_type"]


def lane_lut_ratio(array: SynapticArray, folder: Path) -> float:
    """LUT4s of a synaptic array for each bit of its accumulators."""
    cells = count_cells(array, "synaptic_array", "synth_ecp5", folder, Ecp5())
    return count_resources(cells).lut4 / (array.lanes * array.time_steps) / array.width


def neuron_luts(neurons: NeuronArray, folder: Path) -> float:
    """Look-up tables of a neuron array for each neuron update a cycle."""
    synthesis = "synth_xilinx -flatten -noiopad -noclkbuf"
    cells = count_cells(neurons, "neuron_array", synthesis, folder, PlainFpga())
    luts = sum(count for kind, count in cells.items() if kind in {f"LUT{n}" for n in range(1, 7)})
    return luts / (neurons.lanes * neurons.time_steps)


def measure(preset: Preset) -> dict[str, float]:
    """Measure both and write them to the preset's metrics."""
    engine, steps = preset.engine, preset.network.time_steps
    widths = built_widths(preset, find_checkpoint(preset, None))
    array = SynapticArray(
        lanes=engine.lanes,
        time_steps=steps,
        weight_bits=preset.quant.weight_bits,
        width=widths.sums,
        shift_bits=SHIFT_BITS,
    )
    neurons = NeuronArray(
        lanes=engine.neuron_lanes,
        time_steps=steps,
        width=NEURON_WIDTH,
        threshold_bits=NEURON_WIDTH - 1,
        value_bits=1,
        key_shift=0,
        key_bits=1,
        kinds=frozenset({NeuronKind.BINARY}),
    )
    folder = build_dir(preset.name) / "fpga" / "blocks"
    figures = {
        "fpga.lane_lut_ratio": lane_lut_ratio(array, folder),
        "fpga.neuron_luts": neuron_luts(neurons, folder),
    }
    write_metrics(preset.name, figures)
    return figures
