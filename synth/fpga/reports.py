"""What Yosys and nextpnr say, as figures and as text."""

from collections.abc import Mapping
from dataclasses import dataclass

from golden.spec import SpecError

from .boards import Board

# LUT4s that a cell takes. A carry cell of the ECP5 is two look-up tables with their carries; a
# 16x4 distributed RAM takes four for its bits and two for its write port.
_LUT4 = {
    "LUT4": 1,
    "CCU2C": 2,
    "TRELLIS_DPR16X4": 6,
    "SB_LUT4": 1,
}
_CARRY = {"CCU2C": 2, "SB_CARRY": 1}
_FLIP_FLOPS = ("TRELLIS_FF", "SB_DFF")
_BRAM = ("DP16KD", "PDPW16KD", "SB_RAM40_4K")
_SPRAM = ("SB_SPRAM256KA",)
_MULTIPLIERS = ("MULT18X18D", "ALU54B", "SB_MAC16")
RESOURCES = {
    "lut4": "LUT4s",
    "ff": "flip-flops",
    "bram": "block RAMs",
    "spram": "single-port RAMs",
    "multipliers": "multiplier blocks",
}


@dataclass(frozen=True)
class Utilisation:
    """Cells of a design, in the units of :class:`synth.fpga.boards.Device`.

    Members
    -------
    carry : look-up tables or cells with a carry; on the ECP5 they are among ``lut4``
    """

    lut4: int
    ff: int
    carry: int
    bram: int
    spram: int
    multipliers: int


def count_cells(cells: Mapping[str, int]) -> Utilisation:
    """Turn Yosys' counts by cell type into those of a device's resources."""

    def those(prefixes: tuple[str, ...]) -> int:
        return sum(count for cell, count in cells.items() if cell.startswith(prefixes))

    return Utilisation(
        lut4=sum(each * cells.get(cell, 0) for cell, each in _LUT4.items()),
        ff=those(_FLIP_FLOPS),
        carry=sum(each * cells.get(cell, 0) for cell, each in _CARRY.items()),
        bram=those(_BRAM),
        spram=those(_SPRAM),
        multipliers=those(_MULTIPLIERS),
    )


def check_fits(preset: str, board: Board, used: Utilisation) -> None:
    """Refuse a design that the board's device cannot hold, before anything is placed.

    Raises
    ------
    SpecError
        With every resource that is short, and by how much.
    """
    short = []
    for resource, name in RESOURCES.items():
        need, has = getattr(used, resource), getattr(board.device, resource)
        if need > has:
            by = f", {need / has - 1:.0%} too many" if has else ""
            short.append(f"{need} {name} of {has} ({need - has} short{by})")
    if short:
        raise SpecError(
            f"preset {preset} is too large for {board.name}: it needs {' and '.join(short)};"
            " use fewer lanes, a smaller network or a larger board"
        )


@dataclass(frozen=True)
class Clock:
    """A clock after routing, in MHz.

    Members
    -------
    achieved : fmax
    constraint : what it has to run at
    """

    name: str
    achieved: float
    constraint: float


def read_clocks(report: dict, mhz: float) -> list[Clock]:
    """Clocks of nextpnr's report; each has to run at ``mhz``, as there is only one."""
    return [Clock(name, found["achieved"], mhz) for name, found in report["fmax"].items()]


def missed_clock(clocks: list[Clock]) -> Clock | None:
    """Clock that misses most; None if all are met."""
    worst = min(clocks, key=lambda clock: clock.achieved / clock.constraint, default=None)
    return worst if worst and worst.achieved < worst.constraint else None


def check_clocks(clocks: list[Clock], where: str) -> None:
    """Refuse a design that misses a clock.

    Raises
    ------
    SpecError
        With the clock that misses most, and by how much.
    """
    worst = missed_clock(clocks)
    if worst:
        late = 1000 / worst.achieved - 1000 / worst.constraint
        raise SpecError(
            f"{where} misses its clock: {worst.name} reaches {worst.achieved:.2f} MHz of"
            f" {worst.constraint:.2f} MHz, {1 - worst.achieved / worst.constraint:.1%} or"
            f" {late:.2f} ns a cycle too slow; build with --mhz {int(worst.achieved)}"
        )


def critical_path_text(report: dict) -> str:
    """Write the slowest path of each pair of clocks, a line a hop."""
    return "\n".join(_path_text(path) for path in report["critical_paths"])


def _path_text(path: dict) -> str:
    total = sum(hop["delay"] for hop in path["path"])
    logic = sum(hop["delay"] for hop in path["path"] if hop["type"] != "routing")
    hops = sum(hop["type"] == "logic" for hop in path["path"])
    lines = [
        f"{path['from']} -> {path['to']}: {total:.2f} ns,"
        f" {logic:.2f} in {hops} cells and {total - logic:.2f} in wires",
        "   at ns   delay  what       where",
    ]
    at = 0.0
    for hop in path["path"]:
        at += hop["delay"]
        lines.append(f"{at:8.2f}{hop['delay']:8.2f}  {hop['type']:10} {_where(hop)}")
    return "\n".join(lines) + "\n"


def _where(hop: dict) -> str:
    """Name of the net, or of the cell with its pins."""
    if hop["type"] == "routing":
        span = "({}, {}) to ({}, {})".format(*hop["from"]["loc"], *hop["to"]["loc"])
        return f"{hop['net']}  {span}"
    pins = dict.fromkeys(hop[end]["port"] for end in ("from", "to"))
    return f"{hop['to']['cell']}  {' to '.join(pins)}"
