"""A netlist small enough to check by hand: a register behind a gate, and a memory."""

from synth.asic.cells import Library, standard_cells
from synth.asic.fakeram import with_macros
from synth.asic.netlist import Instance, Netlist, Port

MACRO = "fakeram45_4x2_1r1w"


def toy_library() -> Library:
    return with_macros(standard_cells(), [MACRO])


def toy_netlist() -> Netlist:
    """``q <= !(i & q)``, written to row ``q`` of a memory that gives ``o``."""
    nets = ["clk", "i", "o[0]", "o[1]", "a__q", "a__d", "b__zero", "b__one"]
    net = {name: index for index, name in enumerate(nets)}
    macro = {
        "clk": net["clk"],
        "r_ce_in": net["i"],
        "w_ce_in": net["b__one"],
        "rd_out[0]": net["o[0]"],
        "rd_out[1]": net["o[1]"],
    }
    for port, signals in {
        "r_addr_in": ("i", "a__q"),
        "w_addr_in": ("a__q", "b__zero"),
        "w_mask_in": ("b__one", "b__one"),
        "wd_in": ("a__q", "i"),
    }.items():
        macro |= {f"{port}[{bit}]": net[name] for bit, name in enumerate(signals)}
    gate = {"A1": net["i"], "A2": net["a__q"], "ZN": net["a__d"]}
    flop = {"D": net["a__d"], "CK": net["clk"], "Q": net["a__q"]}
    return Netlist(
        "toy",
        {
            "clk": Port("input", (0,)),
            "i": Port("input", (1,)),
            "o": Port("output", (2, 3)),
        },
        [
            Instance("a__g0", "NAND2_X1", gate, ("a",)),
            Instance("a__q__reg", "DFF_X1", flop, ("a",)),
            Instance("b__g0", "LOGIC0_X1", {"Z": net["b__zero"]}, ("b",)),
            Instance("b__g1", "LOGIC1_X1", {"Z": net["b__one"]}, ("b",)),
            Instance("b__memory", MACRO, macro, ("b",)),
        ],
        dict(enumerate(nets)),
    )
