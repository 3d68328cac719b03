"""A stack from a synthesised netlist: assignment, placement, bonds, figures, files."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np

from golden.files import whole_directory
from golden.metrics import build_dir, write_metrics
from golden.spec import Preset, SpecError
from synth.asic.cells import Library
from synth.asic.netlist import Netlist
from synth.asic.power import Activity
from synth.asic.synthesis import asic_dir
from synth.equiv.prove import Proof, prove

from . import pictures, verilog
from .assign import FOLDED, STYLES, Options, assign
from .bonds import check_room
from .design import Design
from .exports import deffile
from .exports.kit import Kit
from .figures import Figures, measure, timing, uniform_activity, without_wires
from .fold import fold
from .placement.stack import Crossing, Outline, Placement, outline_for
from .products import write_all, write_verilog
from .timed import place_timed, placer_sources

FLAT = "2d"


@dataclass(frozen=True)
class Stacking:
    """How to build a stack.

    Members
    -------
    style : one of :data:`synth.tiers.assign.STYLES`, or ``folded``
    cut : how ``mincut`` cuts; ``folded`` and ``memory-on-logic`` take the number of tiers
    """

    style: str
    cut: Options = field(default_factory=Options)

    @property
    def name(self) -> str:
        """Of its directory and its figures: more than two tiers are named after their number."""
        return self.style if self.cut.tiers == 2 else f"{self.style}-{self.cut.tiers}"


def tiers_dir(preset: Preset, style: str) -> Path:
    """Where the products of a style go."""
    return build_dir(preset.name) / "tiers" / style


def load_design(preset: Preset) -> Design:
    """Flat netlist of a preset with its cells.

    Raises
    ------
    SpecError
        If it has not been synthesised.
    """
    netlist = Netlist.load(asic_dir(preset) / "netlist.json")
    return Design.of(netlist, Library.load(asic_dir(preset) / "library.json"))


def build(preset: Preset, stacking: Stacking, say: Callable[[str], None] = print) -> Path:
    """Build a style beside its 2D reference, write all files and the figures of both.

    Raises
    ------
    SpecError
        On an unknown style, an impossible balance, or where cells, macros or bonds do not fit; what
        was built before stays as it is.
    """
    known = (*STYLES, FOLDED)
    if stacking.style not in known:
        raise SpecError(f"style {stacking.style}: must be one of {', '.join(known)}")
    started = perf_counter()
    design = load_design(preset)
    sizes = preset.asic
    tiers, outline, start = divided(preset, design, stacking, say)
    say(report(design, tiers, outline.area))
    check_room(Crossing.of(design, tiers), outline, sizes.pitch_um)
    flat = reference(preset, design, say)
    placed = place_timed(
        design, tiers, outline, pitch_um=sizes.pitch_um, start=start, progress=True
    )
    activity = activity_of(preset, design, say)
    stacks = {FLAT: flat, stacking.name: placed}
    timed = {name: timing(stack) for name, stack in stacks.items()}
    period = timed[FLAT].period_ps
    shown = {name: measure(stack, activity, period, timed[name]) for name, stack in stacks.items()}
    folder = tiers_dir(preset, stacking.name)
    with whole_directory(folder) as made:
        write_all(
            placed,
            Kit.read(asic_dir(preset)),
            shown[stacking.name],
            sizes,
            made,
            name=stacking.name,
            period_ps=period,
            fix_memories=stacking.style == "memory-on-logic" or stacking.cut.fix_memories,
        )
        summary = {name: summarise(one) for name, one in shown.items()}
        summary["options"] = asdict(stacking) | sizes.model_dump()
        (made / "report.json").write_text(json.dumps(summary, indent=2) + "\n")
    bound = without_wires(design, activity, period)
    figures = {f"tiers.no-wires.{key}": value for key, value in bound.items()}
    for name, stack in stacks.items():
        values = summarise(shown[name]) | counts(stack)
        figures |= {f"tiers.{name}.{key}": value for key, value in values.items()}
        say(describe(name, values))
    figures[f"tiers.{stacking.name}.seconds"] = perf_counter() - started
    write_metrics(preset.name, figures)
    return folder


def divided(
    preset: Preset, design: Design, stacking: Stacking, say: Callable[[str], None]
) -> tuple[np.ndarray, Outline, tuple[np.ndarray, np.ndarray] | None]:
    """Tier of each instance, the outline, and corners to begin from where the style has some."""
    cut, utilisation = stacking.cut, preset.asic.utilisation
    if stacking.style == FOLDED:
        folded = fold(design, utilisation, cut.tiers, progress=True)
        return folded.tiers, folded.outline, (folded.x, folded.y)
    critical = slow_nets(preset, design, say) if cut.critical > 1 else None
    tiers = assign(design, stacking.style, cut, critical_nets=critical, progress=True)
    return tiers, outline_for(design, tiers, utilisation), None


def reference(preset: Preset, design: Design, say: Callable[[str], None]) -> Placement:
    """2D placement of the same netlist; kept while that, cells, utilisation and placer are it."""
    tiers = np.zeros(design.instances, np.int64)
    utilisation = preset.asic.utilisation
    outline = outline_for(design, tiers, utilisation)
    files = [asic_dir(preset) / name for name in ("netlist.json", "library.json")]
    source = b"".join(path.read_bytes() for path in files)
    # An older placer's 2D beside a newer one's 3D would not be the same engine.
    # Its files are kept with it, and so are as old as what wrote them.
    writers = [Path(module.__file__) for module in (deffile, pictures, verilog)]
    placer = b"".join(path.read_bytes() for path in (*placer_sources(), *writers))
    key = hashlib.sha256(source + placer + f"{utilisation}".encode()).hexdigest()
    folder = tiers_dir(preset, FLAT)
    kept = folder / "placement.npz"
    if kept.is_file():
        stored = np.load(kept)
        if str(stored["key"]) == key:
            none = np.zeros(0)
            crossing = Crossing.of(design, tiers)
            return Placement(
                *(design, tiers, outline, stored["x"], stored["y"], crossing, none, none)
            )
    say(f"placing the 2D reference: {design.instances} cells on {outline.area:.0f} um2")
    placed = place_timed(design, tiers, outline, pitch_um=preset.asic.pitch_um, progress=True)
    with whole_directory(folder) as made:
        (made / "flat.def").write_text(deffile.flat_def(placed, placed=True))
        write_verilog(placed, made / "verilog")
        pictures.draw(placed, made, "2D")
        pictures.write_gds(placed, made / "flat.gds")
        np.savez(made / "placement.npz", key=key, x=placed.x, y=placed.y)
    return placed


def slow_nets(preset: Preset, design: Design, say: Callable[[str], None]) -> np.ndarray:
    """Which nets have less than a tenth of the 2D reference's period to spare, bool [nets]."""
    timed = timing(reference(preset, design, say))
    slow = [net for net, slack in timed.slack_of.items() if slack < 0.1 * timed.period_ps]
    return np.isin(np.arange(design.nets), slow)


def activity_of(preset: Preset, design: Design, say: Callable[[str], None]) -> Activity:
    """How often nets and memories switch: as measured on images, or else uniform figures."""
    measured = asic_dir(preset) / "activity.json"
    if measured.is_file():
        return Activity.load(measured)
    say(f"no {measured}: power is for uniform activity")
    return uniform_activity(design.netlist, design.library)


def counts(placed: Placement) -> dict[str, float]:
    """Cut nets, bonds, share of the area at the bottom, silicon of all tiers, how full each is."""
    areas = np.bincount(placed.tiers, placed.design.area[: placed.design.instances])
    footprint = placed.outline.area
    full = {f"utilisation.tier{tier}": float(area / footprint) for tier, area in enumerate(areas)}
    return full | {
        "silicon_um2": footprint * placed.count,
        "cut_nets": int(len(np.unique(placed.crossing.net))),
        "bonds": len(placed.crossing),
        "vias": int(placed.crossing.pierced.sum()),
        "balance": float(areas[0] / areas.sum()),
    }


def prove_style(preset: Preset, style: str) -> Proof:
    """Prove a built style's Verilog equal to the flat netlist, and write the figure.

    Raises
    ------
    SpecError
        If the style was not built, or something is not proven.
    """
    folder = tiers_dir(preset, style) / "verilog"
    if not folder.is_dir():
        raise SpecError(
            f"no {folder}: build it with `make tiers PRESET={preset.name}`, STYLE= and TIERS="
        )
    design = load_design(preset)
    files = sorted(folder.glob("*.v"))
    log = build_dir(preset.name) / f"equiv-{style}.log"
    flat = asic_dir(preset) / "netlist.v"
    proof = prove(design.netlist, design.library, flat, files, log)
    write_metrics(
        preset.name,
        {
            f"tiers.{style}.equivalent": 1,
            f"tiers.{style}.equivalent_flip_flops": proof.flip_flops,
        },
    )
    return proof


def summarise(figures: Figures) -> dict[str, float]:
    """Figures under the names they have in ``metrics.json``."""
    return {
        "footprint_um2": figures.footprint_um2,
        "hpwl_um": figures.hpwl_um,
        "memory_access_ps": figures.memory_access_ps,
        "memory_mean_ps": figures.memory_mean_ps,
        "memory_round_ps": figures.memory_round_ps,
        "period_ps": figures.period_ps,
        "power_mw": figures.power.total,
        "peak_c": figures.peak_c,
    }


def report(design: Design, tiers: np.ndarray, footprint: float) -> str:
    """Cut nets, and area and utilisation of each tier."""
    low, high = design.span(tiers)
    areas = np.bincount(tiers, design.area[: design.instances])
    each = ", ".join(
        f"tier {tier} {area:.0f} um2 ({100 * area / footprint:.1f} % full)"
        for tier, area in enumerate(areas)
    )
    return f"cut nets {int((low != high).sum())}, bonds {int((high - low).sum())}; {each}"


def describe(name: str, values: dict[str, float]) -> str:
    """One line of figures."""
    return (
        f"{name}: footprint {values['footprint_um2']:.0f} um2,"
        f" wire {values['hpwl_um'] / 1e6:.3f} m,"
        f" memory access {values['memory_access_ps']:.0f} ps, power {values['power_mw']:.2f} mW,"
        f" peak {values['peak_c']:.1f} C"
    )
