"""Static timing of a netlist with one delay a cell: what stacks are compared by.

A cell's delay is a constant and a slope over its load; slews are not followed. Clocks are ideal,
gated or not; a clock gate's enable ends a path as a flip-flop's input does.
For sign-off there is :mod:`synth.asic.opensta`.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from golden.spec import SpecError

from .buffers import buffers
from .cells import Library
from .netlist import Netlist
from .wires import NO_JOINTS, Joints, Wires


@dataclass(frozen=True)
class MemoryPath:
    """What it takes to use a macro.

    Members
    -------
    to_ps : from a clock edge through registers, logic and wires to the macro's inputs, with setup
    from_ps : from the clock edge of a read through the macro, wires and logic to a register, with
        the register's setup
    access_ps : the part of it within the macro, without load
    """

    to_ps: float
    from_ps: float
    access_ps: float

    @property
    def round_ps(self) -> float:
        """From a register through the macro to a register."""
        return self.to_ps + self.from_ps


@dataclass(frozen=True)
class Timing:
    """Result of :func:`analyse`.

    Members
    -------
    period_ps : the shortest clock period that works
    path : instances on the longest path, first to last
    memories : by macro instance
    slack_of : of each net, how much later it could be at ``period_ps``; the longest path has 0
    memory_slack_of : of each net between a memory and registers, how much later it could be before
        its memory took longer, from register to register, than the slowest one
    """

    period_ps: float
    path: tuple[str, ...]
    memories: dict[str, MemoryPath]
    slack_of: dict[int, float]
    memory_slack_of: dict[int, float]


def default_wires(library: Library) -> Wires:
    """Wires with the library's strongest buffer as repeater."""
    found = buffers(library)
    if not found:
        raise SpecError(f"library {library.name} has no buffer: one input, one output equal to it")
    return Wires(min(found, key=lambda cell: cell.ps_per_ff))


def analyse(
    netlist: Netlist,
    library: Library,
    lengths: Mapping[int, float] | None = None,
    *,
    joints: Mapping[int, Joints] | None = None,
    ways: Mapping[int, Mapping[int, float]] | None = None,
    wires: Wires | None = None,
) -> Timing:
    """Find the longest path and the macros' paths.

    Parameters
    ----------
    lengths : um of wire of each net, which load its driver; a net without one has no wire
    joints : bonds and vias between tiers of each net
    ways : um from a net's driver to an instance, by net and the instance's number; where there is
        none, it is the net's whole length
    wires : by default :func:`default_wires`

    Raises
    ------
    SpecError
        If gates form a loop.
    """
    graph = Graph(netlist, library, lengths or {}, joints or {}, ways or {}, wires)
    order = graph.order
    arrival, before = graph.forward(order)
    tail = graph.backward(order)
    through = {net: arrival[net] + tail[net] for net in arrival if net in tail}
    worst = max(through, key=through.get)
    period = through[worst]
    memories = graph.memories(arrival, tail)
    return Timing(
        period_ps=period,
        path=graph.trace(worst, before),
        memories={netlist.instances[index].name: path for index, path in memories.items()},
        slack_of={net: period - total for net, total in through.items()},
        memory_slack_of=graph.memory_slack(order, arrival, tail, memories),
    )


class Graph:
    """Nets joined by cells, with their delays; parameters as of :func:`analyse`."""

    def __init__(
        self,
        netlist: Netlist,
        library: Library,
        lengths: Mapping[int, float],
        joints: Mapping[int, Joints],
        ways: Mapping[int, Mapping[int, float]],
        wires: Wires | None = None,
    ) -> None:
        wires = wires or default_wires(library)
        self.netlist, self.library = netlist, library
        self.cell = [library[one.cell] for one in netlist.instances]
        self.driver: dict[int, int] = {}
        self.sinks: dict[int, list[int]] = defaultdict(list)
        pins_ff: dict[int, float] = defaultdict(float)
        self.ignored = set()
        for index, one in enumerate(netlist.instances):
            known = self.cell[index].pins
            for pin, net in one.pins.items():
                if known[pin].direction == "output":
                    self.driver[net] = index
                    if known[pin].function in ("0", "1"):
                        self.ignored.add(net)
                    continue
                pins_ff[net] += known[pin].cap_ff
                if known[pin].is_clock:
                    self.ignored.add(net)
                else:
                    self.sinks[net].append(index)
        nets = netlist.nets
        length = [lengths.get(net, 0.0) for net in range(len(nets))]
        joint = [joints.get(net, NO_JOINTS) for net in range(len(nets))]
        self.load = [pins_ff[net] + wires.driven_ff(length[net], joint[net]) for net in nets]
        self.wire = [wires.delay_ps(length[net], pins_ff[net], joint[net]) for net in nets]
        # Delay to each of a net's sinks, in their order.
        self.way = {
            net: [
                wires.delay_ps(near[sink], pins_ff[net], joint[net])
                if (near := ways.get(net)) and sink in near
                else self.wire[net]
                for sink in sinks
            ]
            for net, sinks in self.sinks.items()
        }

    def gate_ps(self, net: int) -> float:
        """Delay of the cell that drives a net."""
        cell = self.cell[self.driver[net]]
        return cell.delay_ps + cell.ps_per_ff * self.load[net]

    @cached_property
    def order(self) -> list[int]:
        """Nets, each after those it depends on through gates."""
        waiting: dict[int, int] = {}
        starts = [net for way, net in self.netlist.port_bits.values() if way == "input"]
        for index, one in enumerate(self.netlist.instances):
            cell = self.cell[index]
            inputs = [
                net
                for pin, net in one.pins.items()
                if cell.pins[pin].direction == "input" and net not in self.ignored
            ]
            if cell.sequential or not inputs:
                starts += self.outputs(index)
            else:
                waiting[index] = len(inputs)
        order = [net for net in starts if net not in self.ignored]
        for net in order:
            for index in self.sinks[net]:
                if index in waiting:
                    waiting[index] -= 1
                    if not waiting[index]:
                        del waiting[index]
                        order += self.outputs(index)
        if waiting:
            name = self.netlist.instances[next(iter(waiting))].name
            raise SpecError(f"{len(waiting)} gates form a loop or hang on one, {name} among them")
        return order

    def output_pin(self, index: int, net: int) -> str:
        """Pin by which an instance drives a net."""
        cell, pins = self.cell[index], self.netlist.instances[index].pins
        return next(
            pin for pin, to in pins.items() if to == net and cell.pins[pin].direction == "output"
        )

    def reach(self, net: int) -> Iterator[tuple[int, float]]:
        """Instances that a net goes to, and the delay of its wire to each."""
        return zip(self.sinks[net], self.way.get(net, ()), strict=True)

    def outputs(self, index: int) -> list[int]:
        """Nets that an instance drives."""
        cell = self.cell[index]
        pins = self.netlist.instances[index].pins
        return [net for pin, net in pins.items() if cell.pins[pin].direction == "output"]

    def forward(
        self, order: list[int], begins: Mapping[int, float] | None = None
    ) -> tuple[dict[int, float], dict[int, int]]:
        """Latest time of each net at its driver, and the net before it on that path.

        Parameters
        ----------
        order : of :attr:`order`
        begins : when paths begin at registers and memories, by instance; those not named begin
            none. By default all begin paths at 0, and so do ports
        """
        latest: dict[int, float] = {}
        reached: dict[int, tuple[float, int]] = {}
        before: dict[int, int] = {}
        for net in order:
            index = self.driver.get(net)
            at, source = (0.0 if begins is None else begins.get(index)), None
            if index is not None and not self.cell[index].sequential:
                at, source = reached.get(index, (at, None))
            if at is None:
                continue
            latest[net] = at if index is None else at + self.gate_ps(net)
            if source is not None:
                before[net] = source
            for sink, wire in self.reach(net):
                there = latest[net] + wire
                if sink not in reached or there > reached[sink][0]:
                    reached[sink] = (there, net)
        return latest, before

    def backward(
        self, order: list[int], ends: Mapping[int, float] | None = None
    ) -> dict[int, float]:
        """Longest time from each net's driver to a register or port, with setup.

        Parameters
        ----------
        order : of :attr:`order`
        ends : what follows where paths end, by instance; those not named end none. By default all
            registers and memories end paths, with their setup, and so do ports
        """
        tail: dict[int, float] = {}
        behind: dict[int, float] = {}
        at_ports = {net for way, net in self.netlist.port_bits.values() if way == "output"}
        for net in reversed(order):
            longest = self.wire[net] if ends is None and net in at_ports else None
            for sink, wire in self.reach(net):
                cell = self.cell[sink]
                if not cell.sequential:
                    rest = behind.get(sink)
                else:
                    rest = cell.setup_ps if ends is None else ends.get(sink)
                if rest is not None and (longest is None or rest + wire > longest):
                    longest = rest + wire
            if longest is None:
                continue
            tail[net] = longest
            index = self.driver.get(net)
            if index is not None and not self.cell[index].sequential:
                through = self.gate_ps(net) + tail[net]
                behind[index] = max(behind.get(index, 0.0), through)
        return tail

    def trace(self, net: int, before: dict[int, int]) -> tuple[str, ...]:
        """Instances before a net, and the one that drives it, on its longest path."""
        names = []
        while net is not None:
            if net in self.driver:
                names.append(self.netlist.instances[self.driver[net]].name)
            net = before.get(net)
        return tuple(reversed(names))

    def memories(self, arrival, tail) -> dict[int, MemoryPath]:
        """Paths to and from each macro, by instance."""
        found = {}
        for index, one in enumerate(self.netlist.instances):
            cell = self.cell[index]
            if not cell.macro:
                continue
            to = [
                arrival[net]
                + max(wire for to, wire in self.reach(net) if to == index)
                + cell.setup_ps
                for net in {
                    net
                    for pin, net in one.pins.items()
                    if cell.pins[pin].direction == "input" and net in arrival
                }
            ]
            back = [arrival[net] + tail[net] for net in self.outputs(index) if net in tail]
            found[index] = MemoryPath(max(to, default=0.0), max(back, default=0.0), cell.delay_ps)
        return found

    def memory_slack(self, order: list[int], arrival, tail, memories) -> dict[int, float]:
        """:attr:`Timing.memory_slack_of`, from the paths of :meth:`memories`."""
        slowest = max((path.round_ps for path in memories.values()), default=0.0)
        leaving, _ = self.forward(order, {index: path.to_ps for index, path in memories.items()})
        coming = self.backward(
            order,
            {index: self.cell[index].setup_ps + path.from_ps for index, path in memories.items()},
        )
        trips = {net: arrival[net] + after for net, after in coming.items() if net in arrival}
        for net, before in leaving.items():
            if net in tail:
                trips[net] = max(trips.get(net, 0.0), before + tail[net])
        return {net: slowest - trip for net, trip in trips.items()}
