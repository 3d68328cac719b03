"""Buffer trees for nets with many loads, which ABC leaves alone at a block's inputs."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from .cells import Cell, Library
from .netlist import Instance, Netlist

# A buffer is strong enough if its load adds no more than this.
LOAD_PS = 60.0
# A wire's share of the load of a buffer, for each pin it reaches.
WIRE_FF = 2.0


def buffer_fanout(netlist: Netlist, library: Library, limit: int) -> Netlist:
    """Netlist in which no net but clocks and constants has more than ``limit`` loads.

    Loads of one block stay together, level by level, and a buffer belongs to the block that all of
    its loads share.
    """
    instances = {one.name: one for one in netlist.instances}
    pins = {one.name: dict(one.pins) for one in netlist.instances}
    nets = dict(netlist.nets)
    made: list[Instance] = []
    for net, loads in _crowded(netlist, library, limit).items():
        level = [
            (instances[name].hier, library[instances[name].cell].pins[pin].cap_ff, name, pin)
            for name, pin in loads
        ]
        while len(level) > limit:
            level.sort(key=lambda load: load[0])
            groups = [level[low : low + limit] for low in range(0, len(level), limit)]
            level = []
            for group in groups:
                cell = strong_enough(library, sum(load[1] + WIRE_FF for load in group))
                source, output = (
                    next(p for p, pin in cell.pins.items() if pin.direction == way)
                    for way in ("input", "output")
                )
                name = f"{_plain(nets[net])}__buf{len(made)}"
                out = len(nets)
                nets[out] = f"{name}__o"
                hier = _shared([load[0] for load in group])
                pins[name] = {source: net, output: out}
                made.append(Instance(name, cell.name, pins[name], hier))
                for _, _, sink, pin in group:
                    pins[sink][pin] = out
                level.append((hier, cell.pins[source].cap_ff, name, source))
    kept = [Instance(one.name, one.cell, pins[one.name], one.hier) for one in netlist.instances]
    return replace(netlist, instances=kept + made, nets=nets)


def _crowded(netlist: Netlist, library: Library, limit: int) -> dict[int, list[tuple[str, str]]]:
    """Loads, by instance and pin, of the nets that have too many."""
    loads: dict[int, list[tuple[str, str]]] = defaultdict(list)
    left_alone = set()
    for one in netlist.instances:
        cell = library[one.cell]
        for pin, net in one.pins.items():
            known = cell.pins[pin]
            if known.direction == "input":
                loads[net].append((one.name, pin))
                if known.is_clock:
                    left_alone.add(net)
            elif known.function in ("0", "1"):
                left_alone.add(net)
    return {
        net: found
        for net, found in sorted(loads.items())
        if len(found) > limit and net not in left_alone
    }


def buffers(library: Library) -> list[Cell]:
    """Buffers of a library, the smallest first."""
    found = [cell for cell in library.cells.values() if is_buffer(cell)]
    return sorted(found, key=lambda cell: cell.area_um2)


def strong_enough(library: Library, load_ff: float) -> Cell:
    """Smallest buffer that drives a load in :data:`LOAD_PS`, or the strongest."""
    return first_that_drives(buffers(library), load_ff)


def first_that_drives(cells: Sequence[Cell], load_ff: float) -> Cell:
    """First cell that drives a load in :data:`LOAD_PS`, or the last."""
    return next((cell for cell in cells if cell.ps_per_ff * load_ff <= LOAD_PS), cells[-1])


def is_buffer(cell: Cell) -> bool:
    """Whether a cell has one input and repeats it."""
    inputs = [name for name, pin in cell.pins.items() if pin.direction == "input"]
    outputs = [pin for pin in cell.pins.values() if pin.direction == "output"]
    return len(inputs) == 1 and len(outputs) == 1 and outputs[0].function == inputs[0]


def _shared(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    first, last = min(paths), max(paths)
    common = 0
    while common < min(len(first), len(last)) and first[common] == last[common]:
        common += 1
    return first[:common]


def _plain(name: str) -> str:
    return name.replace("[", "_").replace("]", "")
