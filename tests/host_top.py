"""A small accelerator around the host port, and sessions of a host with it."""

import random
from itertools import pairwise

from amaranth.hdl import Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw import frames
from hw.frames import Space, Status
from hw.host_port import HostPort
from hw.row_loader import RowLoader, load_layout
from hw.storage import Storage
from tests.streams import STALL, run_stream

WRITE_SPACES = (Space("bias", 6, 12), Space("flag", 3, 8), Space("weights", 300, 33))
READ_SPACES = tuple(Space(space.name, space.rows, 32) for space in WRITE_SPACES)
MAX_PAYLOAD = 5 + 24
FINGERPRINT = 0xC0FFEE42
CYCLES = 0x01020304
PROBES = ("taken", "start", "done", "moved", "reset")


class Top(wiring.Component):
    """A host port with a loader and a memory for each space; READ reads the memories back."""

    def __init__(self, timeout=0):
        self.port = HostPort(
            write_spaces=WRITE_SPACES,
            read_spaces=READ_SPACES,
            max_payload=MAX_PAYLOAD,
            fingerprint=FINGERPRINT,
            timeout=timeout,
        )
        byte = stream.Signature(8)
        layout = load_layout(WRITE_SPACES)
        self.loaders = [
            RowLoader(index, space.rows, space.row_bits, layout=layout)
            for index, space in enumerate(WRITE_SPACES)
        ]
        names = dict.fromkeys(PROBES, Out(1))
        super().__init__(
            {"i": In(byte), "o": Out(byte), "gate": In(1, init=1), **names, "reset": In(1)}
        )

    def elaborate(self, platform):
        m = Module()
        port = self.port
        m.submodules.port = ResetInserter(self.reset)(port)
        wiring.connect(m, wiring.flipped(self.i), port.i)
        wiring.connect(m, wiring.flipped(self.o), port.o)
        m.d.comb += [
            port.load.ready.eq(self.gate),
            self.taken.eq(port.i.valid & port.i.ready),
            self.start.eq(port.start),
            self.done.eq(port.done),
            self.moved.eq(port.load.valid & port.load.ready),
        ]
        # A word is there for one cycle only, so the port must take it in exactly that cycle.
        asked, space = Signal(), Signal.like(port.read_space)
        m.d.sync += [asked.eq(port.read_en), space.eq(port.read_space)]
        m.d.comb += port.read_data.eq(0xBAD0BAD0)
        for index, loader in enumerate(self.loaders):
            storage = Storage(loader.rows, loader.row_bits)
            m.submodules += [ResetInserter(self.reset)(loader), storage]
            m.d.comb += [
                loader.i.payload.eq(port.load.payload),
                loader.i.valid.eq(port.load.valid & self.gate),
                storage.write_addr.eq(loader.write_addr),
                storage.write_en.eq(loader.write_en),
                storage.write_data.eq(loader.write_data),
                storage.read_addr.eq(port.read_addr),
                storage.read_en.eq(port.read_en & (port.read_space == index)),
            ]
            with m.If(asked & (space == index)):
                m.d.comb += port.read_data.eq(storage.read_data)
        # The run: done 20 cycles after start, and the count is there in that cycle only.
        timer = Signal(5)
        m.d.sync += timer.eq(Mux(port.start, 20, Mux(timer == 0, 0, timer - 1)))
        m.d.comb += [port.done.eq(timer == 1), port.cycles.eq(Mux(port.done, CYCLES, 7))]
        return m


class Session:
    """One simulation: sends bytes, checks all replies and the stream rules, and keeps a log.

    Parameters
    ----------
    wire : bytes to send
    replies : statuses and payloads that must come back
    skip : bytes that come back before them, not looked at
    background : further processes, called with context and session

    Members
    -------
    writes : the words written, in order, of each (space, row)
    reply_cycles : cycles in which the bytes of the replies left
    """

    def __init__(self, wire, replies, *, regime="none", seed=0, timeout=0, skip=0, background=()):
        self.top = Top(timeout)
        self.writes, self._probed, self._streams = {}, [], {"o": [], "load": []}
        self._regime, self._rng = regime, random.Random(f"{regime}{seed}")
        expected = b"".join(frames.encode(status, payload) for status, payload in replies)
        processes = [self._probe, self._watch, self._hold, self._stall]
        processes += [lambda ctx, process=process: process(ctx, self) for process in background]
        got, self.reply_cycles = run_stream(
            self.top,
            list(wire),
            skip + len(expected),
            regime=regime,
            seed=seed,
            limit=20_000,
            background=[_process(process) for process in processes],
        )
        self._check_replies(bytes(got[skip:]), expected)
        self._check_streams()

    def cycles(self, name):
        """Cycles in which a probe was high."""
        index = PROBES.index(name)
        return [cycle for cycle, values in enumerate(self._probed) if values[index]]

    async def _probe(self, ctx):
        signals = [getattr(self.top, name) for name in PROBES]
        async for _, _, *values in ctx.tick().sample(*signals):
            self._probed.append(values)

    async def _watch(self, ctx):
        ports = [
            port
            for loader in self.top.loaders
            for port in (loader.write_en, loader.write_addr, loader.write_data)
        ]
        async for _, _, *values in ctx.tick().sample(*ports):
            for space in range(len(WRITE_SPACES)):
                enable, row, word = values[3 * space : 3 * space + 3]
                if enable:
                    self.writes.setdefault((space, row), []).append(word)

    async def _hold(self, ctx):
        port = self.top.port
        signals = [
            signal
            for out in (port.o, port.load)
            for signal in (out.valid, out.ready, Value.cast(out.payload))
        ]
        async for _, _, *values in ctx.tick().sample(*signals):
            self._streams["o"].append(values[:3])
            self._streams["load"].append(values[3:])

    async def _stall(self, ctx):
        while self._regime in ("sink", "both"):
            ctx.set(self.top.gate, self._rng.random() >= STALL)
            await ctx.tick()

    def _check_replies(self, got, expected):
        different = [
            n for n, pair in enumerate(zip(got, expected, strict=True)) if len({*pair}) > 1
        ]
        assert not different, (
            f"host port, {self._regime}: replies differ from byte {different[0]} on: "
            f"{got.hex(' ')}, must be {expected.hex(' ')}"
        )

    def _check_streams(self):
        resets = set(self.cycles("reset"))
        for name, log in self._streams.items():
            for cycle, (now, then) in enumerate(pairwise(log)):
                valid, ready, payload = now
                if valid and not ready and cycle not in resets:
                    assert (then[0], then[2]) == (1, payload), (
                        f"host port, {name}: payload of cycle {cycle} did not hold: {now}, {then}"
                    )


def _process(method):
    """Give the simulator the coroutine function it asks for."""

    async def process(ctx):
        await method(ctx)

    return process


def words(*values):
    """Payload of a READ reply."""
    return b"".join(value.to_bytes(4, "little") for value in values)


def row_values(space, count, seed):
    """Random rows of a space."""
    rng = random.Random(seed)
    return [rng.getrandbits(WRITE_SPACES[space].row_bits) for _ in range(count)]


def load(space, first, values):
    """One LOAD frame of rows."""
    return frames.load_request(space, first, WRITE_SPACES[space].pack(values))


def broken(frame, place=-1):
    """Flip a bit of a frame."""
    frame = bytearray(frame)
    frame[place] ^= 0x10
    return bytes(frame)


def raw(command, payload):
    """Frame of any content with a good checksum."""
    return frames.encode(command, bytes(payload))


OK = (Status.OK, b"")
INFO = (Status.OK, frames.info_reply(FINGERPRINT))
RAN = (Status.OK, words(CYCLES))
