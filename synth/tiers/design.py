"""A flat netlist as arrays: what assignment, bonds and placement work on."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from golden.spec import SpecError
from synth.asic.cells import Cell, Library
from synth.asic.lef import pin_offsets
from synth.asic.netlist import Netlist

from .hypergraph import Hypergraph

# Tier 0 is the bottom one, at which the ports are.
PORT_TIER = 0


@dataclass(frozen=True, eq=False)
class Design:
    """Netlist with the cells it uses.

    Cells are numbered as the netlist's instances, and after them each bit of a port is a cell
    without area.

    Members
    -------
    netlist, library : what it is made of
    starts : int64 [nets + 1], net n has the pins ``starts[n]`` to ``starts[n + 1]``
    pin_cell : int64 [pins]
    pin_name : of each pin; of a port's bit, its name
    """

    netlist: Netlist
    library: Library
    starts: np.ndarray
    pin_cell: np.ndarray
    pin_name: list[str]

    @classmethod
    def of(cls, netlist: Netlist, library: Library) -> "Design":
        """Sort a netlist's pins by net.

        Raises
        ------
        SpecError
            If a cell has no area, as without a LEF.
        """
        for name in sorted(netlist.cells()):
            cell = library[name]
            if cell.width_um <= 0 or cell.height_um <= 0:
                raise SpecError(
                    f"cell {name} has a size of {cell.width_um:g} x {cell.height_um:g} um:"
                    " its LEF must give one"
                )
        nets, cells, names = [], [], []
        for index, instance in enumerate(netlist.instances):
            nets.extend(instance.pins.values())
            names.extend(instance.pins)
            cells.extend([index] * len(instance.pins))
        for offset, (name, (_, net)) in enumerate(netlist.port_bits.items()):
            nets.append(net)
            names.append(name)
            cells.append(len(netlist.instances) + offset)
        nets = np.array(nets, np.int64)
        order = np.argsort(nets, kind="stable")
        starts = np.searchsorted(nets[order], np.arange(len(netlist.nets) + 1))
        return cls(
            netlist, library, starts, np.array(cells, np.int64)[order], [names[i] for i in order]
        )

    @property
    def instances(self) -> int:
        """Number of instances; ports follow."""
        return len(self.netlist.instances)

    @property
    def nets(self) -> int:
        """Number of nets."""
        return len(self.starts) - 1

    @cached_property
    def port_names(self) -> list[str]:
        """Each bit of a port, in order."""
        return list(self.netlist.port_bits)

    @cached_property
    def masters(self) -> list[Cell]:
        """Library cell of each instance."""
        return [self.library[instance.cell] for instance in self.netlist.instances]

    @cached_property
    def net_of_pin(self) -> np.ndarray:
        """Net of each pin, int64 [pins]."""
        return np.repeat(np.arange(self.nets), np.diff(self.starts))

    @cached_property
    def macro(self) -> np.ndarray:
        """Which cells are macros, bool [instances + ports]."""
        return self._column(lambda cell: cell.macro).astype(bool)

    @cached_property
    def width(self) -> np.ndarray:
        """Width of each cell in um, 0 for ports; float [instances + ports]."""
        return self._column(lambda cell: cell.width_um)

    @cached_property
    def height(self) -> np.ndarray:
        """Height of each cell in um, 0 for ports; float [instances + ports]."""
        return self._column(lambda cell: cell.height_um)

    @cached_property
    def area(self) -> np.ndarray:
        """Area of each cell in um2; float [instances + ports]."""
        return self.width * self.height

    @cached_property
    def sites(self) -> np.ndarray:
        """Area of each cell in sites, at least 1; int64 [instances + ports]."""
        site = self.library.site_um * self.library.row_um
        return np.maximum(1, np.round(self.area / site)).astype(np.int64)

    @cached_property
    def pin_offsets(self) -> tuple[np.ndarray, np.ndarray]:
        """Centre of each pin from its cell's lower left corner in um, float [pins] each."""
        offsets = {name: pin_offsets(self.library[name]) for name in self.netlist.cells()}
        none = (0.0, 0.0)
        pairs = [
            offsets[self.masters[cell].name][name] if cell < self.instances else none
            for cell, name in zip(self.pin_cell.tolist(), self.pin_name, strict=True)
        ]
        columns = np.array(pairs, float).reshape(-1, 2)
        return columns[:, 0], columns[:, 1]

    @cached_property
    def pin_ff(self) -> np.ndarray:
        """Load of each pin in fF, 0 for ports; float [pins]."""
        return np.array(
            [
                self.masters[cell].pins[name].cap_ff if cell < self.instances else 0.0
                for cell, name in zip(self.pin_cell.tolist(), self.pin_name, strict=True)
            ]
        )

    @cached_property
    def driver_pin(self) -> np.ndarray:
        """Pin that drives each net, -1 if there is none; int64 [nets]."""
        found = np.full(self.nets, -1)
        port_ways = [way for way, _ in self.netlist.port_bits.values()]
        for pin, (net, cell, name) in enumerate(
            zip(self.net_of_pin.tolist(), self.pin_cell.tolist(), self.pin_name, strict=True)
        ):
            if cell < self.instances:
                drives = self.masters[cell].pins[name].direction == "output"
            else:
                drives = port_ways[cell - self.instances] == "input"
            if drives:
                found[net] = pin
        return found

    @cached_property
    def clock_nets(self) -> np.ndarray:
        """Which nets clock something, bool [nets]."""
        clocked = np.zeros(self.nets, bool)
        for net, cell, name in zip(
            self.net_of_pin.tolist(), self.pin_cell.tolist(), self.pin_name, strict=True
        ):
            if cell < self.instances and self.masters[cell].pins[name].is_clock:
                clocked[net] = True
        return clocked

    def hypergraph(self, net_weights: np.ndarray | None = None) -> Hypergraph:
        """Instances as vertices that weigh their area in sites, and one last vertex for all ports.

        Nets of at least two instances, or of one and a port, are edges, in the netlist's order;
        :attr:`edge_nets` names them.
        """
        weights = self.sites[: self.instances]
        edges = [self._members[net] for net in self.edge_nets]
        chosen = None if net_weights is None else net_weights[self.edge_nets]
        return Hypergraph.of(edges, np.append(weights, 1), chosen)

    @cached_property
    def edge_nets(self) -> np.ndarray:
        """Net of each edge of the hypergraph, int64 [edges]."""
        return np.array([n for n, members in enumerate(self._members) if len(members) > 1])

    @cached_property
    def _members(self) -> list[list[int]]:
        ports = self.instances
        cells = np.minimum(self.pin_cell, ports).tolist()
        return [
            sorted(set(cells[begin:end]))
            for begin, end in zip(self.starts[:-1], self.starts[1:], strict=True)
        ]

    def span(self, tiers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest tier of each net, ports included, int64 [nets] each."""
        sides = self.cell_tiers(tiers)[self.pin_cell]
        low, high = np.zeros(self.nets, np.int64), np.zeros(self.nets, np.int64)
        filled = np.flatnonzero(np.diff(self.starts))
        low[filled] = np.minimum.reduceat(sides, self.starts[filled])
        high[filled] = np.maximum.reduceat(sides, self.starts[filled])
        return low, high

    def cell_tiers(self, tiers: np.ndarray) -> np.ndarray:
        """Tier of each instance, then of each port."""
        return np.concatenate([tiers, np.full(len(self.port_names), PORT_TIER)])

    def _column(self, of) -> np.ndarray:
        known = {name: of(self.library[name]) for name in self.netlist.cells()}
        values = [known[cell.name] for cell in self.masters]
        return np.array(values + [0] * len(self.port_names), float)
