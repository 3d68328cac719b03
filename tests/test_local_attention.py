"""Local branch, causal state and dendrites alone: against torch, plain loops and each other."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from golden.attention import attend
from golden.attention_layers import ATTENTIONS, LocalMatrix, mix_tokens
from golden.causal import attend_causal
from golden.dendrites import Dendrites, dendrite_sums, read_out
from golden.local_branch import local_branch
from golden.local_taps import local_taps, window_tokens
from golden.sdt import compare_with_sdt
from tests import plain_attention
from tests.small_networks import small_preset

GRIDS = [(4, 4), (4, 14), (5, 5), (6, 4), (7, 7), (11, 3), (14, 14)]
DILATIONS = [(3, 5), (1,), (3,), (5,), (1, 2, 3)]


def integers(*shape: int, low: int, high: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(low, high + 1, shape))


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("dilations", DILATIONS, ids=str)
def test_local_branch_is_a_depthwise_convolution(grid, dilations):
    channels, tokens = 3, grid[0] * grid[1]
    values = integers(2, tokens, channels, low=-1, high=1)
    weights = integers(channels, len(dilations), 3, 3, low=-128, high=127)
    weights[:, 1:, 1, 1] = 0
    image = values.double().transpose(1, 2).unflatten(2, grid)
    want = sum(
        functional.conv2d(image, w[:, None].double(), padding=d, dilation=d, groups=channels)
        for d, w in zip(dilations, weights.unbind(1), strict=True)
    )
    got = local_branch(values, weights, dilations, grid)
    assert got.dtype == torch.int64
    assert torch.equal(got.double(), want.flatten(2).transpose(1, 2))


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("dilations", DILATIONS, ids=str)
def test_mask_hides_later_tokens_alone(grid, dilations):
    """A change of a token changes tokens from it on, none before; the window reaches as far."""
    tokens = grid[0] * grid[1]
    weights = torch.ones(1, len(dilations), 3, 3, dtype=torch.int64)
    each = torch.eye(tokens, dtype=torch.int64)[:, :, None]
    seen = local_branch(each, weights, dilations, grid)[..., 0]
    masked = local_branch(each, weights, dilations, grid, causal=True)[..., 0]
    assert torch.equal(masked, seen.triu())
    far = [int(row.nonzero().max()) - n for n, row in enumerate(masked)]
    assert max(far) + 1 <= window_tokens(dilations, grid, causal=True)
    both = max(far) - min(int(row.nonzero().min()) - n for n, row in enumerate(seen))
    assert both + 1 <= max(window_tokens(dilations, grid), 2 * tokens - 1)
    if min(grid) > 2 * max(dilations):
        assert max(far) + 1 == window_tokens(dilations, grid, causal=True)


def test_taps():
    """Two kernels share a centre: 17 taps; the mask leaves those that come before, and it."""
    assert len(local_taps((3, 5))) == 17
    taps = local_taps((3, 5), causal=True)
    assert len(taps) == 9
    assert all(tap.down < 0 or (tap.down == 0 and tap.right <= 0) for tap in taps)
    assert local_taps(()) == []
    assert window_tokens((), (7, 7)) == 1


@pytest.mark.parametrize("shift", [0, 1, 3])
def test_causal_is_one_pass(shift):
    """A token's result depends on no later token, and without decay the last one sees them all."""
    shape = (2, 1, 2, 9, 4)
    query, key = integers(*shape, low=0, high=1), integers(*shape, low=0, high=15, seed=1)
    value = integers(*shape, low=-1, high=1, seed=2)
    got = attend_causal(query, key, value, decay_shift=shift)
    parts = (x[:, 0].transpose(2, 3).numpy() for x in (query, key, value))
    want = plain_attention.causal(*parts, shift)
    assert np.array_equal(got[:, 0].transpose(2, 3).numpy(), want)
    for last in (1, 5):
        part = attend_causal(*(x[..., :last, :] for x in (query, key, value)), decay_shift=shift)
        assert torch.equal(part, got[..., :last, :])
    same = torch.equal(got[..., -1, :], attend(query, key, value)[..., -1, :])
    assert same == (shift == 0)


def dendrites(channels: int, count: int, **values: int) -> Dendrites:
    """Every coefficient alike, in units of 2**-7."""
    a = torch.full((channels, count, 3), values["a"])
    a[:, 0, 0] = a[:, -1, 2] = 0
    parts = (torch.full((channels, count), values[name]) for name in ("gamma", "c"))
    return Dendrites(a, *parts)


def test_read_out_by_hand():
    """One dendrite with A = 1/2, Gamma = 3/2, C = -1: floors where halves are lost, and clamps."""
    quant = small_preset(quant__state_frac_bits=1, quant__read_frac_bits=0).quant
    key = torch.tensor([[3], [0], [1], [0]])
    value = torch.tensor([[1], [0], [-1], [1]])
    own = Dendrites(torch.tensor([[[0, 64, 0]]]), torch.tensor([[192]]), torch.tensor([[-128]]))
    # X: 9, 4, 2 - 3, floor(-1 / 2); y = floor(-X / 2).
    assert read_out(key, value, own, quant).flatten().tolist() == [-5, -2, 0, 0]
    assert read_out(key, value, own, quant, all_tokens=True).flatten().tolist() == [0] * 4
    narrow = quant.model_copy(update={"state_bits": 4, "read_bits": 3})
    # X: 7 instead of 9, 3, 1 - 3, -1; y: -4 is the lowest.
    assert read_out(key, value, own, narrow).flatten().tolist() == [-4, -2, 1, 0]


def test_read_out_of_any_token_depends_on_no_later_one():
    preset = small_preset(network__attention="lrf-dyn")
    key, value = integers(4, 16, 8, low=0, high=15), integers(4, 16, 8, low=-1, high=1, seed=1)
    own = Dendrites(
        integers(8, 8, 3, low=-64, high=64),
        integers(8, 8, low=-256, high=256),
        integers(8, 8, low=-256, high=256),
    )
    whole = read_out(key, value, own, preset.quant)
    assert torch.equal(read_out(key[:, :5], value[:, :5], own, preset.quant), whole[:, :5])
    # 32-bit and 64-bit carriers agree.
    wide = preset.quant.model_copy(update={"state_bits": 24})
    narrow = wide.model_copy(update={"state_bits": 20})
    assert torch.equal(read_out(key, value, own, wide), read_out(key, value, own, narrow))


@pytest.mark.parametrize("causal", [False, True])
def test_matrix_of_the_branch_is_the_branch(causal):
    preset = small_preset(
        data__height=10,
        data__width=12,
        network__attention="lrf-ssa",
        network__dilations=(2, 4),
        network__local_causal=causal,
    )
    weights = integers(16, 2, 3, 3, low=-9, high=9)
    weights[:, 1, 1, 1] = 0
    values = integers(2, 3, preset.tokens, 16, low=-1, high=1)
    matrix = LocalMatrix(preset).double()(weights.double())
    want = local_branch(values, weights, (2, 4), preset.grid, causal=causal)
    assert torch.equal(mix_tokens(matrix, values.double()), want.double())


@pytest.mark.parametrize("kind", ["causal", "lrf-dyn"])
def test_parallel_form_is_the_recursion(kind):
    """Float training against the recursion in floats, with the local branch by convolution."""
    changes = {"network__attention": kind, "network__causal_decay_shift": 2}
    preset = small_preset(data__height=8, data__width=12, **changes)
    torch.manual_seed(2)
    layer = ATTENTIONS[kind](preset).double()
    for weight in layer.parameters():
        weight.data.add_(torch.randn_like(weight) * 0.2)
    shape = (2, 3, 2, preset.tokens, 8)
    query = integers(*shape, low=0, high=1).double()
    key = integers(*shape, low=0, high=15, seed=1).double() / 4
    value = integers(*shape, low=-1, high=1, seed=2).double()
    with torch.no_grad():
        got = layer(query, key, value, folded=False)
    joined = [x.transpose(2, 3).flatten(3) for x in (query, key, value)]
    if kind == "causal":
        state, steps = torch.zeros(2, 3, 2, 8, 8).double(), []
        for n in range(preset.tokens):
            state = 0.75 * state + key[..., n, :, None] * value[..., n, None, :]
            steps.append((query[..., n, None, :] @ state).flatten(2))
        want = torch.stack(steps, 2)
    else:
        a, gamma, c, local = layer._real(nearest=False)
        state, steps = torch.zeros(2, 3, 16, 8).double(), []
        for n in range(preset.tokens):
            near = torch.stack([state.roll(1, -1), state, state.roll(-1, -1)], -1)
            token = (joined[1] * joined[2])[:, :, n, :, None]
            state = (a * near).sum(-1) + gamma * token
            steps.append((c * state).sum(-1))
        y = torch.stack(steps, 2)
        image = y.flatten(0, 1).transpose(1, 2).unflatten(2, preset.grid)
        near = sum(
            functional.conv2d(image, w[:, None], padding=d, dilation=d, groups=16)
            for d, w in zip((3, 5), local.unbind(1), strict=True)
        )
        want = y + near.flatten(2).transpose(1, 2).unflatten(0, (2, 3))
    assert got.abs().max() > 1
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("kind", ["lrf-ssa", "lrf-dyn"])
def test_gradients_reach_every_coefficient(kind):
    preset = small_preset(data__height=12, data__width=12, network__attention=kind)
    layer = ATTENTIONS[kind](preset)
    shape = (2, 3, 2, preset.tokens, 8)
    parts = [torch.ones(shape)] * 3
    for folded in (False, True):
        layer.zero_grad()
        result = layer(*parts, folded=folded)
        result.square().sum().backward()
        for name, weight in layer.named_parameters():
            still = weight.grad == 0
            if name.endswith("weight"):
                still = still & (layer.branch.used > 0)
            if name == "a":
                still = still & (layer.inner > 0)
            assert not still.any(), f"{name}: {int(still.sum())} without gradient"


def test_equals_sdt():
    figures = compare_with_sdt(300, seed=5)
    assert figures["attention.sdt_mismatches"] == 0
    assert 0.02 < figures["attention.sdt_firing"] < 0.5, "no test: hardly a neuron fires"


def test_comparison_with_sdt_can_fail(monkeypatch):
    """Without the tokens to come, or with a decay, they differ."""

    def causal(*args, all_tokens, **more):
        return dendrite_sums(*args, **more)

    monkeypatch.setattr("golden.sdt.dendrite_sums", causal)
    assert compare_with_sdt(20)["attention.sdt_mismatches"] > 10


@pytest.mark.slow
def test_equals_sdt_on_ten_thousand():
    assert compare_with_sdt(10_000, seed=2)["attention.sdt_mismatches"] == 0


def test_no_state_grows_without_bound():
    """Whatever training makes of A, the largest response to a token stays that of the first."""
    preset = small_preset(data__height=28, data__width=28, network__attention="lrf-dyn")
    layer = ATTENTIONS["lrf-dyn"](preset)
    torch.manual_seed(0)
    layer.a.data.normal_(0.0, 3.0)
    a, gamma, c, _ = layer._real(nearest=False)
    with torch.no_grad():
        response = layer._response(a, gamma, c).abs()
    assert response.max() <= (c.abs().sum(1) * gamma.abs().amax(1)).max() + 1e-5


def test_extremes():
    """Signs and saturation of a whole path by hand: three dendrites, all coefficients 2."""
    preset = small_preset(network__attention="lrf-dyn", network__dendrites=3)
    quant = preset.quant
    for sign, top in itertools.product((1, -1), (2, 15)):
        key = torch.full((1, 16, 1), top)
        own = dendrites(1, 3, a=256, gamma=256, c=256)
        y = read_out(key, torch.full_like(key, sign), own, quant).flatten()
        assert y[-1] == (127 if sign > 0 else -128)
        local = torch.zeros(1, 2, 3, 3, dtype=torch.int64)
        local[:, 0, 1, 1] = -256
        sums = dendrite_sums(
            key, torch.full_like(key, sign), own, local, quant, (3, 5), preset.grid
        )
        assert torch.equal(sums.flatten(), -y)
