"""The accelerator: a byte stream in front, one synaptic array, neurons and attention behind."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden.ranges import Widths
from golden.schedule import MemoryMap
from golden.spec import Preset

from . import spaces
from .attention import AttentionCore
from .drain import Drain
from .encoder import Encoder
from .fetcher import Fetcher, chunk_entries
from .host_port import HostPort
from .layer_config import ConfigSizes, Sink, layer_records
from .layouts import NeuronKind
from .logits import Logits
from .neuron_array import NeuronArray
from .packer import Packer
from .residual import Residual
from .row_loader import RowLoader
from .sequencer import Sequencer
from .storage import Storage
from .synaptic_array import SynapticArray
from .tap_walk import TapWalk
from .weight_fetch import SHIFT_BITS, WeightFetch

KINDS = {
    "a2os2a": (NeuronKind.RELU, NeuronKind.TERNARY, NeuronKind.BINARY),
    "ssa": (NeuronKind.BINARY, NeuronKind.BINARY, NeuronKind.BINARY),
}

# Blocks that make sense alone, by the names of their modules.
BLOCKS = (
    "host",
    "sequencer",
    "walk",
    "fetcher",
    "encoder",
    "weight_fetch",
    "array",
    "drain",
    "residual",
    "neurons",
    "attention",
    "packer",
    "logits_sum",
)


class Accelerator(wiring.Component):
    """A whole network in hardware, for one preset.

    Overview
    --------
    Weights, biases, formats and images come through the host port; ``RUN`` classifies the image;
    logits and counters are read back. See :mod:`hw.frames` for the protocol.

    Design
    ------
    Layers run one after another on the same blocks::

        image, spikes --> walk, fetch --> encode --> weight fetch --> synaptic array --> drain
           ^                                                                              |
           |            attention core ----------------------------+                      |
           |              ^                                        v                      v
        packer <------ neuron array <-------------------------- residual <----------------+
                                                                          logits <--------+

    Latency and resources
    ---------------------
    Cycles of an image are the sum over its layers of the events (non-zero bundles times output
    groups) plus a few cycles a layer; ``metrics.json`` has the measured ratio to the event bound.

    Parameters
    ----------
    preset : network, formats and engine
    widths : bits of the datapath, from :func:`golden.ranges.built_widths`
    fingerprint : 32-bit number that INFO replies, to tell builds apart
    timeout : cycles within a frame without a byte that drop it; 0 waits for ever

    Members
    -------
    i : In, byte stream of requests
    o : Out, byte stream of replies
    """

    def __init__(
        self, preset: Preset, widths: Widths, *, fingerprint: int = 0, timeout: int = 0
    ) -> None:
        self.preset, self.widths = preset, widths
        self.fingerprint, self.timeout = fingerprint, timeout
        self.map = MemoryMap(preset)
        self.sizes = ConfigSizes.of(preset)
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform) -> Module:
        """Build the blocks and join them."""
        m = Module()
        self._memories(m)
        self._host(m)
        self._control(m)
        self._front(m)
        self._back(m)
        return m

    def _memories(self, m: Module) -> None:
        engine, steps = self.preset.engine, self.preset.network.time_steps
        known = spaces.write_spaces(self.preset, self.widths)
        for space in known:
            m.submodules[space.name] = Storage(space.rows, space.row_bits)
        m.submodules.spikes = Storage(self.map.spike_rows, engine.lanes * steps)
        residual_bits = engine.neuron_lanes * steps * self.widths.residual
        m.submodules.residuals = Storage(self.map.residual_rows, residual_bits)
        for space in spaces.read_spaces(self.preset):
            m.submodules[space.name] = Storage(space.rows, space.row_bits)

    def _host(self, m: Module) -> None:
        known = spaces.write_spaces(self.preset, self.widths)
        readable = spaces.read_spaces(self.preset)
        m.submodules.host = host = HostPort(
            write_spaces=known,
            read_spaces=readable,
            fingerprint=self.fingerprint,
            timeout=self.timeout,
        )
        wiring.connect(m, wiring.flipped(self.i), host.i)
        wiring.connect(m, wiring.flipped(self.o), host.o)
        # Loaders never stall, so one byte stream serves them all.
        m.d.comb += host.load.ready.eq(1)
        for index, space in enumerate(known):
            loader = RowLoader(index, space.rows, space.row_bits, layout=host.load.payload.shape())
            m.submodules[f"load_{space.name}"] = loader
            memory = m.submodules[space.name]
            m.d.comb += [loader.i.payload.eq(host.load.payload), loader.i.valid.eq(host.load.valid)]
            _write(m, memory, loader)
        chosen = Signal(range(len(readable)))
        for index, space in enumerate(readable):
            memory = m.submodules[space.name]
            m.d.comb += [
                memory.read_addr.eq(host.read_addr),
                memory.read_en.eq(host.read_en & (host.read_space == index)),
            ]
            with m.If(chosen == index):
                m.d.comb += host.read_data.eq(memory.read_data)
        with m.If(host.read_en):
            m.d.sync += chosen.eq(host.read_space)

    def _control(self, m: Module) -> None:
        counters = self.preset.engine.counters
        m.submodules.sequencer = sequencer = Sequencer(
            sizes=self.sizes, records=layer_records(self.preset), counters=counters
        )
        host, formats = m.submodules.host, m.submodules.formats
        m.d.comb += [
            sequencer.start.eq(host.start),
            host.done.eq(sequencer.done),
            host.cycles.eq(sequencer.cycles),
            formats.read_addr.eq(sequencer.layer),
            formats.read_en.eq(sequencer.layer_read),
        ]
        if counters:
            memory = m.submodules.counters
            m.d.comb += [
                memory.write_addr.eq(sequencer.counter_addr),
                memory.write_en.eq(sequencer.counter_en),
                memory.write_data.eq(sequencer.counter_data),
            ]

    def _front(self, m: Module) -> None:
        """From memories to sums with bias."""
        engine, steps = self.preset.engine, self.preset.network.time_steps
        quant, sizes = self.preset.quant, self.sizes
        entries = chunk_entries(engine.lanes)
        m.submodules.walk = walk = TapWalk(sizes=sizes)
        m.submodules.fetcher = fetcher = Fetcher(sizes=sizes, lanes=engine.lanes, time_steps=steps)
        m.submodules.encoder = encoder = Encoder(
            entries=entries, time_steps=steps, row_bits=sizes.row
        )
        m.submodules.weight_fetch = weight_fetch = WeightFetch(
            entries=entries,
            time_steps=steps,
            row_bits=sizes.row,
            lanes=engine.lanes,
            weight_bits=quant.weight_bits,
        )
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
        for before, after in ((walk, fetcher), (fetcher, encoder), (encoder, weight_fetch)):
            wiring.connect(m, before.o, after.i)
        wiring.connect(m, weight_fetch.o, array.i)
        wiring.connect(m, array.o, drain.i)

        sequencer = m.submodules.sequencer
        config = sequencer.config
        weights, biases = m.submodules.weights, m.submodules.biases
        spikes, image = m.submodules.spikes, m.submodules.image
        layer_format = Signal(spaces.format_layout(self.widths))
        m.d.comb += [
            layer_format.as_value().eq(m.submodules.formats.read_data),
            walk.start.eq(sequencer.layer_start & ~config.attention),
            walk.config.eq(config.fetch),
            fetcher.pixels.eq(config.fetch.pixels),
            fetcher.spike_data.eq(spikes.read_data),
            fetcher.image_data.eq(image.read_data),
            weight_fetch.pixels.eq(config.fetch.pixels),
            weight_fetch.align.eq(layer_format.align),
            weight_fetch.read_data.eq(weights.read_data),
            weights.read_addr.eq(weight_fetch.read_addr),
            weights.read_en.eq(weight_fetch.read_en),
            drain.start.eq(sequencer.layer_start),
            drain.bias_base.eq(config.bias_base),
            drain.last_group.eq(config.fetch.last_group),
            drain.pool.eq(config.fetch.pool),
            drain.bias_data.eq(biases.read_data),
            biases.read_addr.eq(drain.bias_addr),
            biases.read_en.eq(drain.bias_en),
            sequencer.event.eq(weight_fetch.i.valid & weight_fetch.i.ready),
        ]
        for memory in (spikes, image):
            m.d.comb += [
                memory.read_addr.eq(fetcher.read_addr),
                memory.read_en.eq(fetcher.read_en),
            ]

    def _back(self, m: Module) -> None:
        """From sums with bias to spikes, attention and logits."""
        preset, engine = self.preset, self.preset.engine
        net, quant, steps = preset.network, preset.quant, preset.network.time_steps
        kinds = KINDS[net.attention]
        slice_lanes, value_bits = engine.neuron_lanes, max(2, preset.key_bits)
        m.submodules.residual = residual = Residual(
            lanes=slice_lanes,
            time_steps=steps,
            in_width=self.widths.biased,
            stored_width=self.widths.residual,
            width=self.widths.potential,
            rows=self.map.residual_rows,
            head_slices=net.head_channels // slice_lanes,
            kinds=kinds,
        )
        m.submodules.neurons = neurons = NeuronArray(
            lanes=slice_lanes,
            time_steps=steps,
            width=self.widths.potential,
            threshold_bits=self.widths.threshold,
            value_bits=value_bits,
            key_shift=quant.frac_bits - preset.key_frac_bits,
            key_bits=preset.key_bits,
            decay_shift=net.neuron.decay_shift,
            reset=net.neuron.reset,
            kinds=frozenset(kinds) | {NeuronKind.BINARY},
        )
        m.submodules.attention = attention = AttentionCore(
            time_steps=steps,
            tokens=preset.tokens,
            heads=net.heads,
            head_channels=net.head_channels,
            lanes=slice_lanes,
            key_bits=preset.key_bits,
            value_bits=value_bits,
            threshold=preset.attention_threshold,
            decay_shift=net.neuron.decay_shift,
            reset=net.neuron.reset,
            order=preset.attention_order,
        )
        m.submodules.packer = packer = Packer(
            lanes=engine.lanes,
            slice_lanes=slice_lanes,
            time_steps=steps,
            rows=self.map.spike_rows,
        )
        m.submodules.logits_sum = logits = Logits(
            lanes=slice_lanes,
            time_steps=steps,
            width=self.widths.biased,
            words=spaces.logit_words(preset),
        )
        wiring.connect(m, residual.o, neurons.i)

        sequencer, drain = m.submodules.sequencer, m.submodules.drain
        config = sequencer.config
        to_logits = config.sink == Sink.LOGITS
        to_attention = config.sink == Sink.ATTENTION
        joins = config.attention & ~config.skip

        # Into the residual: sums of the synaptic array, or attention's spikes as 1.0.
        one = 1 << quant.frac_bits
        with m.If(joins):
            m.d.comb += [
                residual.i.valid.eq(attention.o.valid),
                attention.o.ready.eq(residual.i.ready),
            ]
            for lane in range(slice_lanes):
                for step in range(steps):
                    spike = attention.o.payload.bundles[lane][step]
                    m.d.comb += residual.i.payload.sums[lane][step].eq(Mux(spike, one, 0))
        with m.Else():
            m.d.comb += [
                residual.i.valid.eq(drain.o.valid & ~to_logits),
                residual.i.payload.eq(drain.o.payload),
                attention.o.ready.eq(config.skip),
            ]
        m.d.comb += [
            logits.i.valid.eq(drain.o.valid & to_logits),
            logits.i.payload.eq(drain.o.payload),
            drain.o.ready.eq(Mux(to_logits, logits.i.ready, residual.i.ready & ~joins)),
        ]

        # Out of the neurons: to the attention core, or as bundles to the packer.
        m.d.comb += [
            attention.i.valid.eq(neurons.o.valid & to_attention),
            attention.i.payload.eq(neurons.o.payload),
            neurons.o.ready.eq(Mux(to_attention, attention.i.ready, packer.i.ready)),
        ]
        with m.If(config.skip):
            m.d.comb += [
                packer.i.valid.eq(attention.o.valid),
                packer.i.payload.eq(attention.o.payload),
            ]
        with m.Else():
            m.d.comb += packer.i.valid.eq(neurons.o.valid & ~to_attention)
            for lane in range(slice_lanes):
                for step in range(steps):
                    spike = neurons.o.payload.values[lane][step][0]
                    m.d.comb += packer.i.payload.bundles[lane][step].eq(spike)

        layer_format = Signal(spaces.format_layout(self.widths))
        m.d.comb += [
            layer_format.as_value().eq(m.submodules.formats.read_data),
            neurons.threshold.eq(layer_format.threshold),
            residual.start.eq(sequencer.layer_start),
            residual.mode.eq(config.residual),
            residual.qkv.eq(config.qkv),
            packer.start.eq(sequencer.layer_start),
            packer.base.eq(config.out_base),
            packer.pool.eq(config.fetch.pool),
            logits.start.eq(sequencer.layer_start),
            sequencer.slice_done.eq(
                (packer.i.valid & packer.i.ready)
                | (attention.i.valid & attention.i.ready)
                | (logits.i.valid & logits.i.ready)
            ),
        ]
        memory = m.submodules.residuals
        m.d.comb += [
            memory.read_addr.eq(residual.read_addr),
            memory.read_en.eq(residual.read_en),
            residual.read_data.eq(memory.read_data),
        ]
        _write(m, memory, residual)
        _write(m, m.submodules.spikes, packer)
        _write(m, m.submodules.logits, logits)


def _write(m: Module, memory: Storage, writer) -> None:
    m.d.comb += [
        memory.write_addr.eq(writer.write_addr),
        memory.write_en.eq(writer.write_en),
        memory.write_data.eq(writer.write_data),
    ]
