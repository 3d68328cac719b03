"""The adder of a gated accumulator: one LUT a bit, the gate included."""

from amaranth.hdl import Cat, Const, Instance, Module, Mux, Signal, Value

# Truth table of a half of a CCU2C, for D C B A = gate, high, low, total. Where the gate is open the
# output is A ^ (B | C), else A. Its low four entries are the carry where the output is 0: A.
_GATED_ADD = 0x56AA


def gated_add(
    m: Module, platform, total: Value, low: Value, high: Value, gate: Value, *, name: str
) -> Value:
    """Sum of ``total`` and, where ``gate`` is set, ``low | high``; all as wide as ``total``.

    Most targets take gate and OR into the adder's LUTs. Yosys does not on ECP5, though its carry
    cell has inputs to spare, so there the cells are placed here.

    Parameters
    ----------
    m : module that gets the cells
    platform : what is built for, or None
    total, low, high : of the same width
    gate : one bit
    name : of the cells
    """
    if getattr(platform, "family", None) != "ecp5":
        return (total + Mux(gate, low | high, 0))[: len(total)]
    # An odd width leaves the last half of a cell without use.
    pad = Const(0, len(total) % 2)
    inputs = {"A": Cat(total, pad), "B": Cat(low, pad), "C": Cat(high, pad)}
    summed, carry = Signal(len(inputs["A"]), name=f"{name}_next"), Const(0)
    for bit in range(0, len(summed), 2):
        carry_out = Signal(name=f"{name}_carry{bit + 2}")
        ports = {"i_CIN": carry, "o_COUT": carry_out}
        for half in (0, 1):
            ports |= {f"i_{pin}{half}": value[bit + half] for pin, value in inputs.items()}
            ports |= {
                f"i_D{half}": gate,
                f"o_S{half}": summed[bit + half],
                f"p_INIT{half}": Const(_GATED_ADD, 16),
                f"p_INJECT1_{half}": "NO",
            }
        m.submodules[f"{name}_add{bit}"] = Instance("CCU2C", **ports)
        carry = carry_out
    return summed[: len(total)]
