"""Widths inside the attention hold what the extreme inputs drive, and a bit less would not."""

import re

import pytest
import torch
from amaranth.back import rtlil

from golden import dendrites as golden_dendrites
from golden.attention_kinds import attention_sums
from golden.attention_memory import state_memory
from golden.attention_ranges import (
    attention_input_bits,
    attention_range,
    local_range,
    read_sum_bits,
    state_sum_bits,
)
from golden.coefficients import COEFFICIENT_SHIFT, coefficient_values, two_powers
from golden.dendrites import Dendrites, read_out
from golden.local_taps import local_taps
from golden.spec import load_preset
from hw.attention_kinds import make_core
from tests.small_networks import LOCAL_NETWORKS, small_preset


def fits(value: int, bits: int) -> bool:
    return -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)


def extreme_parts(preset, sign: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Q and K at their largest, V with one sign."""
    net = preset.network
    shape = (net.time_steps, 1, net.heads, preset.tokens, net.head_channels)
    low = sign if preset.hybrid else max(0, sign)
    return (
        torch.ones(shape, dtype=torch.int64),
        torch.full(shape, 2**preset.key_bits - 1),
        torch.full(shape, low),
    )


WIDE = {"data__height": 24, "data__width": 24}  # 12x12 tokens: some see all their neighbours


@pytest.mark.parametrize(
    "changes",
    [c for n, c in LOCAL_NETWORKS.items() if "lrf-ssa" in n or "causal" in n],
    ids=lambda c: ",".join(c),
)
def test_input_of_the_neurons(changes):
    """All K and V at their extremes, local weights of the same sign."""
    preset = small_preset(**changes, **{k: v for k, v in WIDE.items() if k not in changes})
    bits, met = attention_input_bits(preset), [0]
    kernels = len(preset.dilations)
    for sign in (1, -1):
        for weight in (
            -(2 ** (preset.quant.local_bits - 1)),
            2 ** (preset.quant.local_bits - 1) - 1,
        ):
            local = torch.full((preset.network.channels, kernels, 3, 3), weight)
            sums = attention_sums(preset, {"local": local}, *extreme_parts(preset, sign))
            met += [int(sums.min()), int(sums.max())]
    assert all(fits(value, bits) for value in met)
    if not preset.network.causal_decay_shift:
        assert not all(fits(value, bits - 1) for value in met), "a bit less would do"


def test_local_sum_alone():
    preset = small_preset(**LOCAL_NETWORKS["lrf-ssa"], **WIDE)
    local = torch.full((16, 2, 3, 3), -128)
    query, key, value = extreme_parts(preset, 1)
    sums = attention_sums(preset, {"local": local}, query, key * 0, value)
    assert int(sums.min()) == -local_range(preset)


def driven(preset, sign: int, monkeypatch) -> tuple[list[int], list[int]]:
    """Sums before their shifts that the largest coefficients and inputs of one sign reach.

    First the states saturate with one sign; then the coefficients stay, so the next sums are the
    largest that states and tokens can make. The soma adds or subtracts.
    """
    count = preset.network.dendrites
    a = torch.full((1, count, 3), 256)
    a[:, 0, 0] = a[:, -1, 2] = 0
    most = torch.full((1, count), 256)
    key = torch.full((1, 16, 1), 2**preset.key_bits - 1)
    seen = {"state": [], "read": []}
    saturate = golden_dendrites.saturate

    def watch(x: torch.Tensor, bits: int) -> torch.Tensor:
        name = "state" if x.dim() == 3 and len(x) == count else "read"
        seen[name] += [int(x.min()), int(x.max())]
        return saturate(x, bits)

    monkeypatch.setattr(golden_dendrites, "saturate", watch)
    for c in (most, -most):
        read_out(key, torch.full_like(key, sign), Dendrites(a, most, c), preset.quant)
    monkeypatch.undo()
    return seen["state"], seen["read"]


def dendrites_preset(state_bits: int, count: int):
    return small_preset(
        network__attention="lrf-dyn",
        network__time_steps=1,
        network__dendrites=count,
        quant__state_bits=state_bits,
        quant__read_bits=16,
    )


@pytest.mark.parametrize("state_bits", [10, 16, 20, 24])
@pytest.mark.parametrize("count", [3, 8])
def test_sums_of_the_dendrites(state_bits, count, monkeypatch):
    preset = dendrites_preset(state_bits, count)
    quant = preset.quant
    fraction = COEFFICIENT_SHIFT + quant.state_frac_bits - quant.read_frac_bits
    for bits, shift, index in (
        (state_sum_bits(preset), COEFFICIENT_SHIFT, 0),
        (read_sum_bits(preset), fraction, 1),
    ):
        met = [value for sign in (1, -1) for value in driven(preset, sign, monkeypatch)[index]]
        assert all(fits(value, bits - shift) for value in met)
        assert not all(fits(value, bits - shift - 1) for value in met), "a bit less would do"


@pytest.mark.parametrize("state_bits", [10, 24])
@pytest.mark.parametrize("count", range(1, 9))
def test_registers_hold_the_sums_of_the_dendrites(state_bits, count):
    """Some are wider: each addition grows by a bit, and k rounds up to a power of two."""
    preset = dendrites_preset(state_bits, count)
    preset = preset.replace(network__dilations=(), engine__neuron_lanes=1)
    text = rtlil.convert(make_core(preset), name="core", emit_src=False)
    for name, bits in (
        ("total_0_0", state_sum_bits(preset)),
        ("read_sum_0_0", read_sum_bits(preset)),
    ):
        (found,) = re.findall(rf"^ *wire width (\d+) (?:signed )?\\{name}$", text, re.MULTILINE)
        assert int(found) >= bits, name


@pytest.mark.parametrize("masked", [False, True])
def test_input_of_the_neurons_of_dendrites(masked):
    preset = small_preset(network__attention="lrf-dyn", network__local_causal=masked, **WIDE)
    count, channels = preset.network.dendrites, preset.network.channels
    one = torch.full((channels, count), 128)
    a = torch.zeros(channels, count, 3, dtype=torch.int64)
    a[:, :, 1] = 128
    local = torch.full((channels, 2, 3, 3), 256)
    local[:, 1, 1, 1] = 0
    own = {"a": a, "gamma": one, "c": one, "local": local}
    low = int(attention_sums(preset, own, *extreme_parts(preset, -1)).min())
    taps = len(local_taps((3, 5), causal=masked))
    assert low == -128 * (1 + 2 * taps) == -attention_range(preset)
    assert fits(low, attention_input_bits(preset))
    assert not fits(low, attention_input_bits(preset) - 1)


def test_coefficients_are_their_terms():
    """Codes add up to every value that two terms can make, and to no other."""
    values = coefficient_values()
    terms = [0, *(sign * 2**e for e in range(8) for sign in (1, -1))]
    assert values.tolist() == sorted({x + y for x in terms for y in terms})
    codes = two_powers(values.reshape(-1, 5))
    assert codes.shape == (21, 5, 2) and codes.dtype == "uint8"
    size = (128 >> (codes & 7).astype(int)) * (codes >> 4)
    assert (
        (size * (1 - 2 * ((codes >> 3) & 1).astype(int))).sum(-1) == values.reshape(-1, 5)
    ).all()
    with pytest.raises(ValueError) as error:
        two_powers(values[:3] * 0 + 11)
    assert str(error.value) == (
        "coefficient 11 / 128: must be a sum of at most two of +-1 to +-2**-7"
    )


@pytest.mark.parametrize("channels", [64, 384, 512])
def test_memory_of_dendrites_is_linear_in_channels_and_equal_for_every_grid(channels):
    def memory(side: int, width: int) -> dict[str, int]:
        stages = [{"channels": 16}, {"channels": width}]
        changes = {"data__height": side, "data__width": side, "network__stages": stages}
        changes |= {"network__attention": "lrf-dyn", "network__local_causal": True}
        preset = load_preset("base-dyn").replace(
            **changes, network__heads=8, engine__lanes=16, engine__neuron_lanes=8
        )
        return state_memory(preset)

    grids = [memory(side, channels) for side in (7, 8, 14)]
    assert {each["dendrites"] for each in grids} == {4 * channels * 8 * 16}
    # The window is five rows and six tokens, of 8 bits.
    assert [each["window"] for each in grids] == [4 * channels * 8 * n for n in (41, 46, 76)]
    assert [
        each["map"] // (4 * 8 * n * n) for each, n in zip(grids, (49, 64, 196), strict=True)
    ] == [(channels // 8 * 15).bit_length()] * 3
    assert grids[1]["kv"] == 4 * channels * channels // 8 * 11
