"""The golden attention against numpy, and the widths of sums against their extremes."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from golden import widths
from golden.attention import ORDERS, attend, attention


@st.composite
def images(draw):
    """Q, K and V of shape (T, B, H, N, d) and the bits of K."""
    sizes = st.integers(1, 4)
    shape = (draw(sizes), draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(sizes))
    shape += (draw(st.integers(1, 8)),)
    bits = draw(st.sampled_from([1, 4, 8]))
    low = draw(st.sampled_from([-1, 0]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    query = random.integers(0, 2, shape)
    key = random.integers(0, 2**bits, shape)
    value = random.integers(low, 2, shape)
    return query, key, value


def tensors(arrays):
    return [torch.from_numpy(x) for x in arrays]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(images())
def test_orders_agree_with_einsum(arrays):
    query, key, value = arrays
    want = np.einsum("tbhnc,tbhmc,tbhmd->tbhnd", query, key, value)
    for order in ORDERS:
        got = attend(*tensors(arrays), order)
        assert got.dtype == torch.int64
        np.testing.assert_array_equal(got.numpy(), want, err_msg=order)


def plain_neuron(inputs, threshold, decay_shift, reset):
    """One neuron in exact fractions; floors only where halving is not exact."""
    unit = Fraction(1, 2 ** (len(inputs) - 1))
    potential, spikes = Fraction(0), []
    for x in inputs:
        potential += int(x)
        spikes.append(int(potential >= threshold))
        if spikes[-1]:
            potential = Fraction(0) if reset == "hard" else potential - threshold
        if decay_shift == 1:
            potential /= 2
        else:
            potential -= potential / 2**decay_shift // unit * unit
    return spikes


@settings(max_examples=40, deadline=None, derandomize=True)
@given(images(), st.integers(1, 40), st.integers(1, 3), st.sampled_from(["hard", "soft"]))
def test_spikes_match_plain_neurons(arrays, threshold, decay_shift, reset):
    query, key, value = arrays
    sums = np.einsum("tbhnc,tbhmc,tbhmd->tbhnd", query, key, value)
    want = np.apply_along_axis(plain_neuron, 0, sums, threshold, decay_shift, reset)
    for order in ORDERS:
        got = attention(
            *tensors(arrays), threshold, decay_shift=decay_shift, reset=reset, order=order
        )
        np.testing.assert_array_equal(got.numpy(), want, err_msg=order)


def test_unknown_order():
    x = torch.zeros(1, 1, 1, 1, 1, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"^order is 'vk': must be one of kv, qk$"):
        attend(x, x, x, "vk")


def fits(value: int, bits: int) -> bool:
    return -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)


def test_signed_bits():
    for low, high in itertools.combinations_with_replacement(range(-17, 18), 2):
        bits = widths.signed_bits(low, high)
        assert fits(low, bits) and fits(high, bits)
        assert bits == 1 or not (fits(low, bits - 1) and fits(high, bits - 1))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("tokens, channels", [(1, 1), (3, 4), (16, 16), (49, 16), (7, 64)])
def test_widths_hold_the_extremes_and_no_more(bits, tokens, channels):
    key = torch.full((tokens, channels), 2**bits - 1)
    ones = torch.ones_like(key)
    score = int((ones @ key.T).max())
    assert score.bit_length() == widths.score_bits(bits, channels)
    state = int((key.T @ ones).max())
    result = int(attend(ones, key, ones).max())
    assert int(attend(ones, key, -ones).min()) == -result
    for most, width in (
        (state, widths.kv_state_bits(bits, tokens)),
        (result, widths.attention_bits(bits, channels, tokens)),
    ):
        assert fits(most, width) and fits(-most, width)
        assert not fits(most, width - 1)


@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("decay_shift", [1, 2, 4])
@pytest.mark.parametrize("threshold", [1, 5, 40, 1000])
@pytest.mark.parametrize("low, high", [(-12, 12), (0, 7), (-9, 0), (-128, 127)])
def test_membrane_bits_hold_every_train(low, high, threshold, decay_shift, reset):
    """All trains of extreme and middling inputs; the width is at most one bit above need."""
    steps = 4
    bits = widths.lif_membrane_bits(
        low, high, time_steps=steps, threshold=threshold, decay_shift=decay_shift, reset=reset
    )
    level, reached = threshold << (steps - 1), []
    inputs = {low, high, low // 2, high // 2, min(threshold - 1, high)}
    for train in itertools.product(inputs, repeat=steps):
        left = 0
        for x in train:
            potential = left + (x << (steps - 1))
            reached.append(potential)
            fired = potential >= level
            left = (potential - level if reset == "soft" else 0) if fired else potential
            left -= left >> decay_shift
    assert fits(min(reached), bits) and fits(max(reached), bits)
    assert widths.signed_bits(min(reached), max(reached)) >= bits - 1
