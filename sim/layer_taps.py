"""The taps of a layer from its definition, for comparison with the tap walk's additions."""

from collections.abc import Iterator
from itertools import product

from golden.schedule import Layer, MemoryMap
from golden.spec import Preset


def output_windows(layer: Layer) -> Iterator[list[tuple[int, int]]]:
    """Positions in the order computed: four at a time where the layer pools, else each alone."""
    height, width = layer.out_grid
    windows = [(0, 0), (0, 1), (1, 0), (1, 1)] if layer.pool else [(0, 0)]
    side = 2 if layer.pool else 1
    for y, x in product(range(0, height, side), range(0, width, side)):
        yield [(y + dy, x + dx) for dy, dx in windows]


def rows_of_taps(layer: Layer, position: tuple[int, int]) -> list[list[tuple[int, int, int]]]:
    """Rows of (number of the tap, y, x) that a position reads; taps outside are left out."""
    height, width = layer.in_grid
    if layer.kind == "head":
        return [[(0, y, x) for y, x in product(range(height), range(width))]]
    if layer.kernel == 1:
        return [[(0, *position)]]
    rows = []
    for ky in range(3):
        y = position[0] * layer.stride + ky - 1
        columns = [(3 * ky + kx, position[1] * layer.stride + kx - 1) for kx in range(3)]
        row = [(tap, y, x) for tap, x in columns if 0 <= x < width]
        if 0 <= y < height:
            rows.append(row)
    return rows


def layer_taps(layer: Layer, preset: Preset) -> tuple[list[dict], list[int]]:
    """Taps of a layer in order, and the cycle of each after ``start`` if nothing stalls."""
    where, lanes = MemoryMap(preset), preset.engine.lanes
    pixels = layer.kind == "pixels"
    entries = 1 if pixels else lanes  # input channels in a chunk
    chunks = layer.inputs // entries
    base = 0 if pixels else where.spikes_in[layer.name]
    taps, cycles, cycle = [], [], 1
    for window in output_windows(layer):
        for group, position in product(range(layer.groups(lanes)), window):
            first = where.weight_base[layer.name] + group * layer.kernel**2 * layer.inputs
            rows = rows_of_taps(layer, position)
            cycle += 1
            cycle += layer.kernel == 3 and position[0] == 0
            for row in rows:
                cycle += 1
                for (tap, y, x), chunk in product(row, range(chunks)):
                    taps.append(
                        {
                            "addr": base + (y * layer.in_grid[1] + x) * chunks + chunk,
                            "row": first + tap * layer.inputs + chunk * entries,
                            "last": 0,
                        }
                    )
                    cycles.append(cycle)
                    cycle += 1
            taps[-1]["last"] = 1
    return taps, cycles
