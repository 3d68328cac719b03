"""The accelerator: a byte stream in front, a sequencer, and a tile that does the work."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden.ranges import Widths
from golden.schedule import MemoryMap
from golden.spec import Preset

from . import spaces
from .fetcher import Fetcher
from .frames import Space
from .host_port import HostPort
from .layer_config import ConfigSizes, layer_records
from .logits import Logits
from .row_loader import RowLoader
from .sequencer import Sequencer
from .storage import Storage, connect_write
from .tap_walk import TapWalk
from .tile import BLOCKS as TILE_BLOCKS
from .tile import Tile

# Blocks that make sense alone, by the names of their modules from the accelerator down.
BLOCKS = {
    **{name: (name,) for name in ("host", "sequencer", "walk", "fetcher", "tile", "logits_sum")},
    **{name: ("tile", name) for name in TILE_BLOCKS},
}


class Accelerator(wiring.Component):
    """A whole network in hardware, for one preset.

    Overview
    --------
    Weights, biases, formats and images come through the host port; ``RUN`` classifies the image;
    logits and counters are read back. See :mod:`hw.frames` for the protocol.

    Design
    ------
    Layers run one after another on the same tile::

        sequencer --> walk --> fetch <-- image     host port: loads weights, biases, formats, image
                                |  ^                          and reads logits, counters
                         chunks v  | spikes
                               tile --> logits

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
        self._datapath(m)
        self._control(m)
        self._load(m)
        self._read_back(m)
        return m

    def _datapath(self, m: Module) -> None:
        """From image and spikes through the tile to logits."""
        engine, steps = self.preset.engine, self.preset.network.time_steps
        m.submodules.image = image = Storage(*_shape(self._space(spaces.IMAGE)))
        m.submodules.walk = walk = TapWalk(sizes=self.sizes)
        m.submodules.fetcher = fetcher = Fetcher(
            sizes=self.sizes, lanes=engine.lanes, time_steps=steps
        )
        m.submodules.tile = work = Tile(self.preset, self.widths)
        m.submodules.logits_sum = logits = Logits(
            lanes=engine.neuron_lanes,
            time_steps=steps,
            width=self.widths.biased,
            words=spaces.logit_words(self.preset),
        )
        for before, after in ((walk, fetcher), (fetcher, work), (work, logits)):
            wiring.connect(m, before.o, after.i)
        m.d.comb += [
            fetcher.spike_data.eq(work.spike_data),
            fetcher.image_data.eq(image.read_data),
            work.spike_addr.eq(fetcher.read_addr),
            work.spike_en.eq(fetcher.read_en),
            image.read_addr.eq(fetcher.read_addr),
            image.read_en.eq(fetcher.read_en),
        ]

    def _control(self, m: Module) -> None:
        """Layer after layer: configuration, format, start, and the count of slices."""
        counters = self.preset.engine.counters
        m.submodules.sequencer = sequencer = Sequencer(
            sizes=self.sizes, records=layer_records(self.preset), counters=counters
        )
        m.submodules.formats = formats = Storage(*_shape(self._space(spaces.FORMATS)))
        walk, fetcher, work = (m.submodules[name] for name in ("walk", "fetcher", "tile"))
        config = sequencer.config
        m.d.comb += [
            formats.read_addr.eq(sequencer.layer),
            formats.read_en.eq(sequencer.layer_read),
            walk.start.eq(sequencer.layer_start & ~config.attention),
            walk.config.eq(config.fetch),
            fetcher.pixels.eq(config.fetch.pixels),
            work.start.eq(sequencer.layer_start),
            work.config.eq(config),
            work.format.as_value().eq(formats.read_data),
            m.submodules.logits_sum.start.eq(sequencer.layer_start),
            sequencer.slice_done.eq(work.slice_done),
            sequencer.event.eq(work.event),
        ]

    def _load(self, m: Module) -> None:
        """From the host port to what can be written, and its commands to the sequencer."""
        known = spaces.write_spaces(self.preset, self.widths)
        sequencer, work = m.submodules.sequencer, m.submodules.tile
        m.submodules.host = host = HostPort(
            write_spaces=known,
            read_spaces=spaces.read_spaces(self.preset),
            fingerprint=self.fingerprint,
            timeout=self.timeout,
        )
        wiring.connect(m, wiring.flipped(self.i), host.i)
        wiring.connect(m, wiring.flipped(self.o), host.o)
        m.d.comb += [
            # Loaders never stall, so one byte stream serves them all.
            host.load.ready.eq(1),
            sequencer.start.eq(host.start),
            host.done.eq(sequencer.done),
            host.cycles.eq(sequencer.cycles),
        ]
        memories = (work.weights, work.biases, m.submodules.formats, m.submodules.image)
        for index, (space, memory) in enumerate(zip(known, memories, strict=True)):
            loader = RowLoader(index, *_shape(space), layout=host.load.payload.shape())
            m.submodules[f"load_{space.name}"] = loader
            m.d.comb += [loader.i.payload.eq(host.load.payload), loader.i.valid.eq(host.load.valid)]
            connect_write(m, memory, loader)

    def _read_back(self, m: Module) -> None:
        """Logits and counters, and the host port's way to read them."""
        host, sequencer = m.submodules.host, m.submodules.sequencer
        readable = spaces.read_spaces(self.preset)
        chosen = Signal(range(len(readable)))
        with m.If(host.read_en):
            m.d.sync += chosen.eq(host.read_space)
        for index, space in enumerate(readable):
            m.submodules[space.name] = memory = Storage(*_shape(space))
            m.d.comb += [
                memory.read_addr.eq(host.read_addr),
                memory.read_en.eq(host.read_en & (host.read_space == index)),
            ]
            with m.If(chosen == index):
                m.d.comb += host.read_data.eq(memory.read_data)
        connect_write(m, m.submodules.logits, m.submodules.logits_sum)
        if self.preset.engine.counters:
            memory = m.submodules.counters
            m.d.comb += [
                memory.write_addr.eq(sequencer.counter_addr),
                memory.write_en.eq(sequencer.counter_en),
                memory.write_data.eq(sequencer.counter_data),
            ]

    def _space(self, index: int) -> Space:
        return spaces.write_spaces(self.preset, self.widths)[index]


def _shape(space: Space) -> tuple[int, int]:
    return space.rows, space.row_bits
