"""Verilog that says what each cell does, for simulation."""

from collections.abc import Iterable

from .cells import Cell, Library
from .fakeram import macro_ports, macro_shape, scalar


def models(library: Library, names: Iterable[str]) -> str:
    """Write one module for each cell named."""
    cells = [library[name] for name in sorted(names)]
    return "\n".join(_macro(cell) if cell.macro else _cell(cell) for cell in cells)


def _cell(cell: Cell) -> str:
    ports = ", ".join(f"{pin.direction} {name}" for name, pin in cell.pins.items())
    lines = [f"module {cell.name} ({ports});"]
    if cell.enable:
        # Open while the clock is low, so what changes at a rising edge is too late for that edge.
        lines += ["  reg IQ;", f"  always_latch if (!{cell.clock}) IQ = {cell.enable};"]
    elif cell.sequential:
        lines += ["  reg IQ;", f"  always @(posedge {cell.clock}) IQ <= {cell.next_state};"]
        lines.append("  wire IQN = ~IQ;")
    for name, pin in cell.pins.items():
        if pin.direction == "output":
            constants = {"0": "1'b0", "1": "1'b1"}
            lines.append(f"  assign {name} = {constants.get(pin.function, pin.function)};")
    return "\n".join([*lines, "endmodule", ""])


def _macro(cell: Cell) -> str:
    depth, width, two_ports = macro_shape(cell.name)
    ports = []
    for name, (direction, bits) in macro_ports(depth, width, two_ports=two_ports).items():
        register = " reg" if direction == "output" else ""
        vector = "" if scalar(name) else f" [{bits - 1}:0]"
        ports.append(f"  {direction}{register}{vector} {name}")
    lines = [f"module {cell.name} (", ",\n".join(ports), ");"]
    if two_ports:
        reads, read_row = "r_ce_in", "r_addr_in"
        writes, write_row = "w_ce_in", "w_addr_in"
    else:
        reads, read_row = "ce_in && !we_in", "addr_in"
        writes, write_row = "ce_in && we_in", "addr_in"
    return "\n".join(
        [
            *lines,
            f"  reg [{width - 1}:0] rows [0:{depth - 1}];",
            "  always @(posedge clk) begin",
            f"    if ({reads}) rd_out <= rows[{read_row}];",
            f"    if ({writes})",
            f"      rows[{write_row}] <= (rows[{write_row}] & ~w_mask_in) | (wd_in & w_mask_in);",
            "  end",
            "endmodule",
            "",
        ]
    )
