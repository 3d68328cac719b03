"""Whole networks in RTL against the integer model, bit for bit."""

from dataclasses import replace

import pytest

from golden.checkpoint import Checkpoint, checkpoint_path
from golden.ranges import built_widths
from golden.spec import SpecError, load_preset
from hw.build import build_verilog
from sim.accelerator import difference, make_job, play, simulate
from sim.streams import REGIMES
from synth.ecp5 import PlainFpga
from tests.small_networks import NETWORKS, random_checkpoint, random_images, small_preset
from tests.whole_networks import check_network

IMAGES = 6
# Each network in one order, the first two in both.
CASES = [(network, ("kv", "qk")[index % 2]) for index, network in enumerate(NETWORKS)]
CASES += [(network, ("qk", "kv")[index]) for index, network in enumerate(list(NETWORKS)[:2])]


@pytest.mark.slow
@pytest.mark.parametrize(("network", "order"), CASES)
def test_every_network(network, order, tmp_path):
    changes = {**NETWORKS[network], "engine__attention_order": order}
    if network.startswith("ssa"):
        changes["engine__widths"] = "format"
    preset = small_preset(**changes)
    name = f"small-{list(NETWORKS).index(network)}-{order}"
    check_network(
        preset,
        random_checkpoint(preset, seed=3),
        random_images(preset, IMAGES),
        name,
        tmp_path,
        regime=REGIMES[list(NETWORKS).index(network) % len(REGIMES)],
    )


@pytest.mark.slow
@pytest.mark.parametrize("regime", REGIMES)
def test_as_built_for_an_fpga(regime, tmp_path):
    """There registers load what is not offered, too."""
    preset = small_preset(engine__tiles=2)
    checkpoint, images = random_checkpoint(preset, seed=4), random_images(preset, IMAGES)
    how = {"platform": PlainFpga(), "regime": regime}
    check_network(preset, checkpoint, images, f"small-fpga-{regime}", tmp_path, **how)


@pytest.mark.slow
def test_a_wrong_bit_is_seen(tmp_path):
    """The check can fail: weights off by one change logits, and leave a waveform."""
    preset = small_preset()
    checkpoint, images = random_checkpoint(preset, seed=3), random_images(preset, IMAGES)
    design, job, _ = check_network(preset, checkpoint, images, "small-right", tmp_path)
    weights = {**checkpoint.weights, "head": checkpoint.weights["head"] ^ 1}
    other = replace(checkpoint, weights=weights)
    wrong = replace(
        make_job(other, built_widths(preset, checkpoint), images, result=tmp_path / "r"),
        logits=job.logits,
    )
    found = difference(design, wrong, play(design, wrong, "small-wrong"), "small-wrong")
    assert "must be" in found and "dump.vcd" in found


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Preset and its Verilog, built in a folder of its own."""
    preset = load_preset("tiny")
    build_verilog(preset, Checkpoint.load(checkpoint_path(preset), preset))
    return preset


@pytest.mark.slow
def test_tiny_whole_test_split(tiny):
    figures = simulate(tiny)
    assert (figures["rtl.images"], figures["rtl.mismatches"]) == (450, 0)
    assert figures["rtl.accuracy"] >= 95
    assert figures["rtl.cycles_over_bound"] <= 1.15


@pytest.mark.slow
@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("reset_after", [0, 1000, 2500, 5000])
def test_tiny_under_stalls_and_resets(tiny, regime, reset_after, tmp_path):
    checkpoint = Checkpoint.load(checkpoint_path(tiny), tiny)
    check_network(
        tiny,
        checkpoint,
        random_images(tiny, 3, seed=reset_after)[::-1],  # noise first: it runs longest
        f"tiny-{regime}-{reset_after}",
        tmp_path,
        regime=regime,
        reset_after=reset_after,
    )


@pytest.mark.slow
def test_base_first_images():
    preset = load_preset("base")
    build_verilog(preset, Checkpoint.load(checkpoint_path(preset), preset))
    figures = simulate(preset, count=20)
    assert (figures["rtl.images"], figures["rtl.mismatches"]) == (20, 0)
    assert figures["rtl.cycles_over_bound"] <= 1.15


def test_without_verilog(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        SpecError,
        match=r"^no build/tiny/accelerator.json: build it with `make verilog PRESET=tiny`$",
    ):
        simulate(load_preset("tiny"), count=1)


@pytest.mark.slow
def test_verilog_of_another_preset(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    preset = small_preset()
    build_verilog(preset, random_checkpoint(preset))
    with pytest.raises(
        SpecError,
        match=r"^build/small/accelerator.v was built from another preset small:"
        r" build it again with `make verilog PRESET=small`$",
    ):
        simulate(preset.replace(network__heads=4), count=1)
