"""The choice of the attention's core, what it loads, what it stores."""

import numpy as np
import pytest
from amaranth.hdl import Signal

from golden.attention_memory import state_memory
from golden.checkpoint import Checkpoint, checkpoint_path
from golden.spec import SpecError, load_preset
from hw import spaces
from hw.attention import AttentionCore
from hw.attention_image import coefficient_rows
from hw.attention_kinds import coefficient_shapes, make_attention
from hw.attention_memory import attention_storage
from hw.causal import CausalCore
from hw.lrf_dyn import LrfDynCore
from hw.spike_queue import QueuedCore, SpikeQueue
from hw.token_window import TokenWindow
from sim.attention_cycles import causal_latency, local_extra_cycles
from tests.small_networks import LOCAL_NETWORKS, random_checkpoint, small_preset
from tests.streams import REGIMES, run_stream

pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")


@pytest.mark.parametrize(
    "kind, core",
    [
        ("a2os2a", AttentionCore),
        ("ssa", AttentionCore),
        ("lrf-ssa", AttentionCore),
        ("causal", CausalCore),
        ("lrf-dyn", LrfDynCore),
    ],
)
def test_every_kind_has_the_same_streams(kind, core):
    preset = small_preset(network__attention=kind)
    made = make_attention(preset)
    assert isinstance(made.core if isinstance(made, QueuedCore) else made, core)
    plain = make_attention(small_preset(network__attention="a2os2a"))
    assert made.o.payload.shape() == plain.o.payload.shape()
    for name, (rows, bits) in coefficient_shapes(preset).items():
        port = getattr(made, name)
        assert len(port.write_addr) == len(Signal(range(rows)))
        assert len(port.write_data) == bits


@pytest.mark.parametrize("network", LOCAL_NETWORKS)
def test_rows_fit_their_spaces(network):
    """Every space after the image is filled to its last row, and no row is too wide."""
    preset = small_preset(**LOCAL_NETWORKS[network])
    rows = coefficient_rows(random_checkpoint(preset, seed=2))
    known = spaces.write_spaces(preset, _Widths())[spaces.IMAGE + 1 :]
    assert [space.name for space in known] == list(coefficient_shapes(preset))
    assert {space.name: space.rows for space in known} == {k: len(v) for k, v in rows.items()}
    for space in known:
        assert space.pack(rows[space.name])


class _Widths:
    """Enough of the datapath's widths for a format row."""

    threshold = 12


@pytest.mark.parametrize("kind", ["lrf-ssa", "lrf-dyn"])
def test_rows_of_two_tiles_lie_side_by_side(kind):
    """A row of two tiles is that of the first head's half, then that of the second's."""
    one, two = (small_preset(network__attention=kind, engine__tiles=n) for n in (1, 2))
    checkpoint = random_checkpoint(two, seed=4)
    both = coefficient_rows(checkpoint)
    for tile in range(2):
        # One tile of the network whose other head has the same coefficients.
        halves = {
            name: np.concatenate([np.split(values, 2)[tile]] * 2)
            for name, values in checkpoint.coefficients.items()
        }
        other = random_checkpoint(one, seed=4)
        other.coefficients.update(halves)
        for name, (_, bits) in coefficient_shapes(two).items():
            wide = coefficient_rows(other)[name]
            shares = [row >> tile * bits & (1 << bits) - 1 for row in both[name]]
            assert shares == wide[: len(shares)], (tile, name)


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("rows", [1, 3])
def test_queue(regime, rows):
    dut, words = SpikeQueue(8, rows), list(range(1, 30))
    got, cycles = run_stream(dut, words, len(words), regime=regime, seed=2)
    assert got == words
    if regime == "none" and rows > 1:
        assert cycles == list(range(2, 2 + len(words)))


def test_window_that_is_too_small():
    with pytest.raises(ValueError, match=r"^window is 4: must be at least 5 tokens$"):
        TokenWindow(9, 4, before=2, after=2)


@pytest.mark.slow
@pytest.mark.parametrize("mask", [False, True])
def test_netlists_store_what_the_formulas_say(mask):
    """State, K^T V; the window has a token more, the one that arrives, if the grid has any."""
    preset = small_preset(network__local_causal=mask, data__height=16, data__width=8)
    storage, formulas = attention_storage(preset), state_memory(preset)
    assert storage.dyn["state"] == formulas["dendrites"]
    assert storage.kv["state"] == formulas["kv"]
    words = preset.network.time_steps * preset.network.channels * preset.quant.read_bits
    token = words if formulas["window"] < words * preset.tokens else 0
    assert storage.dyn["window"] == formulas["window"] + token


@pytest.mark.slow
def test_dendrites_store_the_same_for_every_grid():
    def state(height: int) -> int:
        preset = small_preset(network__attention="lrf-dyn", data__height=height)
        return attention_storage(preset).dyn["state"]

    assert state(8) == state(16)


@pytest.mark.slow
def test_cycles_of_cores_alone():
    """The branch of tiny-lrf hides but for a few cycles; causal latency knows no N."""
    figures = local_extra_cycles(_tiny_checkpoint(), 1)
    assert figures["attention.lrf_extra_cycles_ratio"] <= 0.1
    preset = load_preset("tiny")
    assert causal_latency(preset, 3) == causal_latency(preset, 5)


def _tiny_checkpoint():
    preset = load_preset("tiny-lrf")
    return Checkpoint.load(checkpoint_path(preset), preset)


def test_cycles_of_another_kind():
    checkpoint = random_checkpoint(small_preset())
    with pytest.raises(SpecError, match=r"^preset small has attention a2os2a: must be lrf-ssa$"):
        local_extra_cycles(checkpoint, 1)
