"""Build products of the accelerator behind AXI: all that a system needs to take it in."""

from pathlib import Path

from peakrdl_cheader.exporter import CHeaderExporter
from peakrdl_html import HTMLExporter

from golden.checkpoint import Checkpoint
from golden.files import whole_directory
from golden.metrics import build_dir
from golden.ranges import built_widths
from golden.spec import Preset

from .axi_top import AxiTop, preset_registers
from .verilog import generate

TOP = "accelerator_axi"

# Rules of Verilator's lint that say nothing about Amaranth's Verilog, each with the reason.
WAIVERS = {
    "DECLFILENAME": "one file holds all modules",
    "UNUSEDSIGNAL": "fields of structures have names of their own, whether read or not",
    "PROCASSINIT": "a register has the same value at power-up as at reset",
    "WIDTHEXPAND": "operands are extended by Verilog's own rules, as meant",
    "WIDTHTRUNC": "a value is any of its bits where a condition is asked for",
    "CASEINCOMPLETE": "what no case assigns was assigned before it",
    "ASCRANGE": "fields without bits are wires from -1 to 0 that nothing reads",
    "VARHIDDEN": "an instance and a signal within it may share a name",
}

CORE = """CAPI=2:

name: ::{name}:0.1.0
description: Spiking transformer {preset} with AXI4-Lite and AXI-Stream ports

filesets:
  rtl:
    files:
      - {top}.v: {{file_type: verilogSource}}
  software:
    files:
      - {top}.h: {{file_type: user}}
  lint:
    files:
      - {top}.vlt: {{file_type: vlt}}

targets:
  default: &default
    filesets: [rtl, software]
    toplevel: {top}
  lint:
    <<: *default
    filesets: [rtl, lint]
    flow: lint
    flow_options:
      tool: verilator
      verilator_options: [-Wall]
"""


def axi_dir(preset: Preset) -> Path:
    """Folder of the products of a preset."""
    return build_dir(preset.name) / "axi"


def build_axi(preset: Preset, checkpoint: Checkpoint | None) -> Path:
    """Write Verilog, register map as HTML and C header, lint waivers and FuseSoC core.

    Returns
    -------
    Path
        The folder, whole or as it was before.

    Raises
    ------
    SpecError
        If widths come from a checkpoint and there is none.
    """
    widths = built_widths(preset, checkpoint)
    top, root = AxiTop(preset, widths), preset_registers(preset, widths)
    waivers = [f"// {reason}\nlint_off -rule {rule}\n" for rule, reason in WAIVERS.items()]
    name = f"spikestack-{preset.name}"
    with whole_directory(axi_dir(preset)) as folder:
        (folder / f"{TOP}.v").write_text(generate(top, TOP).text)
        (folder / f"{TOP}.vlt").write_text("`verilator_config\n" + "".join(waivers))
        (folder / f"{TOP}.core").write_text(CORE.format(name=name, preset=preset.name, top=TOP))
        CHeaderExporter().export(root, str(folder / f"{TOP}.h"), reuse_typedefs=False)
        HTMLExporter().export(root, str(folder / "registers"))
    return axi_dir(preset)
