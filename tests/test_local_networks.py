"""Whole networks with local receptive fields in RTL against the integer model."""

import pytest

from golden.checkpoint import Checkpoint, checkpoint_path
from golden.spec import load_preset
from hw.build import build_verilog
from sim.accelerator import simulate
from sim.streams import REGIMES
from tests.small_networks import LOCAL_NETWORKS, random_checkpoint, random_images, small_preset
from tests.whole_networks import check_network


@pytest.mark.slow
@pytest.mark.parametrize("network", LOCAL_NETWORKS)
def test_every_network(network, tmp_path):
    number = list(LOCAL_NETWORKS).index(network)
    preset = small_preset(**LOCAL_NETWORKS[network])
    check_network(
        preset,
        random_checkpoint(preset, seed=3),
        random_images(preset, 4),
        f"local-{number}",
        tmp_path,
        regime=REGIMES[number % len(REGIMES)],
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny-lrf", "tiny-dyn"])
def test_tiny_whole_test_split(name):
    preset = load_preset(name)
    build_verilog(preset, Checkpoint.load(checkpoint_path(preset), preset))
    figures = simulate(preset)
    assert (figures["rtl.images"], figures["rtl.mismatches"]) == (450, 0)
