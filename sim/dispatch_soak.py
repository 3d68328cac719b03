"""Random tokens through dispatcher, feeds, exits and merges of all tiles, checked in hardware.

Everything that tokens pass through is real but for the datapath of a tile, in whose place stand
experts that take a random time.
"""

from dataclasses import dataclass

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.spec import SpecError
from hw.aligned_merge import AlignedMerge
from hw.dispatcher import Dispatcher
from hw.expert_exit import ExpertExit
from hw.expert_feed import ExpertFeed
from hw.layer_config import ConfigSizes
from hw.relay import Relay
from hw.spike_queue import SpikeQueue
from hw.storage import Storage, connect_write

ENTRIES = 8  # bundles of a chunk
CHUNKS = 2  # of a token: its number, and the complement
TOKEN_ROWS = 2  # rows of counts of a token in a tile
GROUP_ROWS = 4  # weight rows of an output group
SIZES = ConfigSizes(
    addr=12, row=12, grid=3, taps=2, chunks=2, groups=6, bias=10, spikes=4, slices=6, experts=True
)


@dataclass(frozen=True)
class Shape:
    """What is soaked.

    Members
    -------
    tiles, experts : powers of two
    steps : T; routes have as many bits
    tokens : of a pass, a power of two, at most 64
    queue : tokens that may wait for a tile

    Raises
    ------
    SpecError
        If a number is not one that the bench can do.
    """

    tiles: int = 4
    experts: int = 8
    steps: int = 2
    tokens: int = 64
    queue: int = 4

    def __post_init__(self) -> None:
        for name, known in (("tiles", (1, 2, 4, 8)), ("experts", (1, 2, 4, 8)), ("steps", (1, 2))):
            if (value := getattr(self, name)) not in known:
                raise SpecError(f"{name} is {value}: must be one of {', '.join(map(str, known))}")
        if self.experts < self.tiles:
            raise SpecError(f"experts is {self.experts}: must be a multiple of tiles, {self.tiles}")

    @property
    def groups(self) -> int:
        """Output groups of an expert, of a slice each: the slices of a token in all tiles."""
        return self.tiles * TOKEN_ROWS


def noise(m: Module, name: str, seed: Value, load: Value) -> Signal:
    """32 new random bits a cycle (xorshift)."""
    state = Signal(32, init=1, name=name)
    x = Signal(32, name=f"{name}_x")
    y = Signal(32, name=f"{name}_y")
    m.d.comb += [x.eq(state ^ (state << 13)), y.eq(x ^ (x >> 17))]
    salt = sum(ord(letter) << (5 * k % 24) for k, letter in enumerate(name))
    m.d.sync += state.eq(Mux(load, (seed ^ salt) | 1, y ^ (y << 5)))
    return state


class SlowExperts(wiring.Component):
    """Stands for a tile's datapath: a slice a group, after a random time, in order.

    Parameters
    ----------
    shape : what is soaked
    feed, leave : of the tile, whose streams this joins

    Members
    -------
    first : In, number of the tile's first expert
    seed, load : In, of the noise
    pace : In, the higher, the more often all waits
    wrong : Out, a chunk, a bias or a row is not that of the job
    """

    def __init__(self, shape: Shape, feed: ExpertFeed, leave: ExpertExit) -> None:
        self.shape, self.feed, self.leave = shape, feed, leave
        super().__init__(
            {
                "first": In(range(shape.experts)),
                "seed": In(32),
                "load": In(1),
                "pace": In(3),
                "wrong": Out(1),
                "chunks": In(feed.signature.members["o"].signature),
                "biases": In(feed.signature.members["biases"].signature),
                "slices": Out(stream.Signature(leave.i.payload.shape())),
                "row": In(len(leave.jobs.payload.row)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build what takes chunks, what gives slices, and the queue between."""
        m = Module()
        shape, local_bits = self.shape, (self.shape.groups * GROUP_ROWS).bit_length() - 1
        random = noise(m, "random", self.seed, self.load)
        made = data.StructLayout({"token": range(shape.tokens), "local": range(shape.experts)})
        m.submodules.queue = queue = SpikeQueue(made, 3)
        token, group, second = Signal(range(shape.tokens)), Signal(range(shape.groups)), Signal()
        number, row = self.chunks.payload.bundles.as_value(), self.chunks.payload.row
        local, taken, opens = Signal(range(shape.experts)), Signal(), Signal()
        with m.If(~opens):
            m.d.sync += opens.eq(random[:3] >= self.pace)
        m.d.comb += [
            local.eq(row >> local_bits),
            self.chunks.ready.eq(opens & queue.i.ready),
            taken.eq(self.chunks.valid & self.chunks.ready),
            queue.i.valid.eq(self.chunks.valid & opens & self.chunks.payload.last),
            queue.i.payload.token.eq(token),
            queue.i.payload.local.eq(local),
            self.biases.ready.eq(taken & ~second & (group == 0)),
        ]
        complement = number[: len(token)] ^ number[len(token) : 2 * len(token)]
        with m.If(taken):
            m.d.sync += [opens.eq(0), second.eq(~second), token.eq(number)]
            with m.If(second):
                m.d.sync += group.eq(group + 1)
            in_place = row[:local_bits] == Cat(second, Const(0, 1), group)[:local_bits]
            wrong = (~complement != 0) | (second != self.chunks.payload.last) | ~in_place
            late = ~self.biases.valid | (self.biases.payload != (local << (local_bits - 2)))
            m.d.comb += self.wrong.eq(wrong | (self.biases.ready & late))

        offers = Signal()
        with m.If(~offers | self.slices.ready):
            m.d.sync += offers.eq((random[8:11] >= self.pace) & ~self.slices.valid)
        m.d.comb += [
            self.slices.valid.eq(offers & queue.o.valid),
            queue.o.ready.eq(offers & self.slices.ready),
        ]
        for lane in range(shape.experts):
            mine = lane == self.first + queue.o.payload.local
            m.d.comb += self.slices.payload.bundles[lane].eq(mine.replicate(shape.steps))
        with m.If(self.slices.valid & self.slices.ready):
            elsewhere = self.row != (queue.o.payload.token << (TOKEN_ROWS - 1))
            with m.If(elsewhere):
                m.d.comb += self.wrong.eq(1)
        return m


class DispatchSoak(wiring.Component):
    """Sends a pass of random tokens and counts what was lost or doubled.

    Parameters
    ----------
    shape : what is soaked

    Members
    -------
    go : In, high until ``done``
    seed : In, of everything random
    allowed, forced : In, a bit for each expert: may serve, serves every token
    pace : In, 0 to 7, the higher, the more often all waits
    done : Out, the pass is over
    served : Out, jobs of the pass: pairs of token and expert
    lost, doubled : Out, counts of a token, expert and tile below and above what they must be
    wrong : Out, cycles in which a job had another's chunks, biases or row
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        experts = shape.experts
        super().__init__(
            {
                **{"go": In(1), "seed": In(32), "allowed": In(experts), "forced": In(experts)},
                **{"pace": In(3), "done": Out(1)},
                **{name: Out(16) for name in ("served", "lost", "doubled", "wrong")},
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the blocks, the source of tokens, the checks and the order of things."""
        m = Module()
        shape, experts, steps = self.shape, self.shape.experts, self.shape.steps
        route_bits = experts * steps
        m.submodules.dispatcher = dispatcher = Dispatcher(
            tiles=shape.tiles,
            experts=experts,
            tokens=shape.tokens,
            entries=max(ENTRIES, 16 // steps),
            time_steps=steps,
            row_bits=SIZES.row,
            route_bits=steps,
            token_rows=TOKEN_ROWS,
        )
        m.submodules.routes = routes = Storage(shape.tokens, route_bits)
        m.d.comb += [
            routes.read_addr.eq(dispatcher.read_addr),
            routes.read_en.eq(dispatcher.read_en),
            dispatcher.read_data.eq(routes.read_data),
        ]
        load = Signal()
        random = noise(m, "tokens", self.seed, load)
        start, give = Signal(), Signal()
        parts = [self._tile(m, tile, dispatcher, load, start, give) for tile in range(shape.tiles)]
        self._cross(m, parts)
        self._source(m, dispatcher, random, start)

        # Routes as they were drawn, for the dispatcher and for the check.
        token, drawn = Signal(range(shape.tokens)), Signal(route_bits)
        known = Array(Signal(route_bits, name=f"routes{n}") for n in range(shape.tokens))
        for expert in range(experts):
            few = random[expert : expert + steps] & random[31 - expert - steps : 31 - expert]
            part = drawn.word_select(expert, steps)
            m.d.comb += part.eq(Mux(self.allowed[expert], few, 0))
            with m.If(self.forced[expert]):
                m.d.comb += part.eq((1 << steps) - 1)
        m.d.comb += [routes.write_addr.eq(token), routes.write_data.eq(drawn)]
        self._check(m, parts, known)

        busy = Cat(dispatcher.busy, *(part.busy for part in parts))
        with m.FSM():
            with m.State("IDLE"), m.If(self.go):
                m.d.comb += load.eq(1)
                m.d.sync += [token.eq(0), self.served.eq(0)]
                m.next = "FILL"
            with m.State("FILL"):
                m.d.comb += routes.write_en.eq(1)
                serves = [drawn.word_select(e, steps).any() for e in range(experts)]
                m.d.sync += [
                    token.eq(token + 1),
                    known[token].eq(drawn),
                    self.served.eq(self.served + sum(serves)),
                ]
                with m.If(token == shape.tokens - 1):
                    m.next = "START"
            with m.State("START"):
                m.d.comb += [start.eq(1), dispatcher.start.eq(1)]
                m.next = "RUN"
            with m.State("RUN"), m.If(~busy.any()):
                m.next = "GIVE"
            with m.State("GIVE"):
                m.d.comb += give.eq(1)
                m.next = "CHECK"
            with m.State("CHECK"), m.If(Cat(part.given for part in parts).all()):
                m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += self.done.eq(1)
                with m.If(~self.go):
                    m.next = "IDLE"
        with m.If(load):
            m.d.sync += [self.lost.eq(0), self.doubled.eq(0), self.wrong.eq(0)]
        return m

    def _tile(self, m: Module, tile: int, dispatcher, load, start, give) -> "Part":
        shape = self.shape
        token = dispatcher.o[tile].payload.shape()
        feed = ExpertFeed(
            sizes=SIZES,
            shape=token,
            tokens=shape.queue,
            chunks=CHUNKS,
            lanes=dispatcher.entries,
            all_lanes=dispatcher.entries,
            time_steps=shape.steps,
        )
        leave = ExpertExit(
            lanes=shape.experts,
            time_steps=shape.steps,
            job=feed.jobs.payload.shape(),
            tiles=shape.tiles,
            slices=TOKEN_ROWS,
            job_bits=SIZES.slices,
        )
        slow = SlowExperts(shape, feed, leave)
        rows = shape.tokens * TOKEN_ROWS
        merge = AlignedMerge(
            sources=shape.tiles, lanes=shape.experts, time_steps=shape.steps, bits=2, rows=rows
        )
        counts, relay = Storage(rows, len(merge.read_data)), Relay(leave.o.payload.shape())
        blocks = {"feed": feed, "leave": leave, "slow": slow, "merge": merge, "counts": counts}
        for name, block in (*blocks.items(), ("relay", relay)):
            m.submodules[f"{name}{tile}"] = block
        config = {
            "fetch": {
                **{"last_chunk": CHUNKS - 1, "last_group": shape.groups - 1},
                **{"group_rows": GROUP_ROWS, "chunk_rows": 1},
            },
            "experts": {
                **{"dispatch": 1, "last_slice": shape.groups - 1},
                **{"expert_rows": shape.groups * GROUP_ROWS, "expert_biases": shape.groups},
            },
        }
        connect_write(m, counts, merge)
        wiring.connect(m, dispatcher.o[tile], feed.tokens)
        wiring.connect(m, feed.o, slow.chunks)
        wiring.connect(m, feed.biases, slow.biases)
        wiring.connect(m, feed.jobs, leave.jobs)
        wiring.connect(m, slow.slices, leave.i)
        wiring.connect(m, leave.o, relay.i)
        m.d.comb += [
            feed.config.eq(SIZES.layout().const(config)),
            feed.start.eq(start),
            leave.start.eq(start),
            leave.last_slice.eq(shape.groups - 1),
            leave.done.eq(leave.o.valid & leave.o.ready),
            slow.first.eq(tile * shape.experts // shape.tiles),
            slow.seed.eq(self.seed ^ (tile << 16)),
            slow.load.eq(load),
            slow.pace.eq(self.pace),
            slow.row.eq(leave.jobs.payload.row),
            merge.clear.eq(load),
            merge.start.eq(give),
            merge.o.ready.eq(1),
            counts.read_addr.eq(merge.read_addr),
            counts.read_en.eq(merge.read_en),
            merge.read_data.eq(counts.read_data),
        ]
        with m.If(slow.wrong):
            m.d.sync += self.wrong.eq(self.wrong + 1)
        part = Part(relay, merge, Signal(name=f"busy{tile}"), Signal(name=f"given{tile}"))
        m.d.comb += part.busy.eq(feed.busy | relay.o.valid | merge.busy)
        return part

    def _cross(self, m: Module, parts: list["Part"]) -> None:
        for source, part in enumerate(parts):
            spikes = part.relay.o
            for target, other in enumerate(parts):
                into, here = other.merge.i[source], spikes.payload.tile == target
                m.d.comb += [
                    into.payload.eq(spikes.payload.payload),
                    into.valid.eq(spikes.valid & here),
                ]
                with m.If(here):
                    m.d.comb += spikes.ready.eq(into.ready)

    def _source(self, m: Module, dispatcher: Dispatcher, random: Value, start: Value) -> None:
        token, second, offers = Signal(range(self.shape.tokens)), Signal(), Signal()
        twice = Cat(token, ~token)
        chunk = dispatcher.i
        m.d.comb += [
            chunk.valid.eq(offers),
            chunk.payload.bundles.as_value().eq(twice),
            chunk.payload.last.eq(second),
        ]
        with m.If(~offers | chunk.ready):
            m.d.sync += offers.eq(random[16:19] >= self.pace)
        with m.If(chunk.valid & chunk.ready):
            m.d.sync += [second.eq(~second), token.eq(token + second)]
        with m.If(start):
            m.d.sync += [token.eq(0), second.eq(0)]

    def _check(self, m: Module, parts: list["Part"], known: Array) -> None:
        shape = self.shape
        losses, doubles = [], []
        for index, part in enumerate(parts):
            row = Signal(range(shape.tokens * TOKEN_ROWS), name=f"row{index}")
            with m.If(part.merge.start):
                m.d.sync += [row.eq(0), part.given.eq(0)]
            arrives = part.merge.o.valid & part.merge.o.ready
            with m.If(arrives):
                m.d.sync += row.eq(row + 1)
                with m.If(row == shape.tokens * TOKEN_ROWS - 1):
                    m.d.sync += part.given.eq(1)
            wanted = known[row >> (TOKEN_ROWS - 1)]
            for expert in range(shape.experts):
                for step in range(shape.steps):
                    got = part.merge.o.payload.counts[expert][step]
                    must = wanted.bit_select(expert * shape.steps + step, 1)
                    losses.append(arrives & (got < must))
                    doubles.append(arrives & (got > must))
        m.d.sync += [
            self.lost.eq(self.lost + sum(losses)),
            self.doubled.eq(self.doubled + sum(doubles)),
        ]


@dataclass(frozen=True)
class Part:
    """What a tile's checks look at."""

    relay: Relay
    merge: AlignedMerge
    busy: Signal
    given: Signal
