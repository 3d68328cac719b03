"""Experts of a tile: what they add to its datapath. Every tile of a network with experts has it."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.schedule import MemoryMap
from golden.spec import Preset

from .aligned_merge import AlignedMerge
from .expert_exit import ExpertExit
from .expert_feed import ExpertFeed
from .expert_walk import job_layout
from .fetcher import chunk_entries
from .layer_config import ConfigSizes, Sink
from .layouts import (
    addressed_layout,
    bundles_layout,
    counts_layout,
    expert_spikes_layout,
    token_layout,
)
from .relay import Relay
from .storage import Storage, connect_write


def route_bits(preset: Preset) -> int:
    """Bits of a route: 1, or one for each time step if the router spikes."""
    return 1 if preset.network.moe.mode == "topk" else preset.network.time_steps


def counts_row_bits(preset: Preset) -> int:
    """Bits of a row of counts, of which there are as many as rows of the residual stream."""
    return (MemoryMap(preset).residual_rows - 1).bit_length()


def tile_token_layout(preset: Preset) -> data.StructLayout:
    """What the dispatcher sends to a tile."""
    engine, net = preset.engine, preset.network
    return token_layout(
        chunk_entries(engine.all_lanes),
        net.time_steps,
        experts=net.moe.experts // engine.tiles,
        route_bits=route_bits(preset),
        row_bits=counts_row_bits(preset),
    )


def expert_ports(preset: Preset) -> dict[str, wiring.Member]:
    """Ports that a tile has for experts.

    Members
    -------
    tokens : In, stream of :func:`hw.layouts.token_layout`, tokens of this tile's experts
    spikes_out : Out, stream of addressed :func:`hw.layouts.expert_spikes_layout`
    counts : In, list of such streams without address, of each tile's slices for this one
    router : Out, stream of :func:`hw.layouts.bundles_layout`, what the router fires
    experts_busy : Out, an expert has work, or its spikes are on their way
    merge_busy : Out, counts are being cleared or added to
    """
    engine, steps = preset.engine, preset.network.time_steps
    spikes = expert_spikes_layout(engine.neuron_lanes, steps, counts_row_bits(preset))
    return {
        "tokens": In(stream.Signature(tile_token_layout(preset))),
        "spikes_out": Out(stream.Signature(addressed_layout(spikes, engine.tiles))),
        "counts": In(stream.Signature(spikes)).array(engine.tiles),
        "router": Out(stream.Signature(bundles_layout(engine.neuron_lanes, steps))),
        "experts_busy": Out(1),
        "merge_busy": Out(1),
    }


class TileExperts:
    """Adds the experts' blocks to a tile that is otherwise joined.

    Parameters
    ----------
    m : the tile's module
    tile : with the ports of :func:`expert_ports`
    """

    def __init__(self, m: Module, tile: wiring.Component) -> None:
        self.m, self.tile, self.preset = m, tile, tile.preset
        self.sizes: ConfigSizes = tile.sizes
        config = tile.config
        # Registers, as those of the tile's own routes.
        self.dispatch, self.own, self.merging, self.out = (Signal() for _ in range(4))
        m.d.sync += [
            self.dispatch.eq(config.experts.dispatch),
            self.own.eq(config.experts.own),
            self.merging.eq(config.experts.merge),
            self.out.eq(config.sink == Sink.SPIKES_OUT),
        ]
        self._feed()
        self._exit()
        self._merge()

    def _feed(self) -> None:
        """Chunks and biases: of the experts' tokens, or of all."""
        m, tile, preset = self.m, self.tile, self.preset
        engine, net = preset.engine, preset.network
        m.submodules.feed = feed = ExpertFeed(
            sizes=self.sizes,
            shape=tile.tokens.payload.shape(),
            tokens=min(engine.queue_tokens, max(2, preset.tokens)),
            chunks=net.channels // engine.all_lanes,
            lanes=engine.lanes,
            all_lanes=engine.all_lanes,
            time_steps=net.time_steps,
        )
        chunks, drain, spikes = (m.submodules[name] for name in ("chunks", "drain", "spikes"))
        started = Signal()
        m.d.sync += started.eq(tile.start)
        wiring.connect(m, wiring.flipped(tile.tokens), feed.tokens)
        m.d.comb += [
            feed.start.eq(tile.start),
            feed.config.eq(tile.config),
            feed.spike_data.eq(spikes.read_data),
            # The base comes through a register of this module, a cycle after the configuration.
            drain.start.eq(started),
            drain.bias_base.eq(Mux(self.dispatch, feed.biases.payload, tile.config.bias_base)),
            drain.bias_known.eq(~self.dispatch | feed.biases.valid),
            feed.biases.ready.eq(self.dispatch & drain.bias_taken),
        ]
        with m.If(self.dispatch):
            m.d.comb += [
                chunks.i.payload.eq(feed.o.payload),
                chunks.i.valid.eq(feed.o.valid),
                feed.o.ready.eq(chunks.i.ready),
            ]
        with m.Else():
            m.d.comb += [
                chunks.i.payload.eq(tile.i.payload),
                chunks.i.valid.eq(tile.i.valid),
                tile.i.ready.eq(chunks.i.ready),
            ]
        with m.If(self.own):
            m.d.comb += [spikes.read_addr.eq(feed.spike_addr), spikes.read_en.eq(feed.spike_en)]

    def _exit(self) -> None:
        """Spikes that leave the tile, of router and experts."""
        m, tile, preset = self.m, self.tile, self.preset
        engine, steps = preset.engine, preset.network.time_steps
        feed, values, packer = (m.submodules[name] for name in ("feed", "values", "packer"))
        m.submodules.exit = leave = ExpertExit(
            lanes=engine.neuron_lanes,
            time_steps=steps,
            job=job_layout(steps, counts_row_bits(preset)),
            tiles=engine.tiles,
            slices=tile.map.residual_rows // preset.tokens,
            job_bits=self.sizes.slices,
        )
        m.submodules.leaving = leaving = Relay(leave.o.payload.shape())
        wiring.connect(m, feed.jobs, leave.jobs)
        wiring.connect(m, leave.o, leaving.i)
        wiring.connect(m, leaving.o, wiring.flipped(tile.spikes_out))
        fired = packer.i.payload
        m.d.comb += [
            leave.start.eq(tile.start),
            leave.last_slice.eq(tile.config.experts.last_slice),
            leave.i.payload.eq(fired),
            leave.i.valid.eq(values.o.valid & self.own),
            tile.router.payload.eq(fired),
            tile.router.valid.eq(values.o.valid & self.out & ~self.own),
            tile.experts_busy.eq(feed.busy | leaving.o.valid),
        ]
        with m.If(self.out):
            m.d.comb += [
                packer.i.valid.eq(0),
                values.o.ready.eq(Mux(self.own, leave.i.ready, tile.router.ready)),
            ]
        routed = tile.router.valid & tile.router.ready
        with m.If(self.dispatch):
            packed = packer.i.valid & packer.i.ready
            m.d.comb += leave.done.eq(packed | (leave.i.valid & leave.i.ready))
            # How many there are depends on the routes: such a layer ends when nothing is busy.
            m.d.sync += tile.slice_done.eq(0)
        with m.Elif(self.out):
            m.d.sync += tile.slice_done.eq(routed)

    def _merge(self) -> None:
        """Counts of the experts' spikes, and their way into the residual stream."""
        m, tile, preset = self.m, self.tile, self.preset
        engine, steps = preset.engine, preset.network.time_steps
        bits, rows = preset.network.moe.most.bit_length(), tile.map.residual_rows
        layout = counts_layout(engine.neuron_lanes, steps, bits)
        m.submodules.counted = memory = Storage(rows, layout.size, exclusive=True)
        m.submodules.merge = merge = AlignedMerge(
            sources=engine.tiles, lanes=engine.neuron_lanes, time_steps=steps, bits=bits, rows=rows
        )
        connect_write(m, memory, merge)
        for index in range(engine.tiles):
            wiring.connect(m, wiring.flipped(tile.counts[index]), merge.i[index])
        residual, sums = m.submodules.residual, m.submodules.sums
        m.d.comb += [
            memory.read_addr.eq(merge.read_addr),
            memory.read_en.eq(merge.read_en),
            merge.read_data.eq(memory.read_data),
            merge.clear.eq(tile.start & tile.config.experts.route),
            merge.start.eq(tile.start & tile.config.experts.merge),
            merge.o.ready.eq(residual.i.ready & self.merging),
            tile.merge_busy.eq(merge.busy),
        ]
        with m.If(self.merging):
            m.d.comb += [residual.i.valid.eq(merge.o.valid), sums.o.ready.eq(0)]
            for lane in range(engine.neuron_lanes):
                for step in range(steps):
                    ones = merge.o.payload.counts[lane][step] << preset.quant.frac_bits
                    m.d.comb += residual.i.payload.sums[lane][step].eq(ones)
