"""The whole network once more, in loops over numpy integers and from the equations alone.

Nothing here comes from the code under test but the checkpoint's arrays and the preset's numbers.
"""

import numpy as np

from tests import plain_attention


def convolve(x: np.ndarray, weight: np.ndarray, stride: int) -> np.ndarray:
    """3x3, padding 1: (C, H, W) and (O, C, 3, 3) to (O, H', W'), tap by tap."""
    _, height, width = x.shape
    rows, columns = (height - 1) // stride + 1, (width - 1) // stride + 1
    out = np.zeros((len(weight), rows, columns), np.int64)
    for row in range(rows):
        for column in range(columns):
            for a in range(3):
                for b in range(3):
                    y, z = row * stride + a - 1, column * stride + b - 1
                    if 0 <= y < height and 0 <= z < width:
                        out[:, row, column] += weight[:, :, a, b] @ x[:, y, z]
    return out


def fire(x: np.ndarray, level: int, neuron, *, ternary: bool = False) -> np.ndarray:
    """Spikes of (T, ...) integers, membranes in units of 2**-(T-1)."""
    unit = 2 ** (len(x) - 1)
    held, spikes = np.zeros_like(x[0]), []
    for now in x:
        u = held + now * unit
        s = np.where(u >= level * unit, 1, 0)
        if ternary:
            s = np.where(u <= -level * unit, -1, s)
        spikes.append(s)
        rest = np.where(s != 0, 0, u) if neuron.reset == "hard" else u - s * level * unit
        held = rest - rest // 2**neuron.decay_shift
    return np.array(spikes)


def pool(spikes: np.ndarray) -> np.ndarray:
    """OR of 2x2 of (T, C, H, W)."""
    return (
        spikes[..., ::2, ::2]
        | spikes[..., 1::2, ::2]
        | spikes[..., ::2, 1::2]
        | (spikes[..., 1::2, 1::2])
    )


class PlainNetwork:
    """Runs one image and keeps sums, potentials and spikes by layer name, (T, C, H, W) each."""

    def __init__(self, checkpoint) -> None:
        self.preset, self.scales = checkpoint.preset, checkpoint.scales
        self.weights = {k: v.astype(np.int64) for k, v in checkpoint.weights.items()}
        self.coefficients = checkpoint.coefficients
        self.biases = {k: v.astype(np.int64) for k, v in checkpoint.biases.items()}
        # K, V and Q of each block, (T, H, d, N).
        self.parts: dict[str, tuple[np.ndarray, ...]] = {}
        self.sums: dict[str, np.ndarray] = {}
        self.potentials: dict[str, np.ndarray] = {}
        self.spikes: dict[str, np.ndarray] = {}

    def run(self, image: np.ndarray) -> np.ndarray:
        """Logits of one image (C, H, W)."""
        net, steps = self.preset.network, self.preset.network.time_steps
        fraction = self.preset.quant.frac_bits
        level = int(net.neuron.threshold * 2**fraction)
        first = convolve(image.astype(np.int64), self.weights["stage0"], net.stages[0].stride)
        first = first + self.biases["stage0"][:, None, None]
        self.sums["stage0"] = x = np.array([first] * steps)
        now_level = int(net.neuron.threshold * 2 ** (self.scales["stage0"] + 8))
        for index, stage in enumerate(net.stages[1:], 1):
            spikes = fire(x, now_level, net.neuron)
            if net.stages[index - 1].pool:
                spikes = pool(spikes)
            self.spikes[f"stage{index - 1}"] = spikes
            x = self.layer(f"stage{index}", spikes, stage.stride)
            now_level = level
        spikes = self.keep(f"stage{len(net.stages) - 1}", x, level)
        x = x + self.layer("position", spikes)
        spikes = self.keep("position", x, level)
        for block in range(net.blocks):
            name = f"block{block}"
            attended = self.attend(name, self.layer(f"{name}.qkv", spikes), level)
            if net.projection:
                self.spikes[f"{name}.attention"] = attended
                x = x + self.layer(f"{name}.projection", attended)
                spikes = self.keep(f"{name}.projection", x, level)
            else:
                x = x + attended * 2**fraction
                spikes = self.keep(f"{name}.attention", x, level)
            hidden = fire(self.layer(f"{name}.fc1", spikes), level, net.neuron)
            self.spikes[f"{name}.fc1"] = hidden
            x = x + self.layer(f"{name}.fc2", hidden)
            spikes = self.keep(f"{name}.fc2", x, level)
        logits = np.zeros(len(self.biases["head"]), np.int64)
        for step in spikes:
            for token in step.reshape(net.channels, -1).T:
                logits += self.weights["head"] @ token
            logits += self.biases["head"]
        return logits

    def keep(self, name: str, x: np.ndarray, level: int) -> np.ndarray:
        """Note a potential of the residual stream; its spikes."""
        self.potentials[name] = x
        self.spikes[name] = fire(x, level, self.preset.network.neuron)
        return self.spikes[name]

    def layer(self, name: str, spikes: np.ndarray, stride: int = 1) -> np.ndarray:
        """Sums of a layer in units of 2**-F."""
        weight = self.weights[name] * 2 ** (self.preset.quant.frac_bits - self.scales[name])
        if weight.ndim == 4:
            sums = np.array([convolve(step, weight, stride) for step in spikes])
        else:
            sums = np.einsum("oc,tchw->tohw", weight, spikes)
        self.sums[name] = sums + self.biases[name][:, None, None]
        return self.sums[name]

    def attend(self, name: str, sums: np.ndarray, level: int) -> np.ndarray:
        """Spikes of attention, head by head and kind by kind."""
        net, quant = self.preset.network, self.preset.quant
        kind, binary = net.attention, net.qkv == "binary" or net.attention == "ssa"
        width = net.channels // net.heads
        steps, _, height, breadth = sums.shape
        flat = sums.reshape(steps, net.heads, 3, width, height * breadth)
        k, v, q = flat[:, :, 0], flat[:, :, 1], fire(flat[:, :, 2], level, net.neuron)
        if binary:
            k, v = fire(k, level, net.neuron), fire(v, level, net.neuron)
        else:
            k = np.clip(k // 2 ** (quant.frac_bits - quant.key_frac_bits), 0, None)
            k = np.minimum(k, 2**quant.key_bits - 1)
            v = fire(v, level, net.neuron, ternary=True)
        self.parts[name] = k, v, q
        own = {
            key.rpartition(".")[2]: tensor.astype(np.int64)
            for key, tensor in self.coefficients.items()
            if key.startswith(f"{name}.")
        }
        grid = (height, breadth)
        unit = net.attention_scale_shift + (0 if binary else quant.key_frac_bits)
        if kind == "causal":
            out = plain_attention.causal(q, k, v, net.causal_decay_shift)
        elif kind == "lrf-dyn":
            out = plain_attention.dendrites(k, v, own, net, quant, grid)
            unit += quant.read_frac_bits
        else:
            out = np.einsum("thcn,thcm,thdm->thdn", q, k, v)
            if kind == "lrf-ssa":
                near = v.reshape(steps, net.channels, *grid)
                near = plain_attention.neighbours(near, own["local"], net)
                out = out * 2**quant.local_frac_bits + near.reshape(out.shape)
                unit += quant.local_frac_bits
        shape = (steps, net.channels, *grid)
        self.sums[f"{name}.attention"] = out.reshape(shape)
        spikes = fire(out, int(net.neuron.threshold * 2**unit), net.neuron)
        if kind == "lrf-dyn":
            spikes = spikes * q
        return spikes.reshape(shape)
