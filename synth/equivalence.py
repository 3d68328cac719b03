"""Proof that the mapped netlist of every block is its RTL, by Yosys' equivalence checker.

Both sides have their flip-flops under the same names, so each next state and each output is proved
for any state that the two sides share, by induction over the cycles after a common reset.
"""

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from amaranth.lib import wiring

from golden.checkpoint import Checkpoint
from golden.metrics import build_dir, write_metrics
from golden.ranges import Widths, built_widths
from golden.spec import Preset, SpecError
from hw.accelerator import blocks
from hw.axi_top import AxiTop
from hw.uart_top import FASTEST_DIVISOR, UartTop

from .mapping import write_source
from .yosys import run_yosys

BOARD, AXI = "board", "axi"
# Cycles that an induction step may look back.
DEPTH = 2

_FOUND = re.compile(r"Of those cells (\d+) are proven and (\d+) are unproven")
_UNPROVEN = re.compile(r"Unproven \$equiv \S+: (.*)")


@dataclass(frozen=True)
class Proof:
    """What was proved of one block.

    Members
    -------
    block : its name
    proven : bits of state and outputs that are equal
    unproven : the others, as Yosys names them
    """

    block: str
    proven: int
    unproven: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """Where a block is.

    Members
    -------
    design : the accelerator on a board, or in a system
    path : names of the modules from the top of the design to the block
    """

    design: str
    path: tuple[str, ...]

    @property
    def module(self) -> str:
        """Name of the block's module."""
        return ".".join((self.design, *self.path))

    def within(self, other: "Place") -> bool:
        """Whether the other place holds this one."""
        path = self.path[: len(other.path)]
        return self != other and self.design == other.design and path == other.path


def block_places(preset: Preset) -> dict[str, Place]:
    """Blocks of a preset by name. One that holds others stands for what joins them."""
    return {
        BOARD: Place(BOARD, ()),
        "uart": Place(BOARD, ("uart",)),
        "accelerator": Place(BOARD, ("accelerator",)),
        **{name: Place(BOARD, ("accelerator", *path)) for name, path in blocks(preset).items()},
        AXI: Place(AXI, ()),
        "registers": Place(AXI, ("registers",)),
        "packets": Place(AXI, ("packets",)),
    }


def prove(
    preset: Preset,
    widths: Widths,
    names: Sequence[str],
    folder: Path,
    *,
    tamper: Sequence[str] = (),
) -> Iterator[Proof]:
    """Map blocks to ECP5 and prove each equal to its RTL; memories are left out.

    Parameters
    ----------
    names : blocks, of :func:`block_places`
    folder : for sources, logs and results
    tamper : commands that change the netlist of each block before it is compared

    Raises
    ------
    SpecError
        If the preset has no block of such a name.
    """
    places = block_places(preset)
    for name in names:
        if name not in places:
            raise SpecError(f"no block {name}: known are {', '.join(places)}")
    sources: dict[str, list[tuple[Path, list[str]]]] = {}
    for name in names:
        design = places[name].design
        if design not in sources:
            made = [_make(design, preset, widths) for _ in range(2)]
            sources[design] = [
                write_source(each, design, folder / design, mapped=mapped)
                for mapped, each in enumerate(made)
            ]
        boxes = _boxes(places, places[name])
        yield _prove(name, places[name], sources[design], boxes, folder, tamper)


def _make(design: str, preset: Preset, widths: Widths) -> wiring.Component:
    return AxiTop(preset, widths) if design == AXI else UartTop(preset, widths, FASTEST_DIVISOR)


def _boxes(places: dict[str, Place], place: Place) -> list[str]:
    """Modules within a block that have a proof of their own."""
    known = [*places.values(), Place(AXI, ("accelerator",))]
    return [each.module for each in known if each.within(place)]


def prove_preset(
    preset: Preset, checkpoint: Checkpoint | None, names: Sequence[str] | None = None
) -> Iterator[Proof]:
    """Prove blocks of a preset, all by default, which then goes to its metrics."""
    every = tuple(block_places(preset))
    proofs = []
    folder = build_dir(preset.name) / "synth" / "equivalence"
    for proof in prove(preset, built_widths(preset, checkpoint), names or every, folder):
        proofs.append(proof)
        yield proof
    if {proof.block for proof in proofs} == set(every):
        write_metrics(
            preset.name,
            {
                "synth.blocks": len(proofs),
                "synth.equivalent_blocks": sum(not proof.unproven for proof in proofs),
                "synth.proven_bits": sum(proof.proven for proof in proofs),
                "synth.unproven": sum(len(proof.unproven) for proof in proofs),
            },
        )


def _prove(
    name: str,
    place: Place,
    sources: Sequence[tuple[Path, list[str]]],
    proved: Sequence[str],
    folder: Path,
    tamper: Sequence[str],
) -> Proof:
    status, outputs = (folder / f"{name}.{kind}" for kind in ("status", "outputs"))
    module = place.module
    (plain, memories), (mapped, _) = sources
    boxes = [*memories, *proved]
    # Instances without contents become ports: what goes in is proved as an output is, and what
    # comes out is any value, the same on both sides.
    evert = " ".join(["expose -evert", *(f"t:{box}" for box in boxes)])
    run_yosys(
        [
            f"read_rtlil {plain}",
            f"blackbox {' '.join(boxes)}",
            f"hierarchy -top {module}",
            "proc",
            "flatten",
            evert,
            "memory_map",
            # To single bits, so that what is unused goes on this side too.
            "opt_clean",
            "simplemap",
            "opt_clean",
            f"tee -o {outputs} select -list {module}/o:*",
            f"rename {module} gold",
            "design -stash gold",
            f"read_rtlil {mapped}",
            f"blackbox {' '.join(boxes)}",
            f"synth_ecp5 -top {module} -nobram -nolutram -run begin:coarse",
            "proc",
            "flatten",
            evert,
            f"synth_ecp5 -top {module} -nobram -nolutram -run coarse:",
            f"rename {module} gate",
            *tamper,
            "design -stash gate",
            "design -load gold",
            "design -copy-from gate -as gate gate",
            "techmap -wb -D EQUIV -autoproc -map +/ecp5/cells_sim.v",
            "opt_clean",
            "equiv_make gold gate equiv",
            "hierarchy -top equiv",
            "opt_clean",
            "equiv_struct",
            f"equiv_simple -seq {DEPTH}",
            f"equiv_induct -seq {DEPTH}",
            f"tee -o {status} equiv_status",
        ],
        folder / f"{name}.log",
        name,
    )
    text = status.read_text()
    proven, unproven = (int(count) for count in _FOUND.search(text).groups())
    names = _UNPROVEN.findall(text)
    assert len(names) == unproven, f"{status} names {len(names)} of {unproven} unproven cells"
    kept = {line.partition("/")[2] for line in outputs.read_text().split()}
    return Proof(name, proven, tuple(each for each in names if not is_gone(each, kept)))


def is_gone(unproven: str, outputs: Set[str]) -> bool:
    """Whether the RTL has an inner net there, and the netlist does without it.

    Parameters
    ----------
    unproven : the two nets, as Yosys names them
    outputs : names of the outputs, which no netlist does without
    """
    plain = unproven.split("_gold")[0].removeprefix("\\")
    return unproven.endswith(" 1'x") and plain not in outputs
