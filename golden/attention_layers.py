"""The kinds of attention for training, parallel over tokens.

Each takes Q, K and V in real units, shape (T, B, H, N, d), and gives the input of its neurons,
(T, B, N, D). As in the synapses, coefficients are real at first; in a folded network values are
those of the exported integers, with straight-through gradients.
"""

import torch
from torch import Tensor, nn

from .attention_kinds import attention_sums, join_heads
from .coefficients import COEFFICIENT_ONE, coefficient_values
from .local_taps import KERNEL, local_taps
from .spec import Preset
from .synapse import round_through


class Attention(nn.Module):
    """``Q K^T V``, scaled; the base of the other kinds.

    Parameters
    ----------
    preset : kind, shapes and formats
    """

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.preset = preset

    def forward(self, query: Tensor, key: Tensor, value: Tensor, folded: bool) -> Tensor:
        """Input of the neurons, (T, B, N, D); with the exported integers if ``folded``."""
        result = query @ (key.transpose(-2, -1) @ value)
        return join_heads(result) * 2.0**-self.preset.network.attention_scale_shift

    def coefficients(self) -> dict[str, Tensor]:
        """Integers to export, by the last part of their name."""
        return {}

    @torch.compiler.disable
    @torch.no_grad()
    def _integers(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Input of the neurons by the integer model, in real units and without gradients."""
        preset, kind = self.preset, query.dtype
        known = {name: x.round().int() for name, x in self.coefficients().items()}
        key = key * 2.0**preset.key_frac_bits
        sums = attention_sums(preset, known, *(x.round().int() for x in (query, key, value)))
        return sums.to(kind) * 2.0**-preset.attention_frac_bits


class CausalAttention(Attention):
    """``q_n S_n`` as a product with a lower triangular matrix of powers of the decay."""

    def __init__(self, preset: Preset) -> None:
        super().__init__(preset)
        age = torch.arange(preset.tokens)[:, None] - torch.arange(preset.tokens)
        shift = preset.network.causal_decay_shift
        weight = (1.0 - 2.0**-shift if shift else 1.0) ** age.clamp(min=0)
        self.register_buffer("mask", weight * (age >= 0), persistent=False)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, folded: bool) -> Tensor:
        """Input of the neurons, (T, B, N, D); with the exported integers if ``folded``."""
        result = ((query @ key.transpose(-2, -1)) * self.mask) @ value
        result = join_heads(result) * 2.0**-self.preset.network.attention_scale_shift
        # Only a decay rounds.
        if folded and self.preset.network.causal_decay_shift:
            result = _value_of(self._integers(query, key, value), result)
        return result


class LocalAttention(Attention):
    """``Q K^T V`` and the local branch on V."""

    def __init__(self, preset: Preset) -> None:
        super().__init__(preset)
        self.branch = LocalMatrix(preset)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, folded: bool) -> Tensor:
        """Input of the neurons, (T, B, N, D); with the exported integers if ``folded``."""
        weights = self.branch.weight
        if folded:
            weights = self.coefficients()["local"] * 2.0**-self.preset.attention_frac_bits
        near = mix_tokens(self.branch(weights), join_heads(value))
        return super().forward(query, key, value, folded) + near

    def coefficients(self) -> dict[str, Tensor]:
        """Weights of the branch in the unit of the neurons' input."""
        top = 2 ** (self.preset.quant.local_bits - 1)
        unit = 2.0**self.preset.attention_frac_bits
        weights = (self.branch.weight * unit).clamp(-top, top - 1)
        return {"local": round_through(weights) * self.branch.used}


class DendriteAttention(Attention):
    """LRF-Dyn: the recursion over tokens as a convolution with its impulse response.

    ``h_j = c A^j gamma`` comes from powers of A by doubling, and with the local branch R the
    neurons' input is ``(1 + R) toeplitz(h) Token``. Decays of the dendrites start spread between
    1/2 and 1; rows of A whose sizes add up to more than 1 are scaled down to 1, so that no state
    grows without bound.
    """

    def __init__(self, preset: Preset) -> None:
        super().__init__(preset)
        channels, count, tokens = preset.network.channels, preset.network.dendrites, preset.tokens
        decays = 1.0 - 2.0 ** -(torch.arange(count) % 8 + 1.0)
        self.a = nn.Parameter(torch.zeros(channels, count, 3))
        self.a.data[:, :, 1] = decays
        self.gamma = nn.Parameter(torch.ones(channels, count))
        self.c = nn.Parameter(torch.full((channels, count), 1.0 / count))
        self.branch = LocalMatrix(preset)
        inner = torch.ones(count, 3)
        inner[0, 0] = inner[-1, 2] = 0.0
        self.register_buffer("inner", inner, persistent=False)
        age = torch.arange(tokens)[:, None] - torch.arange(tokens)
        place = (age == torch.arange(tokens)[:, None, None]).float().flatten(1)
        self.register_buffer("place", place, persistent=False)
        values = torch.from_numpy(coefficient_values()).float() / COEFFICIENT_ONE
        self.register_buffer("known", values, persistent=False)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, folded: bool) -> Tensor:
        """Input of the neurons, (T, B, N, D); with the exported integers if ``folded``."""
        a, gamma, c, local = self._real(nearest=folded)
        tokens = self.preset.tokens
        response = self._response(a, gamma, c)
        matrix = (response @ self.place.to(response)).unflatten(1, (tokens, tokens))
        if self.preset.dilations:
            matrix = matrix + self.branch(local) @ matrix
        result = mix_tokens(matrix, join_heads(key * value))
        result = result * 2.0**-self.preset.network.attention_scale_shift
        if folded:
            result = _value_of(self._integers(query, key, value), result)
        return result

    def coefficients(self) -> dict[str, Tensor]:
        """Stored coefficients, in units of ``2**-7``."""
        a, gamma, c, local = (x * COEFFICIENT_ONE for x in self._real(nearest=True))
        own = {"a": a, "gamma": gamma, "c": c}
        return own | ({"local": local} if self.preset.dilations else {})

    def _real(self, nearest: bool) -> tuple[Tensor, ...]:
        """A, Gamma, C and the local weights; ``nearest`` sums of two powers of two, or any."""
        a = self.a * self.inner
        a = a / a.abs().sum(-1, keepdim=True).clamp(min=1.0)
        parts = a, self.gamma, self.c, self.branch.weight * self.branch.used
        return tuple(self._nearest(x) for x in parts) if nearest else parts

    def _nearest(self, x: Tensor) -> Tensor:
        known = self.known.to(x)
        middles = (known[1:] + known[:-1]) / 2
        return _value_of(known[torch.bucketize(x.detach(), middles)], x)

    def _response(self, a: Tensor, gamma: Tensor, c: Tensor) -> Tensor:
        """``c A^j gamma`` for j from 0 to N - 1, shape (D, N)."""
        below, own, above = a.unbind(-1)
        power = torch.diag_embed(own)
        power = power + torch.diag_embed(below[:, 1:], -1) + torch.diag_embed(above[:, :-1], 1)
        states = gamma.unsqueeze(-1)
        while states.shape[-1] < self.preset.tokens:
            states = torch.cat([states, power @ states], -1)
            power = power @ power
        return (c.unsqueeze(1) @ states).squeeze(1)[:, : self.preset.tokens]


class LocalMatrix(nn.Module):
    """The local branch as a matrix over tokens for each channel.

    Parameters
    ----------
    preset : channels, dilations and grid

    Members
    -------
    weight : (D, kernels, 3, 3), real, 0 at first
    used : 1 where a weight is a tap of the branch
    """

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        net, (height, width) = preset.network, preset.grid
        shape = (len(preset.dilations), KERNEL, KERNEL)
        self.weight = nn.Parameter(torch.zeros(net.channels, *shape))
        used = torch.zeros(shape)
        sees = torch.zeros(*shape, preset.tokens, preset.tokens)
        for tap in local_taps(preset.dilations, causal=net.local_causal):
            place = tap.kernel, tap.row, tap.column
            used[place] = 1.0
            for row in range(max(0, -tap.down), min(height, height - tap.down)):
                for column in range(max(0, -tap.right), min(width, width - tap.right)):
                    token = row * width + column
                    sees[*place, token, token + tap.down * width + tap.right] = 1.0
        self.register_buffer("used", used, persistent=False)
        self.register_buffer("sees", sees.flatten(0, 2).flatten(1), persistent=False)

    def forward(self, weights: Tensor) -> Tensor:
        """Matrix (D, N, N) of weights (D, kernels, 3, 3)."""
        flat = weights.flatten(1) @ self.sees.to(weights)
        tokens = round(flat.shape[1] ** 0.5)
        return flat.unflatten(1, (tokens, tokens))


ATTENTIONS = {
    "a2os2a": Attention,
    "ssa": Attention,
    "lrf-ssa": LocalAttention,
    "causal": CausalAttention,
    "lrf-dyn": DendriteAttention,
}


def _value_of(value: Tensor, source: Tensor) -> Tensor:
    """``value`` to the last bit, with the gradient of ``source``."""
    return value + (source - source.detach())


def mix_tokens(matrix: Tensor, x: Tensor) -> Tensor:
    """Apply a matrix (D, N, N) for each channel to x of shape (T, B, N, D)."""
    steps, batch, _, _ = x.shape
    columns = x.permute(3, 2, 0, 1).flatten(2)
    return (matrix @ columns).unflatten(2, (steps, batch)).permute(2, 3, 1, 0)
