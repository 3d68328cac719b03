"""LRF-Dyn against the spike-driven attention of SpikingJelly's ``SpikeDrivenTransformer``.

One dendrite, A = Gamma = C = 1, no local branch, binary K and V, the sum over all tokens, V_th = 1.
SpikingJelly computes Q, K and V from random inputs and weights; its spikes are taken before its
projection.
"""

import torch
from spikingjelly.activation_based import functional
from spikingjelly.activation_based.model.spike_driven_transformer import SpikeDrivenTransformer
from torch import Tensor
from tqdm import tqdm

from .attention_kinds import attention_spikes
from .coefficients import COEFFICIENT_ONE
from .dendrites import Dendrites, dendrite_sums
from .spec import Preset, load_preset

BATCH = 1000


def degenerate_preset() -> Preset:
    """Preset tiny-dyn with the dendrites of SDT."""
    return load_preset("tiny-dyn").replace(
        network__qkv="binary", network__dendrites=1, network__dilations=()
    )


def degenerate_spikes(preset: Preset, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Spikes (T, B, N, D) of Q, K and V of shape (T, B, H, N, d)."""
    channels = preset.network.channels
    one = torch.full((channels, 1), COEFFICIENT_ONE)
    a = torch.zeros(channels, 1, 3, dtype=one.dtype)
    a[:, :, 1] = COEFFICIENT_ONE
    joined = (x.transpose(2, 3).flatten(3) for x in (key, value))
    none = torch.zeros(channels, 0, 3, 3)
    parts = Dendrites(a, one, one)
    sums = dendrite_sums(*joined, parts, none, preset.quant, (), preset.grid, all_tokens=True)
    return attention_spikes(preset, sums, query)


def compare_with_sdt(inputs: int, seed: int = 1) -> dict[str, float]:
    """Compare random inputs.

    Returns
    -------
    dict
        ``attention.sdt_inputs``, ``attention.sdt_mismatches`` (inputs with any other spike) and
        ``attention.sdt_firing`` (share of spikes, to see that the comparison is one).
    """
    preset = degenerate_preset()
    net = preset.network
    torch.manual_seed(seed)
    model = SpikeDrivenTransformer(
        T=net.time_steps, embed_dims=net.channels, num_heads=net.heads, depths=1
    )
    attention = model.blocks[0].attn.eval()
    for name in ("q", "k", "v"):
        # Without training its neurons would stay silent.
        norm = getattr(attention, f"{name}_bn")
        norm.weight.data.uniform_(2.0, 8.0)
        norm.bias.data.uniform_(-0.5, 1.5)
    seen: dict[str, Tensor] = {}
    for name in ("q", "k", "v"):
        layer = getattr(attention, f"{name}_lif")
        layer.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
    attention.proj_conv.register_forward_hook(lambda _, given, __: seen.update(out=given[0]))
    wrong = spikes = 0
    with torch.no_grad():
        for start in tqdm(range(0, inputs, BATCH), desc="SDT", unit="batch"):
            count = min(BATCH, inputs - start)
            functional.reset_net(attention)
            # A spread of its own for each input, so that some fire rarely and some often.
            x = torch.randn(net.time_steps, count, net.channels, *preset.grid)
            attention(x * torch.rand(count, 1, 1, 1) * 4)
            query, key, value = (_heads(seen[name], net.heads) for name in ("q", "k", "v"))
            got = degenerate_spikes(preset, query, key, value)
            want = seen["out"].flatten(3).transpose(2, 3)
            wrong += int((got != want).flatten(2).any(2).any(0).sum())
            spikes += int(got.sum())
    places = inputs * net.time_steps * net.channels * preset.tokens
    return {
        "attention.sdt_inputs": inputs,
        "attention.sdt_mismatches": wrong,
        "attention.sdt_firing": spikes / places,
    }


def _heads(x: Tensor, heads: int) -> Tensor:
    """(T, B, D, height, width) to integers (T, B, H, N, d)."""
    return x.flatten(3).unflatten(2, (heads, -1)).transpose(3, 4).to(torch.int32)
