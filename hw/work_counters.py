"""Counters of tiles and experts, read by the host."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.schedule import network_layers
from golden.spec import Preset

from .sequencer import COUNTER_BITS

# Words of a tile, in order.
TILE_WORDS = ("busy", "starved", "stalled")


def work_names(preset: Preset) -> list[str]:
    """What each word of the counters is: of every tile, then of every router's experts."""
    if not preset.engine.counters or (preset.engine.tiles == 1 and preset.network.moe is None):
        return []
    tiles = [f"tile{n}.{word}" for n in range(preset.engine.tiles) for word in TILE_WORDS]
    routers = [layer for layer in network_layers(preset) if layer.kind == "router"]
    tokens = [f"{layer.name}.expert{e}" for layer in routers for e in range(layer.outputs)]
    return tiles + tokens


class WorkCounters(wiring.Component):
    """Count what tiles do in a run, and the tokens of each expert.

    Overview
    --------
    In each cycle a tile is busy (an event is on its way to its synaptic array), stalled (one waits
    for what comes behind it) or starved. Every router of the network has its own experts.

    Latency and resources
    ---------------------
    ``read_data`` follows ``read_addr`` by a cycle. 96 flip-flops a tile, ``ceil(log2(N + 1))`` an
    expert, and a multiplexer of all words.

    Parameters
    ----------
    tiles : number of tiles
    experts : of a router; 0 without
    routers : how many there are
    tokens : N

    Members
    -------
    start : In, a run begins
    done : In, it ends
    busy, stalled : In, a bit for each tile
    route : In, a router begins
    served : In, a bit for each expert: it gets a token
    read_addr, read_en, read_data : words, in the order of :func:`work_names`
    """

    def __init__(self, *, tiles: int, experts: int, routers: int, tokens: int) -> None:
        self.tiles, self.experts, self.routers, self.tokens = tiles, experts, routers, tokens
        self.words = len(TILE_WORDS) * tiles + routers * experts
        super().__init__(
            {
                "start": In(1),
                "done": In(1),
                "busy": In(tiles),
                "stalled": In(tiles),
                "route": In(1),
                "served": In(experts),
                "read_addr": In(range(self.words)),
                "read_en": In(1),
                "read_data": Out(COUNTER_BITS),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the counters and the multiplexer."""
        m = Module()
        runs, router = Signal(), Signal(range(self.routers + 1))
        words = []

        def count(event: object, bits: int, name: str) -> None:
            word = Signal(bits, name=name)
            m.d.sync += word.eq(Mux(self.start, 0, word + event))
            words.append(word)

        for tile in range(self.tiles):
            busy, stalled = self.busy[tile], self.stalled[tile]
            for name, event in zip(
                TILE_WORDS, (busy, ~(busy | stalled), stalled & ~busy), strict=True
            ):
                count(runs & event, COUNTER_BITS, f"tile{tile}_{name}")
        for index in range(self.routers):
            for expert in range(self.experts):
                here = self.served[expert] & (router == index + 1)
                count(here, self.tokens.bit_length(), f"router{index}_expert{expert}")

        with m.If(self.start):
            m.d.sync += [runs.eq(1), router.eq(0)]
        with m.Elif(self.done):
            m.d.sync += runs.eq(0)
        with m.If(self.route):
            m.d.sync += router.eq(router + 1)
        with m.If(self.read_en), m.Switch(self.read_addr):
            for index, word in enumerate(words):
                with m.Case(index):
                    m.d.sync += self.read_data.eq(word)
        return m
