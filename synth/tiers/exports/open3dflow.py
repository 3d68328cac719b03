"""Open3DFlow's form: a directory for each die, with ports that meet by name and place."""

import re
from pathlib import Path

from golden.spec import SpecError
from synth.asic.netlist import verilog

from ..placement.stack import Placement
from ..verilog import TierPort, tier_netlist, tier_ports
from .deffile import tier_pins


def write(placement: Placement, folder: Path) -> None:
    """Write ``bottom`` and ``top``: netlist, ``config.mk`` and ``pins.txt`` (x and y in um a line).

    A crossing net is ``<net>_o`` on the die that drives it and ``<net>_i`` on the other one. Lines
    of ``pins.txt`` are in the natural order of the ports' names.

    Raises
    ------
    SpecError
        If there are not two tiers.
    """
    design = placement.design
    if placement.count != 2:
        raise SpecError(f"Open3DFlow stacks 2 dies, not {placement.count}")
    crossing = set(placement.crossing.net.tolist())
    for tier, ports in enumerate(tier_ports(design, placement.tiers)):
        die = folder / ("bottom", "top")[tier]
        die.mkdir()
        named = [_renamed(port) if port.net in crossing else port for port in ports]
        netlist = tier_netlist(design, placement.tiers, tier, named)
        (die / "netlist.v").write_text(verilog(netlist, design.library))
        pins = sorted(tier_pins(placement, tier, named), key=lambda pin: natural(pin.name))
        (die / "pins.txt").write_text("".join(f"{pin.x:.3f} {pin.y:.3f}\n" for pin in pins))
        area = f"0 0 {placement.outline.width:.3f} {placement.outline.height:.3f}"
        (die / "config.mk").write_text(
            f"export DESIGN_NAME = {netlist.name}\n"
            "export PLATFORM = nangate45\n"
            "export SYNTH_NETLIST_FILES = $(DESIGN_DIR)/netlist.v\n"
            f"export DIE_AREA = {area}\n"
            f"export CORE_AREA = {area}\n"
            "export IO_PIN_LOCATIONS = $(DESIGN_DIR)/pins.txt\n"
        )


def natural(name: str) -> list:
    """Sort key in which numbers within a name count as numbers."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _renamed(port: TierPort) -> TierPort:
    suffix = "o" if port.direction == "output" else "i"
    return TierPort(f"{port.name}_{suffix}", port.direction, port.net)
