"""Activity, slack and power of a synthesised preset."""

import math

from golden.metrics import write_metrics
from golden.spec import Preset, SpecError

from .activity import Measured, measure
from .cells import Library
from .netlist import Netlist
from .opensta import run_opensta
from .power import Activity, estimate
from .synthesis import asic_dir, liberty_files
from .timing import analyse


def measure_activity(preset: Preset) -> Measured:
    """Count how often nets switch on what was recorded; writes ``activity.json`` and metrics.

    The metrics are ``asic.toggles_per_cycle`` (mean over nets), ``asic.recorded_cycles`` and
    ``asic.compared_flip_flops``.

    Raises
    ------
    SpecError
        If netlist or recording is missing, or a flip-flop of the netlist takes something else than
        the RTL's register holds next.
    """
    folder = asic_dir(preset)
    netlist = Netlist.load(folder / "netlist.json")
    library = Library.load(folder / "library.json")
    measured = measure(netlist, library, folder / "signals.json", folder / "record.txt")
    if measured.wrong:
        raise SpecError(
            f"{len(measured.wrong)} of {measured.compared} flip-flops of {folder / 'netlist.v'}"
            f" differ from the RTL, {measured.wrong[0]} among them"
        )
    measured.activity.save(folder / "activity.json")
    toggles = measured.activity.toggles
    figures = {
        "asic.toggles_per_cycle": sum(toggles.values()) / len(toggles),
        "asic.recorded_cycles": measured.cycles,
        "asic.compared_flip_flops": measured.compared,
    }
    write_metrics(preset.name, figures)
    return measured


def measure_figures(
    preset: Preset, period_ns: float | None = None, *, opensta: bool = True
) -> dict[str, float]:
    """Time the netlist, add up its power, and write both to the preset's metrics.

    Parameters
    ----------
    preset : synthesised, with its activity measured
    period_ns : of the clock; by default the shortest of our own estimate, up to a tenth of a ns
    opensta : whether slack comes from OpenSTA

    Returns
    -------
    dict
        ``asic.clock_ns``, ``asic.slack_ns``, ``asic.power_mw`` (ours, without wires), and with
        OpenSTA ``asic.opensta_logic_mw`` (without macros).

    Raises
    ------
    SpecError
        If the period is no time, netlist or activity is missing, or OpenSTA is asked for and
        absent.
    """
    if period_ns is not None and not 0 < period_ns < math.inf:
        raise SpecError(f"period is {period_ns:g} ns: must be more than 0, and finite")
    folder = asic_dir(preset)
    netlist = Netlist.load(folder / "netlist.json")
    library = Library.load(folder / "library.json")
    activity = Activity.load(folder / "activity.json")
    timing = analyse(netlist, library)
    shortest = math.ceil(timing.period_ps / 100) / 10
    period = shortest if period_ns is None else period_ns
    found = estimate(netlist, library, activity, period * 1000)
    figures = {
        "asic.clock_ns": period,
        "asic.slack_ns": period - timing.period_ps / 1000,
        "asic.power_mw": found.total,
    }
    if opensta:
        files = liberty_files(folder)
        said = run_opensta(netlist, library, folder / "netlist.v", files, period, activity)
        figures |= {"asic.slack_ns": said.slack_ns, "asic.opensta_logic_mw": said.logic_mw}
    write_metrics(preset.name, figures)
    return figures


def report(figures: dict[str, float]) -> str:
    """One line for people."""
    said = figures.get("asic.opensta_logic_mw")
    other = f"; OpenSTA: {said:.2f} mW without macros" if said is not None else ""
    return (
        f"clock {figures['asic.clock_ns']:.1f} ns, slack {figures['asic.slack_ns']:.2f} ns,"
        f" {figures['asic.power_mw']:.2f} mW without wires{other}"
    )
