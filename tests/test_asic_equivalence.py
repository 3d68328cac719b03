"""The proof that tiers are the flat netlist, on a toy: it holds, and it can fail."""

import numpy as np
import pytest

from golden.spec import SpecError
from synth.asic.netlist import Instance, Netlist, Port, verilog
from synth.equiv.prove import prove
from synth.tiers.design import Design
from synth.tiers.verilog import tier_verilog
from tests.toy_netlist import MACRO, toy_library, toy_netlist

BOTTOM = """module bottom (i, clk, a__q);
  input i, clk;
  output a__q;
  wire a__d;
  NAND2_X1 a__g0 (.A1(i), .A2(a__q), .ZN(a__d));
  DFF_X1 a__q__reg (.D(a__d), .CK(clk), .Q(a__q));
endmodule
"""
UPPER = f"""module upper (i, clk, a__q, o);
  input i, clk, a__q;
  output [1:0] o;
  wire b__zero, b__one;
  LOGIC0_X1 b__g0 (.Z(b__zero));
  LOGIC1_X1 b__g1 (.Z(b__one));
  {MACRO} b__memory (.clk(clk), .r_ce_in(i), .w_ce_in(b__one), .r_addr_in({{a__q, i}}),
    .w_addr_in({{b__zero, a__q}}), .w_mask_in({{b__one, b__one}}), .wd_in({{i, a__q}}), .rd_out(o));
endmodule
"""
TOP = """module toy (clk, i, o);
  input clk, i;
  output [1:0] o;
  wire a__q;
  bottom tier0 (.i(i), .clk(clk), .a__q(a__q));
  upper tier1 (.i(i), .clk(clk), .a__q(a__q), .o(o));
endmodule
"""


def check(folder, bottom: str = BOTTOM, upper: str = UPPER, top: str = TOP):
    netlist, library = toy_netlist(), toy_library()
    flat = folder / "flat.v"
    flat.write_text(verilog(netlist, library))
    paths = []
    for name, text in (("bottom", bottom), ("upper", upper), ("top", top)):
        paths.append(folder / f"{name}.v")
        paths[-1].write_text(text)
    return prove(netlist, library, flat, paths, folder / "yosys.log")


def test_tiers_are_the_flat_netlist(tmp_path):
    proof = check(tmp_path)
    assert (proof.flip_flops, proof.clock_gates, proof.macros) == (1, 0, 1)
    # The gate and the flip-flop, and two bits of the memory; constants are no signals.
    assert proof.points == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bottom": BOTTOM.replace("NAND2", "AND2")}, "signals are not proven equal, a__"),
        ({"upper": UPPER.replace("{i, a__q}", "{a__q, i}")}, "signals are not proven equal"),
        ({"upper": UPPER.replace("r_ce_in(i)", "r_ce_in(a__q)")}, "signals are not proven equal"),
        ({"bottom": BOTTOM.replace("q__reg", "r__reg")}, "clock gate or macro a__q__reg is in one"),
        ({"upper": UPPER.replace("b__memory", "m")}, "clock gate or macro b__memory is in one"),
    ],
)
def test_a_wrong_tier_is_found(tmp_path, change, message):
    with pytest.raises(SpecError, match=message):
        check(tmp_path, **change)


def test_an_enable_of_another_tier_is_compared(tmp_path):
    """A clock gate on one tier, its flip-flop on the other; then with another enable."""
    nets = ["clk", "i", "j", "o", "gck"]
    netlist = Netlist(
        "toy",
        {name: Port("input", (nets.index(name),)) for name in nets[:3]}
        | {"o": Port("output", (3,))},
        [
            Instance("clockgate0", "CLKGATE_X1", {"CK": 0, "E": 1, "GCK": 4}, ()),
            Instance("o__reg", "DFF_X1", {"D": 2, "CK": 4, "Q": 3}, ()),
        ],
        dict(enumerate(nets)),
    )
    library = toy_library()
    design = Design.of(netlist, library)
    (tmp_path / "flat.v").write_text(verilog(netlist, library))
    paths = []
    for name, text in tier_verilog(design, np.array([0, 1])).items():
        paths.append(tmp_path / name)
        paths[-1].write_text(text)
    files = tmp_path / "flat.v", paths, tmp_path / "yosys.log"
    proof = prove(netlist, library, *files)
    assert (proof.flip_flops, proof.clock_gates, proof.macros) == (1, 1, 0)
    paths[0].write_text(paths[0].read_text().replace(".E(i)", ".E(clk)"))
    with pytest.raises(SpecError, match="signals are not proven equal"):
        prove(netlist, library, *files)
