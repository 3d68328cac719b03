"""Golden neurons against SpikingJelly, plain integers and numpy: equal, not close."""

import random

import numpy as np
import pytest
import torch
from spikingjelly.activation_based.neuron import LIFNode, TernaryLIFNode

from golden import neurons, surrogate

STEPS, TRAINS, THRESHOLD = 4, 250_000, 37


def trains(seed: int, low: int = -120, high: int = 120) -> torch.Tensor:
    """Random integer trains, in which every threshold used here is met exactly many times."""
    print(f"seed {seed}")
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high + 1, (STEPS, TRAINS), generator=generator)


def assert_same(got: torch.Tensor, expected: torch.Tensor, x: torch.Tensor) -> None:
    """Equal spikes, or the first train that differs."""
    wrong = (got != expected).any(0).nonzero()
    if len(wrong):
        n = wrong[0].item()
        pytest.fail(
            f"{len(wrong)} trains differ, first {n}: x {x[:, n].tolist()},"
            f" got {got[:, n].tolist()}, expected {expected[:, n].tolist()}"
        )


def plain_lif(x: list[int], threshold: int, shift: int, reset: str, ternary: bool) -> list[int]:
    """The neuron in Python integers, in units of 2**-(T-1), with division for the decay."""
    unit = 2 ** (len(x) - 1)
    h, spikes = 0, []
    for value in x:
        u = h + value * unit
        s = 1 if u >= threshold * unit else -1 if ternary and u <= -threshold * unit else 0
        spikes.append(s)
        if reset == "soft":
            u -= s * threshold * unit
        elif s:
            u = 0
        h = u - u // 2**shift
    return spikes


@pytest.mark.parametrize(("reset", "v_reset"), [("hard", 0.0), ("soft", None)])
def test_binary_equals_spikingjelly(reset, v_reset):
    x = trains(1)
    node = LIFNode(
        tau=2.0, decay_input=False, v_threshold=float(THRESHOLD), v_reset=v_reset, step_mode="m"
    )
    expected = node(x.double())
    assert 0.1 < expected.mean() < 0.9, "no test if all trains fire or none"
    assert_same(neurons.lif(x, THRESHOLD, reset=reset), expected.long(), x)


@pytest.mark.parametrize(("reset", "v_reset"), [("hard", 0.0), ("soft", None)])
def test_ternary_equals_spikingjelly(reset, v_reset):
    x = trains(2)
    node = TernaryLIFNode(
        tau=2.0, decay_input=False, v_threshold=float(THRESHOLD), v_reset=v_reset, step_mode="m"
    )
    expected = node(x.double())
    assert set(expected.unique().tolist()) == {-1.0, 0.0, 1.0}
    assert_same(neurons.lif(x, THRESHOLD, reset=reset, ternary=True), expected.long(), x)


def test_spikingjelly_default_is_threshold_two():
    x = trains(3, -6, 6)
    node = LIFNode(tau=2.0, decay_input=True, v_threshold=1.0, step_mode="m")
    assert_same(neurons.lif(x, 2), node(x.double()).long(), x)


@pytest.mark.parametrize("ternary", [False, True])
@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("shift", [1, 2, 3])
@pytest.mark.parametrize("time_steps", [1, 2, 3, 4, 7])
def test_lif_equals_plain_integers(time_steps, shift, reset, ternary):
    seed = 1000 * time_steps + shift
    print(f"seed {seed}")
    rng = random.Random(seed)
    rows = [[rng.randint(-40, 40) for _ in range(time_steps)] for _ in range(2000)]
    x = torch.tensor(rows).T
    got = neurons.lif(x, 11, decay_shift=shift, reset=reset, ternary=ternary)
    expected = torch.tensor([plain_lif(row, 11, shift, reset, ternary) for row in rows]).T
    assert_same(got, expected, x)


@pytest.mark.parametrize(("shift", "bits"), [(0, 1), (0, 4), (3, 4), (6, 4), (2, 8)])
def test_relu_clip_equals_numpy(shift, bits):
    x = np.arange(-3000, 3001)
    expected = np.clip(np.floor(x / 2.0**shift), 0, 2**bits - 1).astype(np.int64)
    got = neurons.relu_clip(torch.from_numpy(x), shift=shift, bits=bits).numpy()
    assert np.array_equal(got, expected)


@pytest.mark.parametrize("ternary", [False, True])
@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_surrogate_lif_fires_like_integers(reset, ternary):
    frac_bits, threshold = 5, 37
    x = trains(4)
    real = surrogate.lif(x / 2**frac_bits, threshold / 2**frac_bits, reset=reset, ternary=ternary)
    assert_same(real.long(), neurons.lif(x, threshold, reset=reset, ternary=ternary), x)


@pytest.mark.parametrize(("frac_bits", "key_frac_bits", "key_bits"), [(8, 2, 4), (5, 5, 3)])
def test_surrogate_relu_clips_like_integers(frac_bits, key_frac_bits, key_bits):
    x = torch.arange(-2000, 2001)
    real = surrogate.relu_clip(x / 2**frac_bits, key_frac_bits, key_bits) * 2**key_frac_bits
    whole = neurons.relu_clip(x, shift=frac_bits - key_frac_bits, bits=key_bits)
    assert torch.equal(real, whole.to(real.dtype))
