"""A small netlist with blocks, flip-flops and two memories, for tests of tiers."""

import numpy as np

from synth.asic.cells import standard_cells
from synth.asic.fakeram import macro
from synth.asic.lef import cells_lef, tech_lef
from synth.asic.liberty import write_liberty
from synth.asic.netlist import Instance, Netlist, Port
from synth.tiers.bonds import place_bonds
from synth.tiers.design import Design
from synth.tiers.exports.kit import Kit
from synth.tiers.placement.stack import Crossing, Outline, Placement, port_places

RAM = "fakeram45_64x8_1r1w"


def small_design(gates: int = 240, seed: int = 3) -> Design:
    """Two blocks of random gates and flip-flops, a memory each, joined by a few nets.

    The flip-flops of ``array`` are behind a clock gate.
    """
    rng = np.random.default_rng(seed)
    library = standard_cells().with_cells({RAM: macro(RAM)})
    nets = {0: "clk"} | {1 + bit: f"a[{bit}]" for bit in range(4)}
    nets |= {5 + bit: f"y[{bit}]" for bit in range(4)}
    instances: list[Instance] = []

    def net(name: str) -> int:
        nets[len(nets)] = name
        return len(nets) - 1

    def add(name: str, cell: str, block: tuple[str, ...], **pins: int) -> None:
        instances.append(Instance(name, cell, pins, block))

    driven = {"array": [1, 2], "neurons": [3, 4]}
    flops: dict[str, list[int]] = {"array": [], "neurons": []}
    clocks = {"array": net("array__clockgate0__o"), "neurons": 0}
    for block, known in driven.items():
        data = [net(f"{block}__ram__rd_{bit}") for bit in range(8)]
        known += data
        for index in range(gates // 2):
            pair = rng.choice(known[-30:], 2)
            output = net(f"{block}__g{index}__o")
            if index % 5 == 4:
                flops[block].append(output)
                add(
                    f"{block}__q{index}__reg",
                    "DFF_X1",
                    (block,),
                    D=pair[0],
                    CK=clocks[block],
                    Q=output,
                )
            else:
                pins = {"A1": int(pair[0]), "A2": int(pair[1]), "ZN": output}
                add(f"{block}__g{index}", "NAND2_X1", (block,), **pins)
            known.append(output)
    enable = driven["array"][9]
    add("array__clockgate0", "CLKGATE_X2", ("array",), CK=0, E=enable, GCK=clocks["array"])
    driven["neurons"][-1:] += driven["array"][-3:]
    for block, known in driven.items():
        first = nets_named(nets, f"{block}__ram__rd_0")
        # Every flip-flop is read by somebody.
        pool = [*flops[block], *map(int, known[-6:])]
        pins = {"clk": 0}
        for pin, described in library[RAM].pins.items():
            if described.direction == "output":
                pins[pin] = first + int(pin.split("[")[1][:-1])
            elif pin != "clk":
                pins[pin] = pool[len(pins) % len(pool)]
        instances.append(Instance(f"{block}__memory__ram", RAM, pins, (block, "memory")))
    for bit in range(4):
        source = driven["neurons" if bit % 2 else "array"][-1 - bit]
        add(f"out{bit}", "BUF_X1", (), A=int(source), Z=5 + bit)
    ports = {
        "clk": Port("input", (0,)),
        "a": Port("input", (1, 2, 3, 4)),
        "y": Port("output", (5, 6, 7, 8)),
    }
    made = [
        Instance(one.name, one.cell, {pin: int(n) for pin, n in one.pins.items()}, one.hier)
        for one in instances
    ]
    return Design.of(Netlist("small", ports, made, nets), library)


def kit_of(design: Design) -> Kit:
    """Files of a design's library, as synthesis would leave them."""
    library = design.library
    macros = [name for name in design.netlist.cells() if library[name].macro]
    cells = [name for name in library.cells if name not in macros]
    return Kit(
        {
            "tech.lef": tech_lef(library),
            "cells.lef": cells_lef(library, cells),
            "macros.lef": cells_lef(library, macros),
        },
        {"cells.lib": write_liberty(library, cells), "macros.lib": write_liberty(library, macros)},
    )


def nets_named(nets: dict[int, str], name: str) -> int:
    return next(net for net, text in nets.items() if text == name)


def shelf_placement(design: Design, tiers: np.ndarray) -> Placement:
    """Legal by construction and quick: memories at the bottom of a tier, cells in rows above."""
    outline = Outline(190.0, 140.0)
    x = np.zeros(design.instances + len(design.port_names))
    y = x.copy()
    for tier in range(int(tiers.max()) + 1):
        left, low = 0.0, 84.0
        macros = [c for c in np.flatnonzero(tiers == tier) if design.macro[c]]
        for place, cell in enumerate(macros):
            x[cell] = place * 91.2
        for cell in np.flatnonzero((tiers == tier) & ~design.macro[: design.instances]):
            if left + design.width[cell] > outline.width:
                left, low = 0.0, low + 1.4
            x[cell], y[cell] = left, low
            left = round(left + design.width[cell], 3)
    x[design.instances :], y[design.instances :] = port_places(len(design.port_names), outline)
    crossing = Crossing.of(design, tiers)
    middle = np.full(len(crossing), 60.0)
    return place_bonds(Placement(design, tiers, outline, x, y, crossing, middle, middle), 1.6)
