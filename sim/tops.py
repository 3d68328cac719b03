"""Blocks with what their other ports need, so that streams and constants alone test them."""

import random
from collections.abc import Mapping, Sequence

from amaranth.hdl import Module, Shape, Signal, Value, signed
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.drain import Drain
from hw.fetcher import Fetcher
from hw.layouts import bundles_layout
from hw.logits import LOGIT_BITS, Logits
from hw.packer import Packer
from hw.residual import Residual
from hw.storage import Storage
from hw.weight_fetch import WeightFetch
from hw.weights import Weights


class Rom(wiring.Component):
    """A memory with contents, read as :class:`hw.storage.Storage` is.

    Parameters
    ----------
    contents : rows
    width : bits a row

    Members
    -------
    read_addr, read_en, read_data : as of the storage
    """

    def __init__(self, contents: Sequence[int], width: int) -> None:
        self.contents, self.width = list(contents), width
        super().__init__(
            {
                "read_addr": In(range(len(self.contents))),
                "read_en": In(1),
                "read_data": Out(width),
            }
        )

    @classmethod
    def random(cls, rows: int, width: int, seed: int) -> "Rom":
        """Make one with random contents."""
        rng = random.Random(seed)
        return cls([rng.getrandbits(width) for _ in range(rows)], width)

    def elaborate(self, platform) -> Module:
        """Build the memory."""
        m = Module()
        m.submodules.rows = rows = memory.Memory(
            shape=self.width, depth=len(self.contents), init=self.contents
        )
        read = rows.read_port()
        m.d.comb += [
            read.addr.eq(self.read_addr),
            read.en.eq(self.read_en),
            self.read_data.eq(read.data),
        ]
        return m


class Top(wiring.Component):
    """A block and its memories; the block's ports that go to no memory are those of the top.

    A block that has ``start`` gets one in the first cycle after a reset as well.

    Parameters
    ----------
    block : what to test
    memories : by name, the memory and which port of the block goes to which of the memory's
    """

    def __init__(
        self,
        block: wiring.Component,
        memories: Mapping[str, tuple[wiring.Component, Mapping[str, str]]],
    ) -> None:
        self.block, self.memories = block, memories
        inner = {port for _, ports in memories.values() for port in ports}
        members = block.signature.members
        super().__init__({name: members[name] for name in members if name not in inner})

    def elaborate(self, platform) -> Module:
        """Join the block to its memories and to the ports."""
        m = Module()
        m.submodules.block = block = self.block
        for name, (store, ports) in self.memories.items():
            m.submodules[name] = store
            for ours, theirs in ports.items():
                if block.signature.members[ours].flow is Out:
                    m.d.comb += getattr(store, theirs).eq(getattr(block, ours))
                else:
                    m.d.comb += getattr(block, ours).eq(getattr(store, theirs))
        for name, member in self.signature.members.items():
            if member.is_signature:
                wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(block, name))
            elif name == "start":
                begun = Signal()
                m.d.sync += begun.eq(1)
                m.d.comb += block.start.eq(self.start | ~begun)
            elif member.flow is Out:
                m.d.comb += getattr(self, name).eq(getattr(block, name))
            else:
                m.d.comb += getattr(block, name).eq(getattr(self, name))
        return m


READ = {"read_addr": "read_addr", "read_en": "read_en"}
WRITE = {"write_addr": "write_addr", "write_en": "write_en", "write_data": "write_data"}


def drain_top(*, seed: int = 0, **parameters) -> Top:
    """Make a drain with random biases."""
    drain = Drain(**parameters)
    biases = Rom.random(drain.bias_rows, drain.neuron_lanes * drain.bias_bits, seed)
    ports = {"bias_addr": "read_addr", "bias_en": "read_en", "bias_data": "read_data"}
    return Top(drain, {"biases": (biases, ports)})


def weight_fetch_top(*, seed: int = 0, **parameters) -> Top:
    """Make a weight fetch with random weights in every row."""
    fetch = WeightFetch(**parameters)
    weights = Rom.random(1 << fetch.row_bits, fetch.lanes * fetch.weight_bits, seed)
    return Top(fetch, {"weights": (weights, READ | {"read_data": "read_data"})})


class LoadTop(wiring.Component):
    """A block with a write port, whose rows are written after every reset, before its stream runs.

    Parameters
    ----------
    block : has streams ``i`` and ``o``, and a write port
    rows : contents

    Members
    -------
    as the block's, without the write port
    """

    def __init__(self, block: wiring.Component, rows: Rom) -> None:
        self.block, self.rows = block, rows
        self.memories = {"weights": (rows, {})}
        members = block.signature.members
        super().__init__({name: members[name] for name in members if name not in WRITE})

    def elaborate(self, platform) -> Module:
        """Build the block, its contents and what writes them."""
        m = Module()
        m.submodules.block = block = self.block
        m.submodules.rows = rows = self.rows
        count = len(rows.contents)
        row, loaded = Signal(range(count + 1)), Signal(range(count + 1))
        m.d.comb += [
            rows.read_addr.eq(row),
            rows.read_en.eq(row != count),
            block.write_addr.eq(loaded),
            block.write_en.eq(loaded != row),
            block.write_data.eq(rows.read_data),
        ]
        m.d.sync += [row.eq(row + rows.read_en), loaded.eq(row)]
        begun = Signal()
        m.d.sync += begun.eq(loaded == count)
        for name in self.signature.members:
            if name not in {"i", "o"}:
                m.d.comb += getattr(block, name).eq(getattr(self, name))
        wiring.connect(m, wiring.flipped(self.o), block.o)
        m.d.comb += [
            block.i.payload.eq(self.i.payload),
            block.i.valid.eq(self.i.valid & begun),
            self.i.ready.eq(block.i.ready & begun),
        ]
        return m


def weights_top(*, seed: int = 0, **parameters) -> LoadTop:
    """Make the weights of a tile with random rows."""
    weights = Weights(**parameters)
    return LoadTop(weights, Rom.random(weights.rows, weights.lanes * weights.weight_bits, seed))


def fetcher_top(*, pixels: Sequence[int], spikes: Sequence[int], **parameters) -> Top:
    """Make a fetcher with the rows of the image and of the spike memory."""
    fetcher = Fetcher(**parameters)
    image, rows = Rom(pixels, 8), Rom(spikes, fetcher.lanes * fetcher.time_steps)
    return Top(
        fetcher,
        {
            "image": (image, READ | {"image_data": "read_data"}),
            "spikes": (rows, READ | {"spike_data": "read_data"}),
        },
    )


def residual_top(**parameters) -> Top:
    """Make a residual stream with its storage."""
    residual = Residual(**parameters)
    bits = residual.lanes * residual.time_steps * residual.stored_width
    store = Storage(residual.rows, bits)
    return Top(residual, {"residuals": (store, READ | {"read_data": "read_data"} | WRITE)})


class FillTop(wiring.Component):
    """A block that fills a storage, which is then read out, again and again.

    Parameters
    ----------
    block : takes a stream ``i`` after ``start`` and has a write port to a storage
    rows : rows of the storage, written from the first to the last before any is read
    shape : what is in a row

    Members
    -------
    i : In, as of the block
    o : Out, rows in order
    further inputs as of the block
    """

    def __init__(self, block: wiring.Component, rows: int, shape: object) -> None:
        self.block, self.rows, self.shape = block, rows, shape
        members = block.signature.members
        self._others = [name for name in members if name not in {"i", "start", *WRITE}]
        others = {name: members[name] for name in self._others}
        super().__init__({"i": members["i"], "o": Out(stream.Signature(shape)), **others})

    def elaborate(self, platform) -> Module:
        """Build the block, the storage and what alternates between them."""
        m = Module()
        m.submodules.block = block = self.block
        m.submodules.store = store = Storage(self.rows, Shape.cast(self.shape).width)
        m.d.comb += [
            block.i.payload.eq(self.i.payload),
            *(getattr(block, name).eq(getattr(self, name)) for name in self._others),
            *(getattr(store, theirs).eq(getattr(block, ours)) for ours, theirs in WRITE.items()),
        ]
        # What comes after the last word of a storage waits until the storage is read.
        full = block.write_en & (block.write_addr == self.rows - 1)
        with m.FSM():
            with m.State("START"):
                m.d.comb += block.start.eq(1)
                m.next = "FILL"
            with m.State("FILL"):
                m.d.comb += [
                    block.i.valid.eq(self.i.valid & ~full),
                    self.i.ready.eq(block.i.ready & ~full),
                ]
                with m.If(full):
                    m.next = "READ"
            read_out(m, store, self.o)
        return m


def read_out(m: Module, store: Storage, o: stream.Interface) -> None:
    """Add the state READ, which gives the rows of a storage to a stream and ends in START."""
    row = Signal(range(store.rows))
    m.d.comb += [store.read_addr.eq(row), Value.cast(o.payload).eq(store.read_data)]
    with m.State("READ"):
        m.d.comb += store.read_en.eq(1)
        m.next = "GIVE"
    with m.State("GIVE"):
        m.d.comb += o.valid.eq(1)
        with m.If(o.ready):
            m.d.sync += row.eq(row + 1)
            m.next = "READ"
            with m.If(row == store.rows - 1):
                m.d.sync += row.eq(0)
                m.next = "START"


def packer_top(**parameters) -> FillTop:
    """Make a packer with its storage."""
    packer = Packer(**parameters)
    return FillTop(packer, packer.rows, bundles_layout(packer.lanes, packer.time_steps))


def logits_top(**parameters) -> FillTop:
    """Make the logits with their storage."""
    logits = Logits(**parameters)
    return FillTop(logits, logits.words, signed(LOGIT_BITS))
