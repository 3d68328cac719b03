"""How LUTs, clock and speed grow with the lanes of an engine."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

from golden.checkpoint import Checkpoint
from golden.files import whole_file
from golden.metrics import read_metrics, write_metrics
from golden.ranges import built_widths
from golden.spec import Preset, SpecError
from hw.build import fingerprint

from .boards import Board
from .flow import REPORT, Options, fpga_dir, route

HEADINGS = (
    *("lanes", "LUT4", "flip-flops", "block RAMs", "fmax, MHz"),
    *("cycles an image", "images a second", "the same per 1,000 LUT4"),
)
PAGE, PLOT = Path("docs/growth.md"), Path("docs/growth.svg")


@dataclass(frozen=True)
class Size:
    """An engine of one size, after routing.

    Members
    -------
    lut4, ff, bram : what it takes
    fmax : MHz
    cycles : of an image
    """

    lanes: int
    lut4: int
    ff: int
    bram: int
    fmax: float
    cycles: float

    @property
    def images_per_second(self) -> float:
        """At its fmax."""
        return self.fmax * 1e6 / self.cycles


def measure(
    preset: Preset,
    checkpoint: Checkpoint | None,
    board: Board,
    lanes: Sequence[int],
    say: Callable[[str], None] = print,
) -> list[Size]:
    """Route an engine of each size, or read the report of one that was routed before.

    Raises
    ------
    SpecError
        If the cycles of a size were not measured, or a size does not fit the board.
    """
    measured = read_metrics(preset.name)
    missing = [str(n) for n in lanes if f"growth.{n}_lanes.cycles_per_image" not in measured]
    if missing:
        raise SpecError(
            f"no cycles of {preset.name} with {', '.join(missing)} lanes: run"
            f" `python -m sim lanes --preset {preset.name}` first"
        )
    sizes = []
    for number in lanes:
        engine = preset.with_lanes(number)
        folder = fpga_dir(preset, board).parent / "growth" / board.name / str(number)
        wanted = fingerprint(engine, built_widths(engine, checkpoint))
        # The preset's own engine has been built if its bitstream was.
        report = _built(folder / REPORT, wanted) or _built(fpga_dir(preset, board) / REPORT, wanted)
        if report is None:
            report, _ = route(engine, checkpoint, board, Options(), folder, say)
        used = report["utilisation"]
        size = Size(
            number,
            used["lut4"],
            used["ff"],
            used["bram"],
            min(clock["achieved"] for clock in report["clocks"]),
            measured[f"growth.{number}_lanes.cycles_per_image"],
        )
        write_metrics(preset.name, _figures(size))
        sizes.append(size)
    return sizes


def write_page(preset: Preset, board: Board, sizes: list[Size]) -> None:
    """Write the table and the plot."""
    rows = [
        _line(
            (
                str(s.lanes),
                *(f"{number:,}" for number in (s.lut4, s.ff, s.bram)),
                f"{s.fmax:.1f}",
                *(f"{number:,.0f}" for number in (s.cycles, s.images_per_second)),
                f"{1000 * s.images_per_second / s.lut4:.1f}",
            )
        )
        for s in sizes
    ]
    text = f"""# Growth with lanes

The whole engine of `{preset.name}` on {board.name} ({board.device.name}), placed and routed,
one seed each; cycles from simulation, images a second at the fmax reached. Written by
`python -m sim lanes --preset {preset.name}`, then
`python -m synth.fpga growth --preset {preset.name} --board {board.name}`.

{_line(HEADINGS)}
{_line("---" for _ in HEADINGS)}
{chr(10).join(rows)}

![Images a second over LUT4](growth.svg)
"""
    with whole_file(PAGE) as partial:
        partial.write_text(text)
    _plot(preset, sizes)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plot(preset: Preset, sizes: list[Size]) -> None:
    matplotlib.use("svg")
    # The same figures give the same file.
    matplotlib.rcParams["svg.hashsalt"] = "growth"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    axes.plot([s.lut4 for s in sizes], [s.images_per_second for s in sizes], "o-")
    for size in sizes:
        axes.annotate(
            f"{size.lanes} lanes",
            (size.lut4, size.images_per_second),
            textcoords="offset points",
            xytext=(6, -12),
        )
    # Room for the last name.
    widest = 1.15 * max(size.lut4 for size in sizes)
    axes.set(xlim=(0, widest), xlabel="LUT4", ylim=0, ylabel=f"images of {preset.name} a second")
    axes.grid(alpha=0.3)
    figure.tight_layout()
    with whole_file(PLOT) as partial:
        figure.savefig(partial, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def _built(path: Path, wanted: int) -> dict | None:
    """Report of a build, if it is of this engine."""
    if not path.is_file():
        return None
    report = json.loads(path.read_text())
    return report if report["fingerprint"] == wanted else None


def _figures(size: Size) -> dict[str, float]:
    name = f"growth.{size.lanes}_lanes"
    return {
        f"{name}.lut4": size.lut4,
        f"{name}.ff": size.ff,
        f"{name}.bram": size.bram,
        f"{name}.fmax_mhz": size.fmax,
        f"{name}.images_per_second": size.images_per_second,
    }
