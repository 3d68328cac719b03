"""The accelerator: a byte stream in front, a sequencer, and tiles that do the work."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden.ranges import Widths
from golden.schedule import MemoryMap
from golden.spec import Preset

from . import spaces
from .attention_kinds import make_head_map
from .experts import Experts
from .fetcher import Fetcher
from .fork import Fork
from .frames import Space
from .host_port import HostPort
from .layer_config import ConfigSizes, heads_mode, layer_records
from .logits import Logits
from .merge import Merge
from .row_loader import RowLoader
from .sequencer import Sequencer
from .storage import Storage, connect_write
from .tap_walk import TapWalk
from .tile import Tile, tile_blocks
from .work_counters import WorkCounters


def blocks(preset: Preset) -> dict[str, tuple[str, ...]]:
    """Blocks that make sense alone, by the names of their modules from the accelerator down."""
    experts = () if preset.network.moe is None else ("router", "dispatcher")
    shared = ("host", "sequencer", "walk", "fetcher", "logits_sum", *experts)
    return {
        **{name: (name,) for name in shared},
        "tile": ("tile0",),
        **{name: ("tile0", name) for name in tile_blocks(preset)},
    }


class Accelerator(wiring.Component):
    """A whole network in hardware, for one preset.

    Overview
    --------
    Weights, biases, formats and images come through the host port; ``RUN`` classifies the image;
    logits and counters are read back. See :mod:`hw.frames` for the protocol.

    Design
    ------
    Layers run one after another on the same tiles, each of which computes its share of a layer's
    output channels from the chunks that all of them read. A chunk is a row of every tile's spike
    memory, side by side, so that tiles write their spikes without regard to each other::

        sequencer --> walk --> fetch <-- image     host port: loads weights, biases, formats, image
                                |  ^                          and reads logits, counters
                         chunks v  | spikes
                    fork --> E tiles --> merge --> logits

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
        if self.sizes.experts:
            Experts(m, self, self._tiles(m))
        self._load(m)
        self._read_back(m)
        if self.preset.prunes_heads:
            self._skip_heads(m)
        return m

    def _datapath(self, m: Module) -> None:
        """From image and spikes through the tiles to logits."""
        engine, steps = self.preset.engine, self.preset.network.time_steps
        m.submodules.image = image = Storage(*_shape(self._space(spaces.IMAGE)), exclusive=True)
        m.submodules.walk = walk = TapWalk(sizes=self.sizes)
        m.submodules.fetcher = fetcher = Fetcher(
            sizes=self.sizes, lanes=engine.all_lanes, time_steps=steps
        )
        for number in range(engine.tiles):
            m.submodules[f"tile{number}"] = Tile(self.preset, self.widths)
        tiles = self._tiles(m)
        m.submodules.fork = fork = Fork(fetcher.o.payload.shape(), engine.tiles)
        m.submodules.merge = merge = Merge(
            tiles[0].o.payload.shape(),
            sources=engine.tiles,
            run=self.map.slices_per_group,
        )
        m.submodules.logits_sum = logits = Logits(
            lanes=engine.neuron_lanes,
            time_steps=steps,
            width=self.widths.biased,
            words=spaces.logit_words(self.preset),
        )
        for before, after in ((fetcher, fork), (merge, logits)):
            _join(m, before.o, after.i)
        m.d.comb += [
            fetcher.i.valid.eq(walk.o.valid),
            walk.o.ready.eq(fetcher.i.ready),
            fetcher.i.payload.addr.eq(walk.o.payload.addr),
            fetcher.i.payload.last.eq(walk.o.payload.last),
        ]
        if not self.preset.prunes_heads:
            m.d.comb += fetcher.i.payload.row.eq(walk.o.payload.row)
        for tile, chunks, sums in zip(tiles, fork.o, merge.i, strict=True):
            wiring.connect(m, chunks, tile.i)
            wiring.connect(m, tile.o, sums)
            m.d.comb += [tile.spike_addr.eq(fetcher.read_addr), tile.spike_en.eq(fetcher.read_en)]
        m.d.comb += [
            fetcher.spike_data.eq(Cat(tile.spike_data for tile in tiles)),
            fetcher.image_data.eq(image.read_data),
            image.read_addr.eq(fetcher.read_addr),
            image.read_en.eq(fetcher.read_en),
        ]

    def _skip_heads(self, m: Module) -> None:
        """Let the walk count as if the heads to compute were all there are."""
        preset, walk, fetcher = self.preset, m.submodules.walk, m.submodules.fetcher
        sequencer, groups = m.submodules.sequencer, preset.network.head_channels
        groups //= preset.engine.lanes
        m.submodules.weight_map = weight_map = make_head_map(
            preset,
            address_bits=self.sizes.row,
            part_rows=groups * preset.network.channels,
            part_units=groups,
            ahead=False,
        )
        tap = walk.o.payload
        m.d.comb += [
            weight_map.start.eq(sequencer.layer_start),
            weight_map.step.eq(walk.o.valid & walk.o.ready & tap.last),
            weight_map.mode.eq(heads_mode(sequencer.config)),
            weight_map.kept.eq(self._tiles(m)[0].kept),
            weight_map.addr.eq(tap.row),
            fetcher.i.payload.row.eq(weight_map.mapped),
        ]

    def _control(self, m: Module) -> None:
        """Layer after layer: configuration, format, start, and the count of slices."""
        counters = self.preset.engine.counters
        m.submodules.sequencer = sequencer = Sequencer(
            sizes=self.sizes,
            records=layer_records(self.preset),
            counters=counters,
            tiles=self.preset.engine.tiles,
        )
        m.submodules.formats = formats = Storage(
            *_shape(self._space(spaces.FORMATS)), exclusive=True
        )
        walk, fetcher, tiles = m.submodules.walk, m.submodules.fetcher, self._tiles(m)
        config = sequencer.config
        m.d.comb += [
            formats.read_addr.eq(sequencer.layer),
            formats.read_en.eq(sequencer.layer_read),
            walk.start.eq(sequencer.layer_start & ~config.attention),
            walk.config.eq(config.fetch),
            fetcher.pixels.eq(config.fetch.pixels),
            m.submodules.logits_sum.start.eq(sequencer.layer_start),
            sequencer.slice_done.eq(Cat(tile.slice_done for tile in tiles)),
            sequencer.event.eq(Cat(tile.event for tile in tiles).any()),
        ]
        for tile in tiles:
            m.d.comb += [
                tile.start.eq(sequencer.layer_start),
                tile.config.eq(config),
                tile.format.as_value().eq(formats.read_data),
            ]

    def _load(self, m: Module) -> None:
        """From the host port to what can be written, and its commands to the sequencer."""
        known = spaces.write_spaces(self.preset, self.widths)
        sequencer, tiles = m.submodules.sequencer, self._tiles(m)
        m.submodules.host = host = HostPort(
            write_spaces=known,
            read_spaces=spaces.read_spaces(self.preset),
            max_payload=spaces.max_payload(self.preset, self.widths),
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
        memories = (
            [tile.weights for tile in tiles],
            [tile.biases for tile in tiles],
            [m.submodules.formats],
            [m.submodules.image],
            *([getattr(tile, space.name) for tile in tiles] for space in known[spaces.IMAGE + 1 :]),
        )
        for index, (space, parts) in enumerate(zip(known, memories, strict=True)):
            loader = RowLoader(index, *_shape(space), layout=host.load.payload.shape())
            m.submodules[f"load_{space.name}"] = loader
            m.d.comb += [loader.i.payload.eq(host.load.payload), loader.i.valid.eq(host.load.valid)]
            # A row of a space is that of all tiles, side by side.
            for number, part in enumerate(parts):
                width = len(part.write_data)
                m.d.comb += [
                    part.write_addr.eq(loader.write_addr),
                    part.write_en.eq(loader.write_en),
                    part.write_data.eq(loader.write_data.word_select(number, width)),
                ]

    def _read_back(self, m: Module) -> None:
        """Logits and counters, and the host port's way to read them."""
        host, sequencer = m.submodules.host, m.submodules.sequencer
        readable = spaces.read_spaces(self.preset)
        chosen = Signal(range(len(readable)))
        with m.If(host.read_en):
            m.d.sync += chosen.eq(host.read_space)
        for index, space in enumerate(readable):
            if index == spaces.WORK:
                memory = self._count_work(m)
            else:
                memory = Storage(*_shape(space), exclusive=True)
            m.submodules[space.name] = memory
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

    def _count_work(self, m: Module) -> WorkCounters:
        """Counters of tiles and experts; they are a space of their own."""
        sequencer, tiles = m.submodules.sequencer, self._tiles(m)
        routers = sum(layer.kind == "router" for layer in self.map.layers)
        work = WorkCounters(
            tiles=len(tiles),
            experts=self.preset.network.moe.experts if routers else 0,
            routers=routers,
            tokens=self.preset.tokens,
        )
        m.d.comb += [
            work.start.eq(sequencer.start),
            work.done.eq(sequencer.done),
            work.busy.eq(Cat(tile.event for tile in tiles)),
            work.stalled.eq(Cat(tile.stalled for tile in tiles)),
        ]
        if routers:
            router = m.submodules.router
            m.d.comb += [work.route.eq(router.start), work.served.eq(router.served)]
        return work

    def _tiles(self, m: Module) -> list[Tile]:
        return [m.submodules[f"tile{number}"] for number in range(self.preset.engine.tiles)]

    def _space(self, index: int) -> Space:
        return spaces.write_spaces(self.preset, self.widths)[index]


def _join(m: Module, before, after) -> None:
    """Join streams, where further statements may send some payloads elsewhere."""
    m.d.comb += [
        after.payload.eq(before.payload),
        after.valid.eq(before.valid),
        before.ready.eq(after.ready),
    ]


def _shape(space: Space) -> tuple[int, int]:
    return space.rows, space.row_bits
