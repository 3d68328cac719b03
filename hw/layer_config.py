"""The schedule as the hardware reads it: one record of constants a layer."""

from dataclasses import dataclass

from amaranth.hdl import Mux, Value
from amaranth.lib import data, enum

from golden.schedule import Layer, MemoryMap
from golden.spec import Preset

from .head_map import Heads
from .residual import ResidualMode


class Sink(enum.Enum, shape=3):
    """Where the slices of a layer go: to the tile's spike memory or attention, or out of the tile.

    Attention takes Q also to rank heads. Sums leave for the logits or the router, spikes for the
    router or the counts of a merge.
    """

    SPIKES = 0
    ATTENTION = 1
    SUMS_OUT = 2
    RANK = 3
    SPIKES_OUT = 4


@dataclass(frozen=True)
class ConfigSizes:
    """Bits of a record's fields, enough for every layer of a preset.

    Members
    -------
    addr : rows of the image or spike memory; one bit more, for taps outside the border wrap
    row : rows of the weight memory
    grid : positions along one side, from -1 to one beyond the end
    taps : taps in a row
    chunks : chunks of a position
    groups : output groups of a layer
    bias : rows of the bias memory
    spikes : rows of the spike memory
    slices : slices a tile makes of a layer
    experts : whether there are experts
    """

    addr: int
    row: int
    grid: int
    taps: int
    chunks: int
    groups: int
    bias: int
    spikes: int
    slices: int
    experts: bool

    @classmethod
    def of(cls, preset: Preset) -> "ConfigSizes":
        """Sizes for the preset."""
        where = MemoryMap(preset)
        layers = [layer for layer in where.layers if layer.synaptic]
        sides = [side for layer in layers for side in (*layer.in_grid, *layer.out_grid)]
        return cls(
            addr=max(where.image_rows, where.spike_rows).bit_length() + 1,
            row=where.weight_rows.bit_length(),
            grid=max(sides).bit_length() + 2,
            taps=max(2, preset.tokens - 1).bit_length(),
            chunks=max(chunk_count(layer, preset) for layer in layers).bit_length(),
            groups=max(computed_groups(layer, preset) for layer in layers).bit_length(),
            bias=where.bias_rows.bit_length(),
            spikes=where.spike_rows.bit_length(),
            slices=max(
                max(slice_count(layer, preset), job_slices(layer, preset)) for layer in where.layers
            ).bit_length(),
            experts=preset.network.moe is not None,
        )

    def fetch_layout(self) -> data.StructLayout:
        """Fields that the fetcher reads.

        ``pixels`` reads the image instead of spikes; ``kernel3`` has 3x3 taps with padding 1, else
        ``last_tap + 1`` taps in one row; ``pool`` visits the four positions of a window for each
        output group. ``last_y, last_x`` are the last position written; ``step`` is the distance of
        written positions in input rows or columns, ``stride`` that of positions in a window;
        ``bottom, right`` the place of the first tap whose third tap lies outside. Names in
        ``_addr`` are address steps, those in ``_rows`` steps of the weight row.
        """
        return data.StructLayout(
            {
                "pixels": 1,
                "kernel3": 1,
                "pool": 1,
                "in_base": self.addr,
                "last_y": self.grid,
                "last_x": self.grid,
                "step": 3,
                "stride": 2,
                "bottom": self.grid,
                "right": self.grid,
                "stride_y_addr": self.addr,
                "stride_x_addr": self.addr,
                "step_y_addr": self.addr,
                "step_x_addr": self.addr,
                "line_addr": self.addr,
                "position_addr": self.addr,
                "last_chunk": self.chunks,
                "last_tap": self.taps,
                "last_group": self.groups,
                "weight_base": self.row,
                "group_rows": self.row,
                "line_rows": self.row,
                "tap_rows": self.row,
                "chunk_rows": self.row,
            }
        )

    def layout(self) -> data.StructLayout:
        """A whole record.

        ``attention`` takes slices from the attention core instead of the synaptic array; ``skip``
        writes them as they are, for a projection to read; ``slices`` is how many slices each tile
        makes; 0 where that depends on the routes. ``experts`` is there if there are experts.
        """
        experts = {"experts": self.experts_layout()} if self.experts else {}
        return data.StructLayout(
            {
                "fetch": self.fetch_layout(),
                "attention": 1,
                "skip": 1,
                "sink": Sink,
                "qkv": 1,
                "residual": ResidualMode,
                "bias_base": self.bias,
                "out_base": self.spikes,
                "slices": self.slices,
                **experts,
            }
        )

    def experts_layout(self) -> data.StructLayout:
        """What experts need to know of a layer.

        ``route`` is set for a router, ``merge`` for a merge; ``dispatch`` sends tokens to experts,
        and with ``own`` these read what they made in the layer before. ``expert_rows`` and
        ``expert_biases`` are weight and bias rows of an expert in its tile, ``last_slice`` the
        slices of an expert for a token, less 1.
        """
        return data.StructLayout(
            {
                "route": 1,
                "merge": 1,
                "dispatch": 1,
                "own": 1,
                "expert_rows": self.row,
                "expert_biases": self.bias,
                "last_slice": self.slices,
            }
        )


def heads_mode(config: data.View) -> Value:
    """:class:`hw.head_map.Heads` of a layer, where heads are pruned."""
    return Mux(config.sink == Sink.RANK, Heads.QUERIES, Mux(config.qkv, Heads.KEPT, Heads.ALL))


def chunk_lanes(layer: Layer, preset: Preset) -> int:
    """Input channels of a chunk: of a row of all tiles, or of the tile whose experts made them."""
    if layer.kind == "pixels":
        return 1
    return preset.engine.lanes if layer.own else preset.engine.all_lanes


def chunk_count(layer: Layer, preset: Preset) -> int:
    """Chunks that hold a position's input."""
    return -(-layer.inputs // chunk_lanes(layer, preset))


def job_slices(layer: Layer, preset: Preset) -> int:
    """Slices that an expert makes of a layer for a token; 0 for other layers."""
    if layer.kind != "expert":
        return 0
    return layer.expert_outputs // preset.engine.neuron_lanes


def computed_groups(layer: Layer, preset: Preset) -> int:
    """Output groups of a position, without those of pruned heads.

    Of one expert, which has its tile to itself, where it serves the position's token.
    """
    if layer.kind == "expert":
        return -(-layer.expert_outputs // preset.engine.lanes)
    groups = layer.groups(preset.engine.all_lanes)
    return groups * preset.kept_heads // preset.network.heads if layer.neuron == "qkv" else groups


def slice_count(layer: Layer, preset: Preset) -> int:
    """Slices of ``neuron_lanes`` channels that each tile makes of a layer for an image.

    0 for experts, for that depends on the routes.
    """
    engine = preset.engine
    if not layer.synaptic:
        return layer.positions * (layer.outputs // (engine.tiles * engine.neuron_lanes))
    if layer.kind == "expert":
        return 0
    per_group = engine.lanes // engine.neuron_lanes
    return layer.positions * computed_groups(layer, preset) * per_group


def layer_records(preset: Preset) -> list[dict]:
    """Initialisers of the records of :meth:`ConfigSizes.layout`, one a layer, in order."""
    where, sizes = MemoryMap(preset), ConfigSizes.of(preset)
    return [_record(layer, preset, where, sizes) for layer in where.layers]


def _record(layer: Layer, preset: Preset, where: MemoryMap, sizes: ConfigSizes) -> dict:
    sinks = {
        "binary": Sink.SPIKES if layer.writes_spikes else Sink.SPIKES_OUT,
        "qkv": Sink.ATTENTION,
        "query": Sink.RANK,
        "none": Sink.SUMS_OUT,
    }
    attention = layer.kind == "attention"
    record = {
        "attention": attention,
        "skip": attention and preset.network.projection,
        "sink": sinks[layer.neuron],
        "qkv": layer.neuron == "qkv",
        "residual": ResidualMode[layer.residual.upper()],
        "bias_base": where.bias_base.get(layer.name, 0),
        "out_base": where.spikes_out[layer.name],
        "slices": slice_count(layer, preset),
    }
    if layer.synaptic:
        record["fetch"] = _fetch_record(layer, preset, where, sizes)
    if sizes.experts:
        record["experts"] = _experts_record(layer, preset)
    return record


def _experts_record(layer: Layer, preset: Preset) -> dict:
    record = {"route": layer.kind == "router", "merge": layer.kind == "merge", "own": layer.own}
    if layer.kind == "expert":
        slices = job_slices(layer, preset)
        record |= {
            "dispatch": True,
            "expert_rows": computed_groups(layer, preset) * layer.fan_in,
            "expert_biases": slices,
            "last_slice": slices - 1,
        }
    return record


def _fetch_record(layer: Layer, preset: Preset, where: MemoryMap, sizes: ConfigSizes) -> dict:
    chunks = chunk_count(layer, preset)
    pixels, head = layer.kind == "pixels", layer.kind == "head"
    padding = 1 if layer.kernel == 3 else 0
    step = layer.stride * (2 if layer.pool else 1)
    height, width = layer.in_grid
    line = width * chunks
    rows, columns = (side // (2 if layer.pool else 1) for side in layer.out_grid)
    base = 0 if pixels else where.spikes_in[layer.name]
    return {
        "pixels": pixels,
        "kernel3": layer.kernel == 3,
        "pool": layer.pool,
        "in_base": (base - padding * (line + chunks)) % 2**sizes.addr,
        "last_y": rows - 1,
        "last_x": columns - 1,
        "step": step,
        "stride": layer.stride,
        "bottom": (height - 2) % 2**sizes.grid,
        "right": (width - 2) % 2**sizes.grid,
        "stride_y_addr": layer.stride * line,
        "stride_x_addr": layer.stride * chunks,
        "step_y_addr": step * line,
        "step_x_addr": step * chunks,
        "line_addr": line,
        "position_addr": chunks,
        "last_chunk": chunks - 1,
        # The head is one output position whose taps are all tokens, with the same weights for each.
        "last_tap": preset.tokens - 1 if head else layer.kernel - 1,
        "last_group": computed_groups(layer, preset) - 1,
        "weight_base": where.weight_base[layer.name],
        "group_rows": layer.fan_in,
        "line_rows": layer.kernel * layer.inputs,
        "tap_rows": 0 if head else layer.inputs,
        "chunk_rows": chunk_lanes(layer, preset),
    }
