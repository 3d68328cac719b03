"""What the host can reach: memories to load, and words to read."""

from amaranth.lib import data

from golden.ranges import Widths
from golden.schedule import MemoryMap, network_layers
from golden.spec import PIXEL_BITS, Preset, SpecError

from .attention_kinds import coefficient_shapes
from .frames import DEFAULT_MAX_PAYLOAD, LOAD_HEADER, MAX_LENGTH, MAX_ROWS, Space
from .logits import LOGIT_BITS
from .sequencer import COUNTER_BITS
from .weight_fetch import SHIFT_BITS
from .work_counters import work_names

WEIGHTS, BIASES, FORMATS, IMAGE = range(4)
LOGITS, COUNTERS, WORK = range(3)


def format_layout(widths: Widths) -> data.StructLayout:
    """A layer's row of the format storage: shift of its weights, and V_th in its unit."""
    return data.StructLayout({"align": SHIFT_BITS, "threshold": widths.threshold})


def write_spaces(preset: Preset, widths: Widths) -> tuple[Space, ...]:
    """Weights, biases, formats and image, then the attention's coefficients if it has any.

    Rows of weights, biases and coefficients are those of all tiles, side by side, the first tile's
    lowest.

    Raises
    ------
    SpecError
        If a space has more rows than a frame can address.
    """
    shapes = coefficient_shapes(preset).items()
    where, engine, quant = MemoryMap(preset), preset.engine, preset.quant
    known = (
        ("weights", where.weight_rows, engine.all_lanes * quant.weight_bits),
        ("biases", where.bias_rows, engine.tiles * engine.neuron_lanes * quant.bias_bits),
        ("formats", len(where.layers), format_layout(widths).size),
        ("image", where.image_rows, PIXEL_BITS),
        *((name, rows, engine.tiles * bits) for name, (rows, bits) in shapes),
    )
    for name, rows, _ in known:
        if rows > MAX_ROWS:
            raise SpecError(
                f"preset {preset.name}: space {name} has {rows} rows: must be at most {MAX_ROWS}"
            )
    return tuple(Space(*each) for each in known)


def max_payload(preset: Preset, widths: Widths, wanted: int = DEFAULT_MAX_PAYLOAD) -> int:
    """Longest payload of a request: the one wanted, or what a row of some space needs if longer.

    Hardware and host both have it from here, so that every row fits a frame.

    Raises
    ------
    SpecError
        If a row fits no frame at all.
    """
    widest = max(write_spaces(preset, widths), key=lambda space: space.row_bytes)
    needed = LOAD_HEADER + widest.row_bytes
    if needed > MAX_LENGTH:
        # Only weights of LRF-SSA's local branch get there: their rows are whole heads.
        raise SpecError(
            f"preset {preset.name}: a row of space {widest.name} has {widest.row_bytes} bytes:"
            f" must be at most {MAX_LENGTH - LOAD_HEADER}, what a frame holds; take more"
            " network.heads or fewer engine.tiles"
        )
    return max(wanted, needed)


def logit_words(preset: Preset) -> int:
    """Words of the logit storage: the classes, filled up to whole output groups."""
    lanes = preset.engine.all_lanes
    return network_layers(preset)[-1].groups(lanes) * lanes


def read_spaces(preset: Preset) -> tuple[Space, ...]:
    """Logits and, where the preset has them, counters.

    Cycles and stalls of each layer; then, of several tiles or experts, the words of
    :func:`hw.work_counters.work_names`.
    """
    spaces = [Space("logits", logit_words(preset), LOGIT_BITS)]
    if preset.engine.counters:
        spaces.append(Space("counters", 2 * len(network_layers(preset)), COUNTER_BITS))
    if names := work_names(preset):
        spaces.append(Space("work", len(names), COUNTER_BITS))
    return tuple(spaces)
