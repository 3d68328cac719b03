"""Operation counts and the event bound, counted once more one event at a time."""

import math

import numpy as np
import pytest

from golden.counts import bundle_density, count_layers, energy_pj, event_bound
from golden.integer import IntegerModel
from tests.plain_network import PlainNetwork
from tests.small_networks import LOCAL_NETWORKS, random_checkpoint, random_images, small_preset

IMAGES = 2
CASES = {
    "a2os2a": {},
    "strides, odd grid, T 2": {
        "data__height": 7,
        "data__width": 6,
        "network__stages": [{"channels": 8, "stride": 2}, {"channels": 8, "stride": 1}],
        "network__time_steps": 2,
    },
    "ssa, projection": {
        "network__attention": "ssa",
        "network__attention_scale_shift": 3,
        "network__projection": True,
    },
    "lrf-ssa": LOCAL_NETWORKS["lrf-ssa"],
    "lrf-ssa, masked": LOCAL_NETWORKS["lrf-ssa, binary, masked, projection"],
    "causal, decay": LOCAL_NETWORKS["causal, decay, binary"],
    "lrf-dyn": LOCAL_NETWORKS["lrf-dyn, masked, wide grid"],
}


def walk(inputs, kernel: int, stride: int, out_grid) -> tuple[int, int]:
    """Visits and set spikes of (steps, C, H, W), output position by output position."""
    steps, channels, height, width = inputs.shape
    visits = on = 0
    for row in range(out_grid[0]):
        for column in range(out_grid[1]):
            for a in range(kernel):
                for b in range(kernel):
                    y, x = row * stride + a - kernel // 2, column * stride + b - kernel // 2
                    if not (0 <= y < height and 0 <= x < width):
                        continue
                    for channel in range(channels):
                        bundle = [int(inputs[t, channel, y, x]) for t in range(steps)]
                        visits += any(bundle)
                        on += sum(bundle)
    return visits, on


def readers(preset) -> list[tuple[str, str]]:
    """Each synaptic layer behind the first, and the layer whose spikes it reads."""
    net = preset.network
    pairs = [(f"stage{i}", f"stage{i - 1}") for i in range(1, len(net.stages))]
    last = f"stage{len(net.stages) - 1}"
    pairs.append(("position", last))
    last = "position"
    for block in range(net.blocks):
        name = f"block{block}"
        pairs.append((f"{name}.qkv", last))
        last = f"{name}.attention"
        if net.projection:
            pairs.append((f"{name}.projection", last))
            last = f"{name}.projection"
        pairs += [(f"{name}.fc1", last), (f"{name}.fc2", f"{name}.fc1")]
        last = f"{name}.fc2"
    return [*pairs, ("head", last)]


def attention_events(plain: PlainNetwork, name: str) -> np.ndarray:
    """Events, additions with a non-zero operand, and those without one in what was visited."""
    preset, (k, v, q) = plain.preset, plain.parts[name]
    net, width = preset.network, preset.network.head_channels
    if net.attention == "lrf-dyn":
        return dendrite_events(plain, name)
    events = on = 0
    for step, head, token in np.ndindex(net.time_steps, net.heads, preset.tokens):
        for channel in range(width):
            if k[step, head, channel, token]:
                events += 1
                on += sum(int(x != 0) for x in v[step, head, :, token])
            if q[step, head, channel, token]:
                events += 1
                on += width
    off = events * width - on
    if net.attention == "causal" and net.causal_decay_shift:
        on += net.time_steps * net.heads * preset.tokens * width * width
    if net.attention == "lrf-ssa":
        for _, near in neighbours(preset):
            spikes = v[:, :, :, near] != 0
            on += int(spikes.sum())
            off += int(spikes.any(0).sum()) * net.time_steps - int(spikes.sum())
    return np.array([events, on, off])


def neighbours(preset):
    """Every token and tap (kernel, row, column) with the token that the tap meets."""
    net, (height, width) = preset.network, preset.grid
    for token in range(preset.tokens):
        for kernel, dilation in enumerate(net.dilations):
            for row, column in np.ndindex(3, 3):
                y = token // width + dilation * (row - 1)
                x = token % width + dilation * (column - 1)
                later = net.local_causal and y * width + x > token
                again = kernel and (row, column) == (1, 1)
                if 0 <= y < height and 0 <= x < width and not later and not again:
                    yield (kernel, row, column), y * width + x


def dendrite_events(plain: PlainNetwork, name: str) -> np.ndarray:
    preset, (k, v, _) = plain.preset, plain.parts[name]
    net = preset.network
    tokens = (k * v).reshape(net.time_steps, net.channels, preset.tokens) != 0

    def terms(part: str) -> np.ndarray:
        sizes = np.abs(plain.coefficients[f"{name}.attention.{part}"].astype(int))
        return np.where(sizes == 0, 0, np.where(sizes & (sizes - 1), 2, 1))

    gamma = terms("gamma").sum(1)[None, :, None]
    on = (terms("a").sum() + terms("c").sum()) * net.time_steps * preset.tokens
    on += (tokens * gamma).sum()
    local = terms("local")
    on += sum(local[:, *tap].sum() for tap, _ in neighbours(preset)) * net.time_steps
    events = preset.tokens * net.channels * net.dendrites
    return np.array([events, on, (~tokens * gamma).sum()])


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_against_brute_force(changes):
    preset = small_preset(**changes)
    lanes, steps = preset.engine.lanes, preset.network.time_steps
    checkpoint = random_checkpoint(preset, seed=7)
    images = random_images(preset, IMAGES, seed=1)
    model = IntegerModel(checkpoint)
    counts = count_layers(model.run(images), preset)
    layers = {x.name: x for x in model.layers}
    assert list(counts) == list(layers)
    totals = {name: [0, 0] for name in layers}
    gated = dict.fromkeys(layers, 0)
    filled = {name: [0, 0] for name in layers}
    for image in images:
        plain = PlainNetwork(checkpoint)
        plain.run(image)
        bits = (image.astype(int)[None] >> [[[[b]]] for b in range(8)]) & 1
        first = layers["stage0"]
        for bit in bits:
            found = walk(bit[None], 3, first.stride, first.out_grid)
            totals["stage0"] = [a + b for a, b in zip(totals["stage0"], found, strict=True)]
        for name, source in readers(preset):
            layer, spikes = layers[name], plain.spikes[source]
            grid = layer.in_grid if name == "head" else layer.out_grid
            found = walk(spikes, layer.kernel, layer.stride, grid)
            totals[name] = [a + b for a, b in zip(totals[name], found, strict=True)]
            filled[name][0] += int(spikes.any(0).sum())
            filled[name][1] += spikes[0].size
        for block in range(preset.network.blocks):
            name = f"block{block}.attention"
            *found, off = attention_events(plain, f"block{block}")
            gated[name] += off
            totals[name] = [a + b for a, b in zip(totals[name], found, strict=True)]
    for name, (visits, on) in totals.items():
        got, layer = counts[name], layers[name]
        assert visits > 0, f"no test: nothing happens in {name}"
        assert (got.images, got.visits) == (IMAGES, visits), name
        if layer.kind == "attention":
            assert (got.adds_on, got.weight_rows) == (on, 0), name
            assert got.adds_off == gated[name], name
            at_once = preset.engine.neuron_lanes if preset.network.attention == "lrf-dyn" else 1
            assert got.bound_cycles == visits / IMAGES / at_once, name
            continue
        times = 1 if layer.kind == "pixels" else steps
        assert got.adds_on == on * layer.outputs, name
        assert got.adds_on + got.adds_off == visits * times * layer.outputs, name
        assert got.weight_rows == visits * math.ceil(layer.outputs / lanes), name
        assert got.bound_cycles == visits * layer.outputs / lanes / IMAGES, name
        if layer.kind == "pixels":
            assert math.isnan(got.density)
        else:
            assert got.density == filled[name][0] / filled[name][1], name
    shares = [a / b for a, b in filled.values() if b]
    assert bundle_density(counts) == pytest.approx(sum(shares) / len(shares))
    assert event_bound(counts) == pytest.approx(sum(c.bound_cycles for c in counts.values()))


def test_dense_work_and_energy():
    """Multiply-accumulates of the small network, worked out by hand."""
    preset = small_preset()
    model = IntegerModel(random_checkpoint(preset))
    counts = count_layers(model.run(random_images(preset, 3)), preset)
    by_hand = {
        "stage0": 64 * 9 * 8,
        "stage1": 16 * 9 * 8 * 16,
        "position": 16 * 9 * 16 * 16,
        "block0.qkv": 16 * 16 * 48,
        "block0.attention": 2 * 16 * 16 * 16,
        "block0.fc1": 16 * 16 * 32,
        "block0.fc2": 16 * 32 * 16,
        "head": 16 * 16 * 10,
    }
    assert {name: c.dense_macs / 3 for name, c in counts.items()} == by_hand
    energy = energy_pj(counts)
    assert energy["dense"] == pytest.approx(4.6 * sum(by_hand.values()))
    assert energy["spiking"] == pytest.approx(0.9 * sum(c.adds_on for c in counts.values()) / 3)
