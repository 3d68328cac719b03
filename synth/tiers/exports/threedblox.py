"""3DBlox package as OpenROAD reads it: chiplets, stack, bump maps, netlists, constraints, DEF.

Tier 0 lies face up on the package; every other tier lies face down on the one below: the first pair
is bonded face to face, further tiers face to back. OpenROAD reads a tier's DEF from its ChipletDef.

OpenROAD joins a port to one bump, so a net has a port for each of its bonds on a tier.
"""

from pathlib import Path

from synth.asic.lef import BOND_MACRO, bond_lef

from ..placement.stack import Placement
from ..thermal import tier_um
from ..verilog import DOWN, UP, TierPort, tier_name, tier_ports, tier_verilog, top_verilog
from .deffile import bond_places, tier_defs
from .kit import Kit
from .seed import sdc


def write(placement: Placement, kit: Kit, folder: Path, *, period_ps: float) -> None:
    """Write the whole package into a folder."""
    design, count = placement.design, placement.count
    name = design.netlist.name
    files = tier_verilog(design, placement.tiers)
    files |= tier_defs(placement)
    ports = tier_ports(design, placement.tiers)
    files["top.v"] = top_verilog(design, ports, stubs=True)
    files["bond.lef"] = bond_lef()
    kit.write(folder)
    for tier in range(count):
        clocks = [
            port.name
            for port in ports[tier]
            if port.direction == "input" and design.clock_nets[port.net]
        ]
        files[f"tier{tier}.sdc"] = sdc(tier_name(name, tier), period_ps, clocks)
    for lower in range(count - 1):
        for tier, side in ((lower, UP), (lower + 1, DOWN)):
            files[f"tier{tier}_{side}.bmap"] = _bump_map(placement, lower, ports[tier], side)
    files["stack.3dbv"] = _chiplets(placement, kit)
    files["stack.3dbx"] = _stack(placement)
    for file, text in files.items():
        (folder / file).write_text(text)


def _bump_map(placement: Placement, lower: int, ports: list[TierPort], side: str) -> str:
    """Bonds between a tier and the next, as one of both sees them.

    The bumps of a tier's two sides have two names.
    """
    places = bond_places(placement)
    # The first of a net's ports on a tier gives it its name there.
    nets = {port.net: port.name for port in reversed(ports)}
    lines = []
    for port in ports:
        if port.side == side:
            x, y = places[port.net, lower]
            at = f"{x:.3f} {y:.3f}"
            name = nets[port.net]
            lines.append(f"hb{lower}_{name} {BOND_MACRO} {at} {port.name} {name}")
    return "\n".join([*lines, ""])


def _chiplets(placement: Placement, kit: Kit) -> str:
    technology, *cells = kit.lefs
    width, height = placement.outline.width, placement.outline.height
    corners = f"[[0, 0], [{width:.3f}, 0], [{width:.3f}, {height:.3f}], [0, {height:.3f}]]"
    units = placement.design.library.database_units
    lines = [f"Header: {{version: 2.5, unit: micron, precision: {units}}}", "ChipletDef:"]
    for tier in range(placement.count):
        lines += [
            f"  {tier_name(placement.design.netlist.name, tier)}:",
            "    type: die",
            f"    design_area: [{width:.3f}, {height:.3f}]",
            f"    thickness: {tier_um(tier, placement.count)}",
            "    shrink: 1.0",
            f"    tsv: {'true' if tier == 0 or tier + 1 < placement.count else 'false'}",
            "    regions:",
        ]
        for region, (side, layer, bumps) in _regions(tier, placement.count).items():
            metal = f"layer: {layer}, " if layer else ""
            mapped = f", bmap: {bumps}" if bumps else ""
            lines.append(f"      {region}: {{side: {side}, {metal}coords: {corners}{mapped}}}")
        lines += [
            "    external:",
            f"      APR_tech_file: [{technology}]",
            f"      LEF_file: [{', '.join([*cells, 'bond.lef'])}]",
            f"      liberty_file: [{', '.join(kit.liberties)}]",
            f"      DEF_file: tier{tier}.def",
        ]
    return "\n".join([*lines, ""])


def _regions(tier: int, count: int) -> dict[str, tuple[str, str, str]]:
    """Side, layer and bump map of a tier's regions."""
    if tier == 0:
        up = {"up": ("front", "metal10", "tier0_up.bmap")} if count > 1 else {}
        return {**up, "package": ("back", "", "")}
    down = {"down": ("front", "metal10", f"tier{tier}_down.bmap")}
    up = {"up": ("back", "metal1", f"tier{tier}_up.bmap")} if tier + 1 < count else {}
    return down | up


def _stack(placement: Placement) -> str:
    name, count = placement.design.netlist.name, placement.count
    units = placement.design.library.database_units
    lines = [
        f'Header: {{version: "1.0", unit: micron, precision: {units}, include: [stack.3dbv]}}',
        f"Design: {{name: {name}, external: {{verilog_file: top.v}}}}",
        "ChipletInst:",
    ]
    lines += [
        f"  tier{tier}: {{reference: {tier_name(name, tier)},"
        f" external: {{sdc_file: tier{tier}.sdc, def_file: tier{tier}.def}}}}"
        for tier in range(count)
    ]
    lines.append("Stack:")
    heights = [sum(tier_um(below, count) for below in range(tier)) for tier in range(count)]
    lines += [
        f"  tier{tier}: {{loc: [0.0, 0.0], z: {float(heights[tier])},"
        f" orient: {'MZ' if tier else 'R0'}}}"
        for tier in range(count)
    ]
    lines.append("Connection:")
    lines += [
        f"  bond{tier}: {{top: tier{tier + 1}.regions.down, bot: tier{tier}.regions.up,"
        " thickness: 0.0}"
        for tier in range(count - 1)
    ]
    lines.append('  package: {top: tier0.regions.package, bot: "~", thickness: 0.0}')
    return "\n".join([*lines, ""])
