"""Library, macros and the flat netlist, on netlists small enough to check by hand."""

import pytest

from golden.files import whole_directory
from golden.spec import SpecError
from synth.asic.cells import standard_cells
from synth.asic.fakeram import macro, macro_ports
from synth.asic.netlist import Netlist, from_yosys, verilog


def toy() -> dict:
    """Yosys' JSON of a flip-flop behind an inverter, in a block ``a.b``."""
    gate = {"A": "input", "ZN": "output"}
    flop = {"D": "input", "CK": "input", "Q": "output", "QN": "output"}
    cells = {
        "$flatten$x$1": {
            "type": "INV_X1",
            "attributes": {"scopename": "a b"},
            "port_directions": gate,
            "connections": {"A": [2], "ZN": [5]},
        },
        "$flatten$y$2": {
            "type": "DFF_X1",
            "attributes": {"scopename": "a b"},
            "port_directions": flop,
            "connections": {"D": [5], "CK": [3], "Q": [4], "QN": [6]},
        },
    }
    ports = {
        "i": {"direction": "input", "bits": [2]},
        "clk": {"direction": "input", "bits": [3]},
        "o": {"direction": "output", "bits": [4]},
    }
    nets = {"a.b.q": {"hide_name": 0, "bits": [5], "attributes": {"hdlname": "a b q"}}}
    return {"modules": {"top": {"ports": ports, "cells": cells, "netnames": nets}}}


def test_areas_are_whole_sites():
    library = standard_cells()
    assert len(library.cells) == 24
    for cell in library.cells.values():
        assert cell.area_um2 == pytest.approx(cell.width_um * cell.height_um)
        assert cell.width_um / library.site_um == pytest.approx(
            round(cell.width_um / library.site_um)
        )


def test_pins_of_a_macro():
    assert list(macro_ports(64, 7, two_ports=False)) == (
        ["clk", "ce_in", "we_in", "addr_in", "w_mask_in", "wd_in", "rd_out"]
    )


def test_macro_of_another_name():
    with pytest.raises(
        SpecError,
        match=r"^macro sram_8x8: must be named fakeram45_<depth>x<width>, with _1r1w or not$",
    ):
        macro("sram_8x8")


def test_netlist_has_stable_names(tmp_path):
    netlist = from_yosys(toy(), "top", standard_cells())
    assert [(one.name, one.cell, one.hier) for one in netlist.instances] == [
        ("a__b__g0", "INV_X1", ("a", "b")),
        ("o__reg", "DFF_X1", ("a", "b")),
    ]
    netlist.save(tmp_path / "netlist.json")
    assert Netlist.load(tmp_path / "netlist.json") == netlist
    assert "INV_X1 a__b__g0 (.A(i), .ZN(a__b__q));" in verilog(netlist, standard_cells())


def test_constant_at_a_pin():
    tree = toy()
    tree["modules"]["top"]["cells"]["$flatten$x$1"]["connections"]["A"] = ["0"]
    with pytest.raises(SpecError, match=r"^pin A of \$flatten\$x\$1 in top is the constant 0$"):
        from_yosys(tree, "top", standard_cells())


def test_directory_is_whole_or_absent(tmp_path):
    path = tmp_path / "made"
    with pytest.raises(RuntimeError), whole_directory(path) as folder:
        (folder / "half").write_text("")
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    for text in ("old", "new"):
        with whole_directory(path) as folder:
            (folder / text).write_text(text)
    assert [file.name for file in path.iterdir()] == ["new"]
    assert [file.name for file in tmp_path.iterdir()] == ["made"]
