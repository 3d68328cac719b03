"""A tile: the datapath from chunks of bundles to spikes, and the memories that belong to it."""

from itertools import pairwise

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.ranges import Widths
from golden.schedule import MemoryMap
from golden.spec import Preset

from . import spaces
from .attention_kinds import (
    coefficient_shapes,
    make_attention,
    make_head_map,
    qkv_bits,
    qkv_kinds,
)
from .drain import Drain
from .encoder import Encoder
from .fetcher import chunk_entries
from .layer_config import ConfigSizes, Sink, heads_mode
from .layouts import chunk_layout, sums_layout
from .neuron_array import NeuronArray
from .packer import Packer
from .relay import Relay
from .residual import Residual
from .storage import Storage, connect_write, write_port
from .synaptic_array import SynapticArray
from .tile_experts import TileExperts, expert_ports
from .weight_fetch import SHIFT_BITS
from .weights import Weights


def tile_blocks(preset: Preset) -> tuple[str, ...]:
    """Blocks that make sense alone, by the names of their modules."""
    dense = ("encoder", "weights", "array", "drain", "residual", "neurons", "attention", "packer")
    return dense if preset.network.moe is None else (*dense, "feed", "exit", "merge")


class Tile(wiring.Component):
    """Synapses, neurons and attention, with weights, biases, residuals and spikes of their own.

    Overview
    --------
    Takes the chunks that a layer reads and leaves the layer's spikes in its own spike memory; sums
    of the head leave on ``o``. The configuration of a layer is constant while it runs.

    Design
    ------
    ::

        i ==> encode --> weights ==> synaptic array --> drain ==> o (logits, router)
              ^                                             |
        feed of experts    attention core, counts ----+     |
              ^                ^        of experts    v     v
        spikes <-- packer <== neuron array <--------- residual
                                  +--> exit of experts --> spikes_out

    At ``==>`` stands a relay: it takes what a block RAM puts out late in the cycle, and no ready
    passes it, so that a block that waits is felt by its neighbours only.

    Latency and resources
    ---------------------
    Cycles of a layer are its events, at least ``lanes / neuron_lanes + 1`` an output group, and
    about 25 of latency. Events are non-zero bundles times ``ceil(D_out / (tiles * lanes))`` output
    groups. In a layer of experts they are those of the tile with most: for each token and each of
    its own experts that serves it, non-zero bundles times ``ceil(D_out / lanes)``, with D_out of
    one expert. Resources are those of the blocks.

    Parameters
    ----------
    preset : network, formats and engine
    widths : bits of the datapath

    Members
    -------
    i : In, stream of :func:`hw.layouts.chunk_layout`
    o : Out, stream of :func:`hw.layouts.sums_layout`, slices of a layer whose sums leave the tile
    start : In, a layer begins
    config : In, :meth:`hw.layer_config.ConfigSizes.layout` of the layer
    format : In, :func:`hw.spaces.format_layout` of the layer
    slice_done : Out, a slice has reached its sink in the cycle before
    event : Out, an event is on its way to the synaptic array
    stalled : Out, an event waits to be
    weights, biases : In, write ports of these memories, see :func:`hw.storage.write_port`
    spike_addr, spike_en, spike_data : read port of the spike memory
    further write ports : of the attention's coefficients, by the names of the core's
    kept : Out, array of the kept heads' numbers, rising; only where heads are pruned
    further ports : of :func:`hw.tile_experts.expert_ports`, if there are experts
    """

    def __init__(self, preset: Preset, widths: Widths) -> None:
        self.preset, self.widths = preset, widths
        self.map, self.sizes = MemoryMap(preset), ConfigSizes.of(preset)
        engine, steps, quant = preset.engine, preset.network.time_steps, preset.quant
        self.entries = chunk_entries(engine.all_lanes)
        chunk = chunk_layout(self.entries, steps, self.sizes.row)
        sums = sums_layout(engine.neuron_lanes, steps, widths.biased)
        self._weight_bits = engine.lanes * quant.weight_bits
        self._bias_bits = engine.neuron_lanes * quant.bias_bits
        self._coefficients = coefficient_shapes(preset)
        heads = data.ArrayLayout(range(preset.network.heads), preset.kept_heads)
        super().__init__(
            {
                "i": In(stream.Signature(chunk)),
                "o": Out(stream.Signature(sums)),
                "start": In(1),
                "config": In(self.sizes.layout()),
                "format": In(spaces.format_layout(widths)),
                "slice_done": Out(1),
                "event": Out(1),
                "stalled": Out(1),
                "weights": In(write_port(self.map.weight_rows, self._weight_bits)),
                "biases": In(write_port(self.map.bias_rows, self._bias_bits)),
                "spike_addr": In(range(self.map.spike_rows)),
                "spike_en": In(1),
                "spike_data": Out(engine.lanes * steps),
                **{name: In(write_port(*shape)) for name, shape in self._coefficients.items()},
                **({"kept": Out(heads)} if preset.prunes_heads else {}),
                **(expert_ports(preset) if self.sizes.experts else {}),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the memories and the blocks, and join them."""
        m = Module()
        self._synapses(m)
        self._neurons(m)
        m.submodules.attention = attention = make_attention(self.preset)
        for name in self._coefficients:
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(attention, name))
        self._routes(m)
        self._spikes(m)
        if self.preset.prunes_heads:
            self._prune(m)
        if self.sizes.experts:
            TileExperts(m, self)
        return m

    def _synapses(self, m: Module) -> None:
        """From chunks to sums with bias."""
        preset, sizes = self.preset, self.sizes
        engine, steps, quant = preset.engine, preset.network.time_steps, preset.quant
        # The host port loads nothing during a run, and nothing is read outside of one.
        m.submodules.biases = biases = Storage(self.map.bias_rows, self._bias_bits, exclusive=True)
        connect_write(m, biases, self.biases)
        m.submodules.encoder = encoder = Encoder(
            entries=self.entries, time_steps=steps, row_bits=sizes.row
        )
        m.submodules.weights = weights = Weights(
            entries=self.entries,
            time_steps=steps,
            row_bits=sizes.row,
            lanes=engine.lanes,
            weight_bits=quant.weight_bits,
            rows=self.map.weight_rows,
        )
        connect_write(m, weights, self.weights)
        m.submodules.array = array = SynapticArray(
            lanes=engine.lanes,
            time_steps=steps,
            weight_bits=quant.weight_bits,
            width=self.widths.sums,
            shift_bits=SHIFT_BITS,
        )
        m.submodules.drain = drain = Drain(
            lanes=engine.lanes,
            neuron_lanes=engine.neuron_lanes,
            time_steps=steps,
            width=self.widths.sums,
            biased_width=self.widths.biased,
            bias_bits=quant.bias_bits,
            bias_rows=self.map.bias_rows,
            max_groups=2**sizes.groups,
        )
        m.submodules.chunks = chunks = Relay(self.i.payload.shape())
        m.submodules.events = events = Relay(array.i.payload.shape())
        m.submodules.sums = sums = Relay(drain.o.payload.shape())
        if not self.sizes.experts:
            wiring.connect(m, wiring.flipped(self.i), chunks.i)
            m.d.comb += [drain.start.eq(self.start), drain.bias_base.eq(self.config.bias_base)]
        path = (chunks, encoder, weights, events, array, drain, sums)
        for before, after in pairwise(path):
            wiring.connect(m, before.o, after.i)
        config = self.config
        m.d.comb += [
            weights.pixels.eq(config.fetch.pixels),
            weights.align.eq(self.format.align),
            self.event.eq(weights.i.valid & weights.i.ready),
            self.stalled.eq(weights.i.valid & ~weights.i.ready),
            drain.last_group.eq(config.fetch.last_group),
            drain.pool.eq(config.fetch.pool),
            drain.bias_data.eq(biases.read_data),
            biases.read_en.eq(drain.bias_en),
        ]
        if not preset.prunes_heads:
            m.d.comb += biases.read_addr.eq(drain.bias_addr)

    def _prune(self, m: Module) -> None:
        """Rank heads, and skip the biases of those left out."""
        preset, engine = self.preset, self.preset.engine
        attention, drain, biases = (m.submodules[n] for n in ("attention", "drain", "biases"))
        slices = preset.network.head_channels // engine.neuron_lanes
        m.submodules.bias_map = bias_map = make_head_map(
            preset,
            address_bits=len(biases.read_addr),
            part_rows=slices,
            part_units=slices,
            ahead=True,
        )
        m.d.comb += [
            attention.start.eq(self.start),
            attention.ranking.eq(self.config.sink == Sink.RANK),
            attention.reading.eq(self.config.attention),
            self.kept.eq(attention.kept),
            bias_map.start.eq(drain.start),
            bias_map.step.eq(drain.picks),
            bias_map.mode.eq(heads_mode(self.config)),
            bias_map.kept.eq(attention.kept),
            bias_map.addr.eq(drain.bias_addr),
            biases.read_addr.eq(bias_map.mapped),
        ]

    def _neurons(self, m: Module) -> None:
        """From sums, or spikes that join the residual stream, to what neurons make of them."""
        preset, engine = self.preset, self.preset.engine
        net, steps = preset.network, preset.network.time_steps
        kinds = qkv_kinds(preset)
        m.submodules.residual = residual = Residual(
            lanes=engine.neuron_lanes,
            time_steps=steps,
            in_width=self.widths.biased,
            stored_width=self.widths.residual,
            width=self.widths.potential,
            rows=self.map.residual_rows,
            head_slices=net.head_channels // engine.neuron_lanes,
            kinds=kinds,
        )
        m.submodules.neurons = neurons = NeuronArray(
            lanes=engine.neuron_lanes,
            time_steps=steps,
            width=self.widths.potential,
            threshold_bits=self.widths.threshold,
            value_bits=qkv_bits(preset),
            key_shift=preset.quant.frac_bits - preset.key_frac_bits,
            key_bits=preset.key_bits,
            decay_shift=net.neuron.decay_shift,
            reset=net.neuron.reset,
            kinds=frozenset(kinds),
        )
        residual_bits = engine.neuron_lanes * steps * self.widths.residual
        m.submodules.residuals = memory = Storage(self.map.residual_rows, residual_bits)
        connect_write(m, memory, residual)
        m.submodules.values = values = Relay(neurons.o.payload.shape())
        wiring.connect(m, residual.o, neurons.i)
        wiring.connect(m, neurons.o, values.i)
        m.d.comb += [
            memory.read_addr.eq(residual.read_addr),
            memory.read_en.eq(residual.read_en),
            residual.read_data.eq(memory.read_data),
            residual.start.eq(self.start),
            neurons.threshold.eq(self.format.threshold),
        ]

    def _routes(self, m: Module) -> None:
        """Into residual stream and logits, as the layer says."""
        sums, residual = m.submodules.sums, m.submodules.residual
        attention = m.submodules.attention
        to_logits, joins, skip = Signal(), Signal(), Signal()
        # Registers here, a cycle after the configuration and long before a slice: the sequencer
        # lies far away.
        m.d.sync += [
            to_logits.eq(self.config.sink == Sink.SUMS_OUT),
            joins.eq(self.config.attention & ~self.config.skip),
            skip.eq(self.config.skip),
            residual.mode.eq(self.config.residual),
            residual.qkv.eq(self.config.qkv),
        ]
        one = 1 << self.preset.quant.frac_bits
        # Spikes of a core that passes over the tokens once may wait before their layer starts.
        begun = ~self.start
        with m.If(joins):
            m.d.comb += [
                residual.i.valid.eq(attention.o.valid & begun),
                attention.o.ready.eq(residual.i.ready & begun),
            ]
            for lane in range(self.preset.engine.neuron_lanes):
                for step in range(self.preset.network.time_steps):
                    spike = attention.o.payload.bundles[lane][step]
                    m.d.comb += residual.i.payload.sums[lane][step].eq(Mux(spike, one, 0))
        with m.Else():
            m.d.comb += [
                residual.i.valid.eq(sums.o.valid & ~to_logits),
                residual.i.payload.eq(sums.o.payload),
                attention.o.ready.eq(skip),
            ]
        m.d.comb += [
            self.o.valid.eq(sums.o.valid & to_logits),
            self.o.payload.eq(sums.o.payload),
            sums.o.ready.eq(Mux(to_logits, self.o.ready, residual.i.ready & ~joins)),
        ]

    def _spikes(self, m: Module) -> None:
        """From neurons to the attention core, or as bundles to the spike memory."""
        engine, steps = self.preset.engine, self.preset.network.time_steps
        m.submodules.spikes = spikes = Storage(self.map.spike_rows, engine.lanes * steps)
        m.submodules.packer = packer = Packer(
            lanes=engine.lanes,
            slice_lanes=engine.neuron_lanes,
            time_steps=steps,
            rows=self.map.spike_rows,
        )
        connect_write(m, spikes, packer)
        values, attention = m.submodules.values, m.submodules.attention
        to_attention, skip = Signal(), Signal()
        m.d.sync += [
            to_attention.eq((self.config.sink == Sink.ATTENTION) | (self.config.sink == Sink.RANK)),
            skip.eq(self.config.skip),
        ]
        m.d.comb += [
            attention.i.valid.eq(values.o.valid & to_attention),
            attention.i.payload.eq(values.o.payload),
            values.o.ready.eq(Mux(to_attention, attention.i.ready, packer.i.ready)),
        ]
        with m.If(skip):
            m.d.comb += [
                packer.i.valid.eq(attention.o.valid & ~self.start),
                packer.i.payload.eq(attention.o.payload),
            ]
        with m.Else():
            m.d.comb += packer.i.valid.eq(values.o.valid & ~to_attention)
            for lane in range(engine.neuron_lanes):
                for step in range(steps):
                    spike = values.o.payload.values[lane][step][0]
                    m.d.comb += packer.i.payload.bundles[lane][step].eq(spike)
        m.d.comb += [
            packer.start.eq(self.start),
            packer.base.eq(self.config.out_base),
            packer.pool.eq(self.config.fetch.pool),
            spikes.read_addr.eq(self.spike_addr),
            spikes.read_en.eq(self.spike_en),
            self.spike_data.eq(spikes.read_data),
        ]
        # A register: the sequencer lies far away.
        m.d.sync += self.slice_done.eq(
            (packer.i.valid & packer.i.ready)
            | (attention.i.valid & attention.i.ready)
            | (self.o.valid & self.o.ready)
        )
