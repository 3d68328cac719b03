"""The spiking transformer for training, in the form of the paper's equations 14 to 17.

Residuals live in the membrane domain. Channels of a Q, K, V projection are ordered head by head,
``K_h, V_h, Q_h`` for each head h, which is the order the hardware makes and consumes them in.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from . import surrogate
from .attention_kinds import join_heads
from .attention_layers import ATTENTIONS
from .expert_layers import imbalance, route
from .experts import kept_heads
from .spec import PIXEL_BITS, Preset
from .synapse import Synapse


class SpikingTransformer(nn.Module):
    """Spiking transformer with the preset's kind of attention.

    Parameters
    ----------
    preset : shape and formats

    Members
    -------
    activity : after a forward pass, share of non-zero bundles of each spiking tensor that feeds a
        synaptic layer or chooses experts, as differentiable scalars
    balance : likewise the load-balancing loss of each block with experts
    """

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.preset = preset
        net, quant = preset.network, preset.quant
        formats = {
            "weight_bits": quant.weight_bits,
            "frac_bits": quant.frac_bits,
            "bias_bits": quant.bias_bits,
        }
        widths = [preset.data.channels, *(stage.channels for stage in net.stages)]
        self.stages = nn.ModuleList(
            Synapse(a, b, kernel=3, stride=stage.stride, pixels=index == 0, **formats)
            for index, ((a, b), stage) in enumerate(zip(pairwise(widths), net.stages, strict=True))
        )
        dim, hidden = net.channels, net.channels * net.mlp_ratio
        self.position = Synapse(dim, dim, kernel=3, **formats)
        self.blocks = nn.ModuleList()
        for _ in range(net.blocks):
            block = nn.ModuleDict({"qkv": Synapse(dim, 3 * dim, **formats)})
            block["attention"] = ATTENTIONS[net.attention](preset)
            if net.projection:
                block["projection"] = Synapse(dim, dim, **formats)
            if net.moe is None:
                block["fc1"] = Synapse(dim, hidden, **formats)
                block["fc2"] = Synapse(hidden, dim, **formats)
            else:
                count, own = net.moe.experts, net.moe.hidden
                block["router"] = Synapse(dim, count, **formats)
                block["fc1"] = Synapse(dim, count * own, **formats)
                block["fc2"] = Synapse(own, count * dim, experts=count, **formats)
            self.blocks.append(block)
        self.head = Synapse(dim, preset.data.classes, norm=False, tokens=preset.tokens, **formats)
        self.activity: list[Tensor] = []
        self.balance: list[Tensor] = []

    def synapses(self) -> dict[str, Synapse]:
        """Every synaptic layer by the name its checkpoint and schedule use."""
        found = {f"stage{i}": layer for i, layer in enumerate(self.stages)}
        found["position"] = self.position
        for index, block in enumerate(self.blocks):
            found |= {
                f"block{index}.{name}": layer
                for name, layer in block.items()
                if isinstance(layer, Synapse)
            }
        return found | {"head": self.head}

    def coefficients(self) -> dict[str, Tensor]:
        """The attentions' own integers, by the names that checkpoints use."""
        return {
            f"block{index}.attention.{name}": values
            for index, block in enumerate(self.blocks)
            for name, values in block["attention"].coefficients().items()
        }

    def fold(self) -> None:
        """Fold batch norm everywhere; from now on the network computes with its integers."""
        for layer in self.synapses().values():
            layer.fold()

    def forward(self, pixels: Tensor) -> Tensor:
        """Classify images.

        Parameters
        ----------
        pixels : unsigned 8-bit values as floats, shape (B, channels, height, width)

        Returns
        -------
        Tensor
            Logits, the mean over tokens and time steps, shape (B, classes).
        """
        self.activity, self.balance = [], []
        net = self.preset.network
        steps = net.time_steps
        x = (pixels / 2**PIXEL_BITS).to(memory_format=torch.channels_last)
        x = self.stages[0](x)
        x = x.expand(steps, *x.shape)
        for layer, stage in zip(self.stages[1:], net.stages, strict=False):
            spikes = self._watch(self._fire(x))
            if stage.pool:
                spikes = _each_step(nn.functional.max_pool2d, spikes, 2)
            x = _each_step(layer, spikes)
        x = x + _each_step(self.position, self._watch(self._fire(x)))
        x = x.permute(0, 1, 3, 4, 2).flatten(2, 3)
        spikes = self._watch(self._fire(x))
        for block in self.blocks:
            attended = self._attend(block["attention"], self._rows(block["qkv"], spikes))
            if "projection" in block:
                attended = self._rows(block["projection"], self._watch(attended))
            x = x + attended
            feed = self._mlp if net.moe is None else self._experts
            x = x + feed(block, self._watch(self._fire(x)))
            spikes = self._watch(self._fire(x))
        return self.head(spikes.mean(dim=(0, 2)))

    def _mlp(self, block: nn.ModuleDict, spikes: Tensor) -> Tensor:
        """Sums of the block's second linear layer, shape (T, B, N, D)."""
        return self._rows(block["fc2"], self._watch(self._fire(self._rows(block["fc1"], spikes))))

    def _experts(self, block: nn.ModuleDict, spikes: Tensor) -> Tensor:
        """Number of spikes that the experts of a token add, shape (T, B, N, D)."""
        moe = self.preset.network.moe
        scores = self._rows(block["router"], spikes)
        fires = self._fire(scores)
        if moe.mode == "semm":
            self._watch(fires)
        routed = route(moe, scores, fires)
        self.balance.append(imbalance(scores, routed))
        works = routed.detach().amax(0).repeat_interleave(moe.hidden, dim=-1)
        hidden = self._watch(self._fire(self._rows(block["fc1"], spikes)), works)
        added = self._fire(self._rows(block["fc2"], hidden)).unflatten(3, (moe.experts, -1))
        return (added * routed.unsqueeze(4)).sum(3)

    def _attend(self, attention: nn.Module, qkv: Tensor) -> Tensor:
        """Spikes of the attention, heads side by side; tensors of shape (T, B, N, D)."""
        net, preset = self.preset.network, self.preset
        steps, batch, tokens, _ = qkv.shape
        qkv = qkv.view(steps, batch, tokens, net.heads, 3, net.head_channels)
        key, value, query = (part.transpose(2, 3) for part in qkv.unbind(4))
        query = self._fire(query)
        if preset.hybrid:
            key = surrogate.relu_clip(key, preset.key_frac_bits, preset.key_bits)
            value = self._fire(value, ternary=True)
        else:
            key, value = self._fire(key), self._fire(value)
        read = None
        if preset.prunes_heads:
            # The Q of other heads is never read, so its spikes are not what training should save.
            kept = kept_heads(query.detach(), preset.kept_heads)[:, :, None, None]
            read = kept.expand_as(query[0])
            key, value, query = key * kept, value * kept, query * kept
        self._watch(query, read)
        spikes = self._fire(attention(query, key, value, self.head.folded))
        return spikes * join_heads(query) if net.attention == "lrf-dyn" else spikes

    def _fire(self, x: Tensor, ternary: bool = False) -> Tensor:
        neuron = self.preset.network.neuron
        return surrogate.lif(x, neuron.threshold, neuron.decay_shift, neuron.reset, ternary)

    def _watch(self, spikes: Tensor, read: Tensor | None = None) -> Tensor:
        """Note the share of non-zero bundles, of those that are ``read`` (1, else 0) if given."""
        bundles = 1 - (1 - spikes).prod(dim=0)
        share = bundles.mean() if read is None else (bundles * read).sum() / read.sum().clamp(min=1)
        self.activity.append(share)
        return spikes

    @staticmethod
    def _rows(layer: Synapse, x: Tensor) -> Tensor:
        return layer(x.flatten(0, -2)).unflatten(0, x.shape[:-1])


def _each_step(function, x: Tensor, *args) -> Tensor:
    """Apply a function of images to every time step of (T, B, C, height, width)."""
    return function(x.flatten(0, 1), *args).unflatten(0, x.shape[:2])
