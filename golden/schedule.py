"""The layers of a network in the order they run, and where their data lie. Imports no torch."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from .local_taps import KERNEL, local_taps
from .spec import Engine, Network, Preset

LayerKind = Literal[
    "pixels", "conv", "dense", "rank", "attention", "router", "expert", "merge", "head"
]


@dataclass(frozen=True)
class Layer:
    """One pass over the tokens (or positions) of an image.

    Members
    -------
    name : as in the checkpoint, e.g. ``block0.fc1``
    kind : ``pixels`` reads the image bit by bit; ``conv`` and ``dense`` read spikes; ``attention``
        reads the attention core; ``rank`` computes Q of a Q, K, V layer to choose the heads that
        attend; ``router`` scores experts, ``expert`` is dense for the experts
        chosen, ``merge`` adds their spikes; ``head`` sums over all tokens and steps
    inputs, outputs : channels; of ``expert``, inputs of one and outputs of all experts in turn
    in_grid, out_grid : height and width of the positions read, and of those computed, before a pool
    kernel, stride : of the convolution; 1 and 1 for a dense layer
    pool : OR of 2x2 outputs
    neuron : ``binary``, ``qkv`` (K, V and Q in turn for each head), ``query``, or ``none``
    experts : of ``expert``, by which ``outputs`` divide; 1 elsewhere
    own : of ``expert``, each reads what the same expert made in the layer before
    residual : ``set`` starts the residual stream, ``add`` adds to it, ``none`` leaves it alone
    """

    name: str
    kind: LayerKind
    inputs: int
    outputs: int
    in_grid: tuple[int, int]
    out_grid: tuple[int, int]
    kernel: int = 1
    stride: int = 1
    pool: bool = False
    neuron: Literal["binary", "qkv", "query", "none"] = "binary"
    residual: Literal["none", "set", "add"] = "none"
    experts: int = 1
    own: bool = False

    @property
    def by_head(self) -> bool:
        """Whether each tile has adjacent output channels, those of its heads or its experts."""
        return (
            self.residual != "none" or self.neuron == "qkv" or self.kind in ("attention", "expert")
        )

    @property
    def writes_spikes(self) -> bool:
        """Whether the layer leaves spikes in the spike memory."""
        return self.neuron == "binary" and self.kind != "router" and not self.own

    @property
    def expert_outputs(self) -> int:
        """Output channels of one expert; all of a layer without."""
        return self.outputs // self.experts

    @property
    def has_weights(self) -> bool:
        """Whether a checkpoint has tensors of this layer."""
        return self.synaptic and self.kind != "rank"

    @property
    def synaptic(self) -> bool:
        """Whether the synaptic array works for this layer."""
        return self.kind not in ("attention", "merge")

    @property
    def tensors(self) -> str:
        """Name of the layer whose tensors this one computes with."""
        return self.name.replace("rank", "qkv") if self.kind == "rank" else self.name

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weights in the checkpoint."""
        taps = (self.kernel, self.kernel) if self.kernel > 1 else ()
        return self.outputs, self.inputs, *taps

    @property
    def fan_in(self) -> int:
        """Weight rows of one output group: taps times input channels."""
        return self.kernel**2 * self.inputs

    @property
    def positions(self) -> int:
        """Positions computed; 1 for the head."""
        return self.out_grid[0] * self.out_grid[1]

    @property
    def pooled_positions(self) -> int:
        """Positions written."""
        return self.positions // 4 if self.pool else self.positions

    def groups(self, lanes: int) -> int:
        """Output groups of ``lanes`` channels, those of all tiles."""
        return -(-self.outputs // lanes)


def channel_order(channels: int, engine: Engine) -> list[int]:
    """Channels in rows of ``tiles * lanes``, where each tile has adjacent ones.

    With 2 tiles of 2 lanes, 8 channels lie as 0 1 4 5, 2 3 6 7.
    """
    share = channels // engine.tiles
    return [
        tile * share + group * engine.lanes + lane
        for group in range(share // engine.lanes)
        for tile in range(engine.tiles)
        for lane in range(engine.lanes)
    ]


def network_layers(preset: Preset) -> list[Layer]:
    """Every layer of the preset's network, in order."""
    net = preset.network
    layers = []
    grid, channels = (preset.data.height, preset.data.width), preset.data.channels
    last = len(net.stages) - 1
    for index, stage in enumerate(net.stages):
        out = -(-grid[0] // stage.stride), -(-grid[1] // stage.stride)
        layers.append(
            Layer(
                f"stage{index}",
                "conv" if index else "pixels",
                channels,
                stage.channels,
                grid,
                out,
                kernel=3,
                stride=stage.stride,
                pool=stage.pool,
                residual="set" if index == last else "none",
            )
        )
        grid = (out[0] // 2, out[1] // 2) if stage.pool else out
        channels = stage.channels
    dim, hidden = net.channels, net.channels * net.mlp_ratio

    def dense(name: str, inputs: int, outputs: int, **more) -> Layer:
        return Layer(name, "dense", inputs, outputs, grid, grid, **more)

    layers.append(Layer("position", "conv", dim, dim, grid, grid, kernel=3, residual="add"))
    for block in range(net.blocks):
        prefix = f"block{block}."
        if preset.prunes_heads:
            layers.append(Layer(prefix + "rank", "rank", dim, dim, grid, grid, neuron="query"))
        layers.append(dense(prefix + "qkv", dim, 3 * dim, neuron="qkv"))
        joins = "none" if net.projection else "add"
        layers.append(
            Layer(prefix + "attention", "attention", dim, dim, grid, grid, residual=joins)
        )
        if net.projection:
            layers.append(dense(prefix + "projection", dim, dim, residual="add"))
        if net.moe is None:
            layers.append(dense(prefix + "fc1", dim, hidden))
            layers.append(dense(prefix + "fc2", hidden, dim, residual="add"))
        else:
            layers += _expert_layers(net, prefix, grid)
    layers.append(Layer("head", "head", dim, preset.data.classes, grid, (1, 1), neuron="none"))
    return layers


def _expert_layers(net: Network, prefix: str, grid: tuple[int, int]) -> list[Layer]:
    """Router, both layers of all experts, and the merge that joins them to the residual stream."""
    dim, moe = net.channels, net.moe
    fires = "none" if moe.mode == "topk" else "binary"

    def layer(name: str, kind: LayerKind, inputs: int, outputs: int, **more) -> Layer:
        return Layer(prefix + name, kind, inputs, outputs, grid, grid, **more)

    return [
        layer("router", "router", dim, moe.experts, neuron=fires),
        layer("fc1", "expert", dim, moe.experts * moe.hidden, experts=moe.experts),
        layer("fc2", "expert", moe.hidden, moe.experts * dim, experts=moe.experts, own=True),
        layer("merge", "merge", moe.experts * dim, dim, residual="add"),
    ]


def coefficient_shapes(preset: Preset) -> dict[str, tuple[int, ...]]:
    """Shapes of the attention's own tensors, by name in the checkpoint; D channels, k dendrites.

    ``<layer>.local`` (D, kernels, 3, 3) of LRF-SSA and LRF-Dyn; ``<layer>.a`` (D, k, 3),
    ``<layer>.gamma`` (D, k) and ``<layer>.c`` (D, k) of LRF-Dyn alone. Channels are those of V,
    head by head.
    """
    net = preset.network
    shapes = {}
    if preset.dilations:
        shapes["local"] = (net.channels, len(preset.dilations), KERNEL, KERNEL)
    if net.attention == "lrf-dyn":
        dendrites = (net.channels, net.dendrites)
        shapes |= {"a": (*dendrites, 3), "gamma": dendrites, "c": dendrites}
    layers = [layer.name for layer in network_layers(preset) if layer.kind == "attention"]
    return {f"{layer}.{name}": shape for layer in layers for name, shape in shapes.items()}


class MemoryMap:
    """Rows of every memory, and the rows at which each layer's data start.

    A weight row holds the weights of ``lanes`` output channels for one input channel and tap; rows
    of a layer are ordered by output group, tap and input channel. A bias row holds ``neuron_lanes``
    biases. A local row holds the weights of one tap for ``neuron_lanes`` channels, ordered by
    layer, slice of channels and tap (:func:`golden.local_taps.local_taps`); a dendrite row the
    ``a``, ``gamma`` and ``c`` of one dendrite for ``neuron_lanes`` channels, ordered by layer,
    slice and dendrite. A spike row holds ``lanes`` bundles of one position; layers read one end of
    the spike memory and write the other. Every tile has each of these memories: depths are those of
    one tile, and all tiles keep a layer in the same rows. Hidden spikes of a tile's experts lie in
    its own rows, expert after expert of token after token; there is room for as many as can serve.

    Parameters
    ----------
    preset : shapes

    Members
    -------
    layers : the network's layers
    input_order, output_order : by layer name, channels as they lie side by side in rows of all
        tiles; numbers beyond the channels fill a row up
    weight_base, bias_base, local_base, dendrite_base : by layer name, first row
    spikes_in, spikes_out : by layer name, first row read and written
    weight_rows, bias_rows, local_rows, dendrite_rows : depths
    spike_rows, residual_rows, image_rows : likewise
    """

    def __init__(self, preset: Preset) -> None:
        self.preset = preset
        self.layers = network_layers(preset)
        self.weight_base: dict[str, int] = {}
        self.bias_base: dict[str, int] = {}
        self.weight_rows = self.bias_rows = 0
        lanes = preset.engine.all_lanes
        for layer in self.layers:
            if layer.synaptic:  # A ranking has the rows of the Q, K, V layer that follows it.
                self.weight_base[layer.name] = self.weight_rows
                self.bias_base[layer.name] = self.bias_rows
            if layer.has_weights:
                self.weight_rows += layer.groups(lanes) * layer.fan_in
                self.bias_rows += layer.groups(lanes) * self.slices_per_group
        slices = preset.network.channels // (preset.engine.tiles * preset.engine.neuron_lanes)
        self._place_coefficients(slices)
        self.residual_rows = preset.tokens * slices
        self.image_rows = preset.data.height * preset.data.width * preset.data.channels
        self._place_spikes()
        self._order_channels()

    @cached_property
    def slices_per_group(self) -> int:
        """Slices of ``neuron_lanes`` channels in a tile's part of an output group."""
        return self.preset.engine.lanes // self.preset.engine.neuron_lanes

    def _place_coefficients(self, slices: int) -> None:
        net = self.preset.network
        taps = len(local_taps(self.preset.dilations, causal=net.local_causal))
        dendrites = net.dendrites if net.attention == "lrf-dyn" else 0
        self.local_base: dict[str, int] = {}
        self.dendrite_base: dict[str, int] = {}
        self.local_rows = self.dendrite_rows = 0
        for layer in self.layers:
            if layer.kind == "attention":
                self.local_base[layer.name] = self.local_rows
                self.dendrite_base[layer.name] = self.dendrite_rows
                self.local_rows += slices * taps
                self.dendrite_rows += slices * dendrites

    def _place_spikes(self) -> None:
        lanes = self.preset.engine.all_lanes
        sizes = []  # rows that each layer hands to the next reader of the spike memory
        for layer in self.layers:
            rows = layer.pooled_positions * layer.groups(lanes)
            if layer.kind == "expert":
                # A token is served by so many of a tile's experts at most.
                tile_experts = layer.experts // self.preset.engine.tiles
                most = min(self.preset.network.moe.most, tile_experts)
                rows = rows // tile_experts * most
            sizes.append(rows if layer.writes_spikes else 0)
        live, pairs = 0, []
        for size in sizes:
            pairs.append((live, size))
            live = size or live
        self.spike_rows = max(before + after for before, after in pairs)
        self.spikes_in: dict[str, int] = {}
        self.spikes_out: dict[str, int] = {}
        read_at = 0
        for layer, size in zip(self.layers, sizes, strict=True):
            self.spikes_in[layer.name] = read_at
            write_at = 0 if read_at else self.spike_rows - size
            self.spikes_out[layer.name] = write_at
            if size:
                read_at = write_at

    def _order_channels(self) -> None:
        engine = self.preset.engine
        self.input_order: dict[str, list[int]] = {}
        self.output_order: dict[str, list[int]] = {}
        order = list(range(self.preset.data.channels))
        for layer in self.layers:
            size = layer.groups(engine.all_lanes) * engine.all_lanes
            made = channel_order(size, engine) if layer.by_head else list(range(size))
            read = list(range(layer.inputs)) if layer.own else order
            self.input_order[layer.name], self.output_order[layer.name] = read, made
            if layer.writes_spikes and not layer.experts > 1:
                order = made
