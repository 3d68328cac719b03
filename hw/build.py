"""Build products of a preset: Verilog, and a JSON that says what was built."""

import binascii
import json
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

from golden.checkpoint import Checkpoint
from golden.files import whole_file
from golden.metrics import build_dir, write_metrics
from golden.ranges import Widths, built_widths
from golden.spec import Preset, SpecError, parse_preset

from . import spaces
from .accelerator import Accelerator
from .latency import latency_formulas
from .verilog import generate

TOP = "accelerator"
# Kinds of attention whose heads can be left out.
PRUNABLE = ("a2os2a", "ssa")
# Of a preset, what changes no hardware.
NOT_HARDWARE = {"name": True, "train": True, "data": {"dataset"}}
# A frame that stops for so many cycles is dropped; at 100 MHz and 115,200 baud, 12 bytes.
TIMEOUT_CYCLES = 100_000


def verilog_path(preset: Preset) -> Path:
    """Where the preset's Verilog goes; its JSON lies beside it."""
    return build_dir(preset.name) / f"{TOP}.v"


def fingerprint(preset: Preset, widths: Widths) -> int:
    """CRC-32 of what the hardware is made from, by which a host knows what it talks to.

    That is the preset, but for what changes no hardware, and the widths.
    """
    parts = [preset.model_dump(exclude=NOT_HARDWARE), asdict(widths)]
    return binascii.crc32(json.dumps(parts).encode())


def make_accelerator(preset: Preset, widths: Widths) -> Accelerator:
    """Accelerator of a preset with its fingerprint.

    Raises
    ------
    SpecError
        If the network prunes heads of an attention with coefficients or state of its own, which
        only the integer model does, or has a memory that no frame can load.
    """
    if preset.prunes_heads and preset.network.attention not in PRUNABLE:
        raise SpecError(
            f"preset {preset.name}: no hardware for network.head_keep below 1 with"
            f" network.attention {preset.network.attention}, only the integer model"
        )
    # Asked here, before there are blocks: Amaranth warns of each that is then not used.
    spaces.max_payload(preset, widths)
    return Accelerator(
        preset, widths, fingerprint=fingerprint(preset, widths), timeout=TIMEOUT_CYCLES
    )


def build_verilog(preset: Preset, checkpoint: Checkpoint | None) -> Path:
    """Write Verilog, JSON and the ``verilog`` figures of a preset.

    Raises
    ------
    SpecError
        If widths come from a checkpoint and there is none.
    """
    started = perf_counter()
    widths = built_widths(preset, checkpoint)
    accelerator = make_accelerator(preset, widths)
    made = generate(accelerator, TOP)
    path = verilog_path(preset)
    description = {
        "preset": preset.model_dump(),
        "widths": asdict(widths),
        "fingerprint": fingerprint(preset, widths),
        "top": TOP,
        "ports": {
            "clk": {"direction": "in", "bits": 1},
            "rst": {"direction": "in", "bits": 1},
            **_ports(accelerator),
        },
        "write_spaces": [asdict(space) for space in spaces.write_spaces(preset, widths)],
        "max_payload": spaces.max_payload(preset, widths),
        "read_spaces": [asdict(space) for space in spaces.read_spaces(preset)],
        "latency": latency_formulas(preset),
    }
    with whole_file(path.with_suffix(".json")) as partial:
        partial.write_text(json.dumps(description, indent=2) + "\n")
    write_metrics(
        preset.name,
        {
            "rtl.multipliers": made.multipliers,
            "verilog.bytes": len(made.text),
            "verilog.seconds": perf_counter() - started,
        },
    )
    # Last of all: whoever looks whether the Verilog is newer than its sources asks for no more.
    with whole_file(path) as partial:
        partial.write_text(made.text)
    return path


def read_description(preset: Preset) -> tuple[Preset, Widths]:
    """Preset and widths of the Verilog that was built.

    Raises
    ------
    SpecError
        If there is none.
    """
    path = verilog_path(preset).with_suffix(".json")
    if not path.is_file():
        raise SpecError(f"no {path}: build it with `make verilog PRESET={preset.name}`")
    stored = json.loads(path.read_text())
    return parse_preset(stored["preset"], source=str(path)), Widths(**stored["widths"])


def _ports(component) -> dict[str, dict]:
    ports = {}
    for path, member, value in component.signature.flatten(component):
        name = "__".join(str(part) for part in path)
        bits = len(value.as_value() if hasattr(value, "as_value") else value)
        ports[name] = {"direction": member.flow.name.lower(), "bits": bits}
    return ports
