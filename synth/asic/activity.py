"""How often nets switch, from a recording of the RTL on real images.

`python -m sim record` writes what every register, memory output and input holds in each cycle. The
gates in between follow from it exactly, without delays and so without glitches: each net is a
number whose bits are cycles, and a gate is one operation on such numbers. The same run shows that
each flip-flop's input is what the register holds one cycle later, over all recorded cycles; one
behind a clock gate holds what it held in cycles in which the gate's enable is low.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from golden.files import whole_file
from golden.spec import SpecError

from .cells import Library
from .gating import clock_enables
from .netlist import Netlist, Origin
from .power import CLOCK_EDGES, Activity
from .stored import check_there
from .timing import Graph

# Cycles looked at together; the step from one chunk to the next is not counted.
CHUNK = 4096
_SAFE = re.compile(r"^[\w\s()&|^!]*$")


@dataclass(frozen=True)
class Measured:
    """Result of :func:`measure`.

    Members
    -------
    activity : of every net and macro; a clock's net has two transitions for each of its pulses
    cycles : how many were recorded
    compared : flip-flops whose input was compared with what the register held next
    wrong : names of those that differed
    """

    activity: Activity
    cycles: int
    compared: int
    wrong: tuple[str, ...]


def signals(netlist: Netlist) -> list[Origin]:
    """Bits to record: of flip-flops, macros and inputs, in the order of their nets."""
    return [netlist.origins[net] for net in sorted(netlist.origins)]


def write_signals(netlist: Netlist, path: Path) -> None:
    """Write the signals to record for `python -m sim record`, each once, as paths."""
    paths = sorted({origin.path for origin in signals(netlist)})
    with whole_file(path) as partial:
        partial.write_text(json.dumps(paths, separators=(",", ":")))


def measure(netlist: Netlist, library: Library, paths: Path, record: Path) -> Measured:
    """Count transitions and accesses.

    Parameters
    ----------
    paths : what :func:`write_signals` wrote
    record : what was recorded: a line a cycle, hexadecimal values in the order of ``paths``

    Raises
    ------
    SpecError
        If there is no recording, or it is of other signals or of too few cycles.
    """
    check_there(record, "recording", "python -m sim record")
    order = {tuple(path): index for index, path in enumerate(json.loads(paths.read_text()))}
    evaluator = _Evaluator(netlist, library)
    toggles = dict.fromkeys(netlist.nets, 0)
    accesses = {one.name: 0 for one in netlist.instances if library[one.cell].macro}
    pulses = dict.fromkeys(evaluator.clocks, 0)
    wrong: set[str] = set()
    cycles = steps = 0
    for values, count in _chunks(netlist, order, record):
        whole = (1 << count) - 1
        evaluator.run(values, whole)
        later = (1 << (count - 1)) - 1
        for net, value in values.items():
            toggles[net] += ((value ^ (value >> 1)) & later).bit_count()
        for name, nets in evaluator.enables.items():
            accesses[name] += sum(values[net].bit_count() for net in nets)
        for net in pulses:
            pulses[net] += evaluator.pulses(net, values, whole).bit_count()
        wrong.update(evaluator.differences(values, later))
        cycles, steps = cycles + count, steps + count - 1
    if not steps:
        raise SpecError(f"{record} has {cycles} cycles: must have at least 2")
    return Measured(
        Activity(
            {net: count / steps for net, count in toggles.items()}
            | {net: CLOCK_EDGES * count / cycles for net, count in pulses.items()},
            {name: count / cycles for name, count in accesses.items()},
        ),
        cycles,
        len(evaluator.registers),
        tuple(sorted(wrong)),
    )


def _chunks(
    netlist: Netlist, order: dict[tuple[str, ...], int], record: Path
) -> Iterator[tuple[dict[int, int], int]]:
    """Value of each recorded net, a bit a cycle, and the number of cycles, chunk by chunk."""
    with record.open("rb") as lines:
        first = lines.readline()
        ends = np.cumsum([len(word) + 1 for word in first.split()]) - 2
        if len(ends) != len(order):
            raise SpecError(
                f"{record} has {len(ends)} signals: must have {len(order)}; record again"
            )
        lines.seek(0)
        while raw := lines.read(CHUNK * len(first)):
            count = len(raw) // len(first)
            text = np.frombuffer(raw[: count * len(first)], np.uint8).reshape(count, len(first))
            nibbles = np.where(text >= ord("a"), text - (ord("a") - 10), text - ord("0")) & 15
            values = {}
            for net, (path, bit) in netlist.origins.items():
                place = bit or 0
                column = nibbles[:, ends[order[path]] - place // 4] >> (place % 4) & 1
                values[net] = int.from_bytes(np.packbits(column, bitorder="little"), "little")
            if count > 1:
                yield values, count


class _Evaluator:
    """Gates in order, and what the flip-flops take."""

    def __init__(self, netlist: Netlist, library: Library) -> None:
        graph = Graph(netlist, library, {}, {}, {})
        self._gates = []
        for net in graph.order:
            index = graph.driver.get(net)
            if index is not None and not graph.cell[index].sequential:
                pin = graph.output_pin(index, net)
                pins = netlist.instances[index].pins
                self._gates.append((net, _compiled(graph.cell[index].pins[pin].function), pins))
        self._constants = {}
        self.clocks = clock_enables(netlist, library)
        self.registers = []
        self.enables = {}
        for index, one in enumerate(netlist.instances):
            cell = graph.cell[index]
            if cell.macro:
                names = ("ce_in", "r_ce_in", "w_ce_in")
                self.enables[one.name] = [one.pins[name] for name in names if name in one.pins]
            elif cell.sequential:
                for pin, net in one.pins.items():
                    if cell.pins[pin].function == "IQ" and net in netlist.origins:
                        taken, clock = _compiled(cell.next_state), one.pins[cell.clock]
                        self.registers.append((one.name, net, taken, one.pins, clock))
            else:
                for pin, net in one.pins.items():
                    if cell.pins[pin].function in ("0", "1"):
                        self._constants[net] = cell.pins[pin].function == "1"

    def run(self, values: dict[int, int], mask: int) -> None:
        """Add the values of all gates' outputs."""
        for net, one in self._constants.items():
            values[net] = mask if one else 0
        for net, function, pins in self._gates:
            values[net] = _apply(function, pins, values) & mask

    def pulses(self, clock: int, values: dict[int, int], mask: int) -> int:
        """Cycles that end with a rising edge of a net that clocks something."""
        for enable in self.clocks[clock]:
            mask &= values[enable]
        return mask

    def differences(self, values: dict[int, int], mask: int) -> list[str]:
        """Names of the flip-flops that hold something else than what they took or kept."""
        passed = {clock: self.pulses(clock, values, mask) for clock in self.clocks}
        wrong = []
        for name, net, function, pins, clock in self.registers:
            taken, held = _apply(function, pins, values), values[net]
            expected = held ^ ((taken ^ held) & passed[clock])
            if (expected ^ (held >> 1)) & mask:
                wrong.append(name)
        return wrong


def _compiled(function: str) -> tuple[object, tuple[str, ...]]:
    """Expression over numbers whose bits are cycles, and the pins it reads."""
    if not _SAFE.match(function):
        raise SpecError(f"function {function!r}: must be of !, &, |, ^ and parentheses")
    code = compile(function.replace("!", "~").strip(), "function", "eval")
    return code, code.co_names


def _apply(function: tuple[object, tuple[str, ...]], pins: dict[str, int], values) -> int:
    code, names = function
    return eval(code, {"__builtins__": {}}, {name: values[pins[name]] for name in names})
