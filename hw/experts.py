"""Router, dispatcher and the ways between tiles, of a network with experts."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring

from .dispatcher import Dispatcher
from .merge import Merge
from .router import Router
from .storage import Storage, connect_write
from .tile import Tile
from .tile_experts import route_bits


class Experts:
    """Adds experts to an accelerator whose other blocks are there.

    Parameters
    ----------
    m : the accelerator's module
    accelerator : with ``preset``, ``widths``, ``map`` and ``sizes``
    tiles : its tiles
    """

    def __init__(self, m: Module, accelerator: wiring.Component, tiles: list[Tile]) -> None:
        self.m, self.tiles = m, tiles
        self.preset, self.map = accelerator.preset, accelerator.map
        net, engine = self.preset.network, self.preset.engine
        sizes, topk = accelerator.sizes, net.moe.mode == "topk"
        slices = self.map.slices_per_group
        router_layer = next(layer for layer in self.map.layers if layer.kind == "router")
        m.submodules.router = self.router = Router(
            experts=net.moe.experts,
            top_k=net.moe.top_k if topk else 0,
            lanes=engine.neuron_lanes,
            time_steps=net.time_steps,
            width=accelerator.widths.biased,
            slices=router_layer.groups(engine.all_lanes) * engine.tiles * slices,
            tokens=self.preset.tokens,
        )
        m.submodules.dispatcher = self.dispatcher = Dispatcher(
            tiles=engine.tiles,
            experts=net.moe.experts,
            tokens=self.preset.tokens,
            entries=m.submodules.fetcher.entries,
            time_steps=net.time_steps,
            row_bits=sizes.row,
            route_bits=route_bits(self.preset),
            token_rows=self.map.residual_rows // self.preset.tokens,
        )
        m.submodules.routes = routes = Storage(
            self.preset.tokens, net.moe.experts * route_bits(self.preset), exclusive=True
        )
        connect_write(m, routes, self.router)
        m.d.comb += [
            routes.read_addr.eq(self.dispatcher.read_addr),
            routes.read_en.eq(self.dispatcher.read_en),
            self.dispatcher.read_data.eq(routes.read_data),
        ]
        self._route(topk)
        self._dispatch()
        self._cross()

    def _route(self, topk: bool) -> None:
        """Sums, or what the router fires, from the tiles in the order of experts."""
        m, router = self.m, self.router
        config = m.submodules.sequencer.config
        merge, logits = m.submodules.merge, m.submodules.logits_sum
        m.d.comb += router.start.eq(m.submodules.sequencer.layer_start & config.experts.route)
        if topk:
            m.d.comb += [
                router.i.payload.eq(merge.o.payload),
                router.i.valid.eq(merge.o.valid & config.experts.route),
                logits.i.valid.eq(merge.o.valid & ~config.experts.route),
                merge.o.ready.eq(logits.i.ready | config.experts.route),
            ]
            return
        m.submodules.merge_router = spikes = Merge(
            router.i.payload.shape(), sources=len(self.tiles), run=self.map.slices_per_group
        )
        wiring.connect(m, spikes.o, router.i)
        for tile, source in zip(self.tiles, spikes.i, strict=True):
            wiring.connect(m, tile.router, source)

    def _dispatch(self) -> None:
        """Chunks to all tiles, or to those whose experts serve the token."""
        m, dispatcher = self.m, self.dispatcher
        walk, fetcher, fork = (m.submodules[name] for name in ("walk", "fetcher", "fork"))
        sequencer = m.submodules.sequencer
        config = sequencer.config
        m.d.comb += [
            dispatcher.start.eq(sequencer.layer_start & config.experts.dispatch),
            dispatcher.own.eq(config.experts.own),
            dispatcher.i.payload.eq(fetcher.o.payload),
        ]
        with m.If(config.experts.dispatch):
            m.d.comb += [
                # The walk visits each token once; its groups are the experts' own.
                walk.config.last_group.eq(0),
                dispatcher.i.valid.eq(fetcher.o.valid),
                fetcher.o.ready.eq(dispatcher.i.ready),
                fork.i.valid.eq(0),
            ]
        with m.If(config.experts.own | config.experts.merge):
            m.d.comb += walk.start.eq(0)
        for tile, tokens in zip(self.tiles, dispatcher.o, strict=True):
            wiring.connect(m, tokens, tile.tokens)

    def _cross(self) -> None:
        """From every tile's experts to every tile's counts."""
        m, sequencer = self.m, self.m.submodules.sequencer
        working, merging = Signal(len(self.tiles)), Signal(len(self.tiles))
        for source, tile in enumerate(self.tiles):
            spikes = tile.spikes_out
            m.d.comb += [
                working[source].eq(tile.experts_busy),
                merging[source].eq(tile.merge_busy),
            ]
            for target, other in enumerate(self.tiles):
                counts = other.counts[source]
                here = spikes.payload.tile == target
                m.d.comb += [
                    counts.payload.eq(spikes.payload.payload),
                    counts.valid.eq(spikes.valid & here),
                ]
                with m.If(here):
                    m.d.comb += spikes.ready.eq(counts.ready)
        m.d.comb += sequencer.busy.eq(
            self.router.busy
            | self.dispatcher.busy
            | working.any()
            | (merging.any() & sequencer.config.experts.own)
        )
