"""The kinds of attention once more, in loops over tokens, channels and taps, in numpy integers."""

import numpy as np


def neighbours(field: np.ndarray, weights: np.ndarray, net) -> np.ndarray:
    """Local branch: (T, D, H, W) and weights (D, kernels, 3, 3) to (T, D, H, W)."""
    _, _, height, width = field.shape
    out = np.zeros_like(field)
    for y in range(height):
        for x in range(width):
            for kernel, dilation in enumerate(net.dilations):
                for i in (-1, 0, 1):
                    for j in (-1, 0, 1):
                        v, u = y + dilation * i, x + dilation * j
                        later = v * width + u > y * width + x
                        inside = 0 <= v < height and 0 <= u < width
                        if inside and not (net.local_causal and later):
                            weight = weights[:, kernel, i + 1, j + 1]
                            out[:, :, y, x] += weight * field[:, :, v, u]
    return out


def causal(q: np.ndarray, k: np.ndarray, v: np.ndarray, shift: int) -> np.ndarray:
    """Q, K, V of (T, H, d, N): a state a head, charged and read token by token."""
    steps, heads, width, tokens = q.shape
    out = np.zeros_like(q)
    for t in range(steps):
        for h in range(heads):
            state = np.zeros((width, width), np.int64)
            for n in range(tokens):
                if shift:
                    state = state - state // 2**shift
                state = state + np.outer(k[t, h, :, n], v[t, h, :, n])
                out[t, h, :, n] = q[t, h, :, n] @ state
    return out


def dendrites(k: np.ndarray, v: np.ndarray, own: dict, net, quant, grid) -> np.ndarray:
    """K and V of (T, H, d, N): read-outs of every channel and their neighbours."""
    steps, tokens = len(k), k.shape[-1]
    charge = (k * v).reshape(steps, net.channels, tokens)
    y = np.zeros_like(charge)
    low, high = -(2 ** (quant.state_bits - 1)), 2 ** (quant.state_bits - 1) - 1
    matrix = np.zeros((net.channels, net.dendrites, net.dendrites), np.int64)
    for j in range(net.dendrites):
        for side in (-1, 0, 1):
            if 0 <= j + side < net.dendrites:
                matrix[:, j, j + side] = own["a"][:, j, side + 1]
    for t in range(steps):
        x = np.zeros((net.channels, net.dendrites), np.int64)
        for n in range(tokens):
            token = charge[t, :, n] * 2**quant.state_frac_bits
            x = np.einsum("cij,cj->ci", matrix, x) + own["gamma"] * token[:, None]
            x = np.clip(x // 2**7, low, high)
            y[t, :, n] = (own["c"] * x).sum(1)
    y = y // 2 ** (7 + quant.state_frac_bits - quant.read_frac_bits)
    y = np.clip(y, -(2 ** (quant.read_bits - 1)), 2 ** (quant.read_bits - 1) - 1)
    if net.dilations:
        near = neighbours(y.reshape(steps, net.channels, *grid), own["local"], net)
        y = y + near.reshape(y.shape) // 2**7
    return y.reshape(k.shape)
