"""Expert feed: from tokens that wait to the chunks that a tile's synaptic array works on."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .expert_walk import ExpertWalk
from .fetcher import Fetcher
from .layer_config import ConfigSizes
from .layouts import chunk_layout
from .spike_queue import SpikeQueue
from .token_queue import TokenQueue, head_layout

# Jobs that may be under way between the walk and the neurons, in queues of as many rows and one.
JOBS = 7


class ExpertFeed(wiring.Component):
    """Queue, walk and fetch for the experts of a tile.

    Overview
    --------
    Experts use the tile's one datapath: what differs from a dense layer is where chunks come from,
    and that each job has biases of its expert and a token of its own. These two wait in queues
    until the job's sums and its spikes are there.

    Design
    ------
    ::

        tokens --> TokenQueue --> ExpertWalk --> Fetcher --> o
                        |            |  |           ^
                        +- chunks ---|--|-----------+------ spike_data
                                     |  +--> SpikeQueue --> biases
                                     +-----> SpikeQueue --> jobs

    Latency and resources
    ---------------------
    A chunk leaves 5 cycles after its token's last chunk came, if nothing waits before it, and one
    more for each of the tile's experts before the first that serves.

    Parameters
    ----------
    sizes : bits of the configuration
    shape : :func:`hw.layouts.token_layout`
    tokens, chunks : of the queue
    lanes, all_lanes : of a tile, and of all
    time_steps : T

    Members
    -------
    tokens : In, stream of ``shape``
    o : Out, stream of :func:`hw.layouts.chunk_layout`
    biases : Out, stream of the first bias row of each job
    jobs : Out, stream of :func:`hw.expert_walk.job_layout`; taken when the job is done
    start : In, a layer begins
    config : In, :meth:`hw.layer_config.ConfigSizes.layout` of the layer
    busy : Out, tokens wait or jobs are under way
    spike_addr, spike_en, spike_data : read port of the tile's spike memory
    """

    def __init__(
        self,
        *,
        sizes: ConfigSizes,
        shape: data.StructLayout,
        tokens: int,
        chunks: int,
        lanes: int,
        all_lanes: int,
        time_steps: int,
    ) -> None:
        self.sizes, self.shape, self.lanes, self.all_lanes = sizes, shape, lanes, all_lanes
        self.time_steps = time_steps
        self.queue = TokenQueue(shape, tokens=tokens, chunks=chunks)
        self.walk = ExpertWalk(sizes=sizes, head=head_layout(shape), time_steps=time_steps)
        self.fetcher = Fetcher(sizes=sizes, lanes=all_lanes, time_steps=time_steps)
        members = self.walk.signature.members
        super().__init__(
            {
                "tokens": In(stream.Signature(shape)),
                "o": Out(
                    stream.Signature(chunk_layout(self.fetcher.entries, time_steps, sizes.row))
                ),
                "biases": members["biases"],
                "jobs": members["jobs"],
                "start": In(1),
                "config": members["config"],
                "busy": Out(1),
                "spike_addr": Out(sizes.addr),
                "spike_en": Out(1),
                "spike_data": In(lanes * time_steps),
            }
        )

    def elaborate(self, platform) -> Module:
        """Join the blocks, and count the jobs under way."""
        m = Module()
        m.submodules.queue, m.submodules.walk = queue, walk = self.queue, self.walk
        m.submodules.fetcher = fetcher = self.fetcher
        wiring.connect(m, wiring.flipped(self.tokens), queue.i)
        wiring.connect(m, queue.head, walk.head)
        wiring.connect(m, walk.o, fetcher.i)
        wiring.connect(m, fetcher.o, wiring.flipped(self.o))
        for name in ("biases", "jobs"):
            before, after = getattr(walk, name), getattr(self, name)
            m.submodules[name] = waiting = SpikeQueue(before.payload.shape(), JOBS)
            wiring.connect(m, before, waiting.i)
            wiring.connect(m, waiting.o, wiring.flipped(after))

        under_way = Signal(range(JOBS + 2))
        begun = walk.jobs.valid & walk.jobs.ready
        m.d.sync += under_way.eq(under_way + begun - (self.jobs.valid & self.jobs.ready))
        own = self.config.experts.own
        m.d.comb += [
            self.busy.eq(queue.waits | (under_way != 0)),
            queue.start.eq(self.start),
            walk.start.eq(self.start),
            walk.config.eq(self.config),
            walk.base.eq(queue.base),
            queue.read_addr.eq(fetcher.read_addr),
            queue.read_en.eq(fetcher.read_en & ~own),
            self.spike_addr.eq(fetcher.read_addr),
            self.spike_en.eq(fetcher.read_en),
            # A row of one tile is the first part of a chunk, and the rest is silent.
            fetcher.spike_data.eq(Mux(own, self.spike_data, queue.read_data)),
        ]
        return m
