"""Mapped netlists against RTL: blocks that are equal, and netlists that are not."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from golden.ranges import format_widths
from golden.spec import SpecError, load_preset
from hw.accelerator import blocks
from sim.small_presets import small_preset
from synth.__main__ import app
from synth.equivalence import block_places, is_gone, prove
from synth.mapping import memory_modules, stable_ports
from synth.netlist import cell_models

EXPERT_BLOCKS = {"router", "dispatcher", "feed", "exit", "merge"}


def proofs(names, folder: Path, changes: dict | None = None, **more):
    preset = small_preset("odd", **(changes or {}))
    return {
        proof.block: proof for proof in prove(preset, format_widths(preset), names, folder, **more)
    }


@pytest.mark.slow
def test_packer_is_its_netlist(tmp_path):
    (proof,) = proofs(["packer"], tmp_path).values()
    assert proof.proven > 10
    assert proof.unproven == ()


@pytest.mark.slow
def test_a_changed_netlist_is_not(tmp_path):
    """A carry inverted; the proof names what it breaks."""
    tamper = [
        f"mutate -list 1 -seed 4 -mode inv -o {tmp_path}/change.ys",
        f"script {tmp_path}/change.ys",
    ]
    (proof,) = proofs(["packer"], tmp_path, tamper=tamper).values()
    assert proof.unproven
    assert "\\" in proof.unproven[0]


@pytest.mark.parametrize(
    ("unproven", "gone"),
    [
        ("\\charge.sums_gold [3] 1'x", True),
        ("\\charge.sums_gold [3] \\charge.sums_gate [3]", False),
        ("\\o__payload_gold [3] 1'x", False),
    ],
)
def test_an_inner_net_may_be_gone_and_an_output_may_not(unproven, gone):
    assert is_gone(unproven, {"o__payload"}) is gone


@pytest.mark.slow
def test_blocks_are_their_netlists(tmp_path):
    """The quick ones; `make mapped` proves every block."""
    blocks = ["registers", "packets", "sequencer", "walk", "fetcher", "logits_sum"]
    found = proofs(blocks, tmp_path)
    assert list(found) == blocks
    unproven = {name: proof.unproven for name, proof in found.items() if proof.unproven}
    assert not unproven
    assert all(proof.proven for proof in found.values())


@pytest.mark.slow
def test_blocks_of_experts_are_their_netlists(tmp_path):
    experts = {"network__moe": {"experts": 4, "hidden": 4, "top_k": 2}}
    found = proofs(sorted(EXPERT_BLOCKS), tmp_path, experts)
    assert {name: proof.unproven for name, proof in found.items()} == dict.fromkeys(found, ())
    assert all(proof.proven for proof in found.values())


def test_every_block_of_the_accelerator_is_a_place():
    dense, experts = small_preset("odd"), load_preset("tiny-moe")
    assert set(blocks(dense)) <= set(block_places(dense))
    assert set(blocks(experts)) <= set(block_places(experts))
    assert set(blocks(experts)) - set(blocks(dense)) == EXPERT_BLOCKS


def test_unknown_block(tmp_path):
    known = ", ".join(block_places(small_preset("odd")))
    with pytest.raises(SpecError, match=rf"^no block alu: known are {re.escape(known)}$"):
        proofs(["alu"], tmp_path)


def test_unknown_block_on_the_command_line():
    result = CliRunner().invoke(app, ["equivalence", "--block", "alu"])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: no block alu: known are board, uart, ")


def test_memories_are_those_with_a_write_port():
    text = (
        "module \\rom\n  cell $memrd_v2 $1\n  end\nend\n"
        "module \\ram\n  cell $memwr_v2 $1\n  end\n  cell $memwr_v2 $2\n  end\nend\n"
    )
    assert memory_modules(text) == ["\\ram"]


def test_nameless_ports_are_numbered_as_they_come():
    text = "wire \\port$52$0\nwire \\port$9$1\nconnect \\port$52$0 \\port\n"
    assert stable_ports(text) == ("wire \\port$0\nwire \\port$1\nconnect \\port$0 \\port\n")


def test_models_of_the_cells_in_use():
    text = cell_models("CCU2C a(); TRELLIS_FF b();")
    # A carry cell is made of LUTs.
    assert re.findall(r"^module (\w+)", text, re.MULTILINE) == [
        "CCU2C",
        "LUT2",
        "LUT4",
        "TRELLIS_FF",
    ]
