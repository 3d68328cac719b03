"""cocotb tests of the accelerator behind AXI ports, with cocotbext-axi at every port.

Runs in the simulator's process, so it reads its job from a file and imports no torch.
"""

import logging
import os
import pickle
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, First, RisingEdge
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiResp,
    AxiStreamBus,
    AxiStreamSink,
    AxiStreamSource,
)

from hw.frames import (
    VERSION,
    Status,
    decode,
    info_request,
    parse_cycles,
    parse_info,
    parse_words,
    read_request,
    run_request,
)
from hw.register_map import RegisterMap
from hw.spaces import LOGITS

from .accelerator_bench import signed

# Cycles after which a run, or a reply, counts as lost.
LIMIT = 200_000
DONE, ERROR = 1, 2


@dataclass(frozen=True)
class AxiJob:
    """What to run.

    Members
    -------
    map : registers
    fingerprint : that they and INFO must tell
    load : frames that load the checkpoint
    images : for each image, the frames that load it
    logits : for each image, the integer model's logits
    """

    map: RegisterMap
    fingerprint: int
    load: list[bytes]
    images: list[list[bytes]]
    logits: list[list[int]]


def pauses(seed: str, chance: float) -> Iterator[bool]:
    """Stall in bursts of one to four cycles."""
    rng = random.Random(seed)
    while True:
        stall = rng.random() < chance
        yield from (stall for _ in range(rng.randint(1, 4)))


class Bench:
    """The ports of an accelerator, and what a driver does with them.

    Parameters
    ----------
    dut : what cocotb gives to the test
    stalls : chance of a stall on each channel
    """

    def __init__(self, dut: object, stalls: float) -> None:
        self.dut = dut
        self.job: AxiJob = pickle.loads(Path(os.environ["JOB"]).read_bytes())
        logging.getLogger("cocotb.accelerator_axi").setLevel("WARNING")
        reset = {"reset": dut.aresetn, "reset_active_level": False}
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.aclk, **reset)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.aclk, **reset)
        self.bus = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.aclk, **reset)
        if stalls:
            write, read = self.bus.write_if, self.bus.read_if
            channels = (write.aw_channel, write.w_channel, write.b_channel)
            channels += (read.ar_channel, read.r_channel, self.source, self.sink)
            for index, channel in enumerate(channels):
                channel.set_pause_generator(pauses(f"{os.environ['SEED']}:{index}", stalls))

    async def start(self) -> None:
        """Start the clock and reset."""
        Clock(self.dut.aclk, 10, "ns").start()
        self.dut.aresetn.value = 0
        await ClockCycles(self.dut.aclk, 4)
        self.dut.aresetn.value = 1
        await ClockCycles(self.dut.aclk, 2)

    async def read(self, name: str, offset: int = 0) -> int:
        """Read a register or a word of a memory."""
        answer = await self.bus.read(self.job.map.address(name) + offset, 4)
        assert answer.resp == AxiResp.OKAY, f"{name} + {offset}: {answer.resp.name}"
        return int.from_bytes(answer.data, "little")

    async def write(self, name: str, value: int) -> None:
        """Write a register."""
        data = value.to_bytes(4, "little")
        answer = await self.bus.write(self.job.map.address(name), data)
        assert answer.resp == AxiResp.OKAY, f"{name}: {answer.resp.name}"

    async def ask(self, request: bytes, status: Status = Status.OK) -> bytes:
        """Send a packet of one frame and take the payload of its reply."""
        await self.source.send(request)
        reply = decode(bytes((await self.sink.recv()).tdata))
        assert reply.kind == status, f"reply has status {reply.kind}: must be {status.value}"
        return reply.payload

    async def run(self) -> int:
        """Start a run and wait for its interrupt; the status that it ended with."""
        await self.write("irq_enable", DONE)
        await self.write("control", 1)
        interrupt = RisingEdge(self.dut.irq)
        assert await First(interrupt, ClockCycles(self.dut.aclk, LIMIT)) is interrupt, "no end"
        word = await self.read("status")
        assert not word & 1, "busy after the end"
        await self.write("irq_pending", DONE)
        assert self.dut.irq.value == 0, "the interrupt was not cleared"
        return word >> 8 & 0xFF

    async def check_image(self, wanted: list[int]) -> None:
        """Compare what the registers and a frame say of the last run."""
        words = [await self.read("logits", 4 * index) for index in range(len(wanted))]
        assert [signed(word) for word in words] == wanted
        assert await self.read("answer") == wanted.index(max(wanted))
        framed = parse_words(await self.ask(read_request(LOGITS, 0, len(wanted))), len(wanted))
        assert list(framed) == words


@cocotb.test()
@cocotb.parametrize(stalls=(0.0, 0.4))
async def classifies(dut: object, stalls: float) -> None:
    """Logits and answer of every image are those of the integer model, started either way."""
    bench = Bench(dut, stalls)
    await bench.start()
    for request in bench.job.load:
        await bench.ask(request)
    for index, (requests, wanted) in enumerate(
        zip(bench.job.images, bench.job.logits, strict=True)
    ):
        for request in requests:
            await bench.ask(request)
        status = await bench.run()
        assert status == Status.OK, f"image {index}: status {status}"
        await bench.check_image(wanted)
        assert await bench.read("cycles") == parse_cycles(await bench.ask(run_request()))
    assert bench.sink.empty(), "a reply too many"
    assert await bench.read("errors") == 0


@cocotb.test()
async def registers(dut: object) -> None:
    """Who it is, and what it does with addresses and bytes that make no sense."""
    bench = Bench(dut, 0.4)
    await bench.start()
    job, places = bench.job, bench.job.map
    assert (await bench.read("id")).to_bytes(4, "big") == b"SPKS"
    assert await bench.read("version") & 0xFF == VERSION
    assert await bench.read("fingerprint") == job.fingerprint
    assert parse_info(await bench.ask(info_request())) == (job.fingerprint, VERSION)
    assert await bench.read("size") == len(job.logits[0])
    memory = places.memories[0]
    known = {each.address for each in places.registers if each.readable}
    known |= {memory.address + 4 * word for word in range(memory.words)}
    written = {each.address for each in places.registers if each.writable}
    edges = {0, 1 << places.address_bits, memory.address, memory.address + 4 * memory.words}
    edges |= {each.address for each in places.registers}
    around = {at + step for at in edges for step in (-4, 0, 4)}
    for at in sorted(at for at in around if 0 <= at < 1 << places.address_bits):
        answer = await bench.bus.read(at, 4)
        good = AxiResp.OKAY if at in known else AxiResp.SLVERR
        assert answer.resp == good, f"read of {at:#x} answers {answer.resp.name}"
        if at != places.address("control"):
            answer = await bench.bus.write(at, bytes(4))
            good = AxiResp.OKAY if at in written else AxiResp.SLVERR
            assert answer.resp == good, f"write of {at:#x} answers {answer.resp.name}"
    # A byte without its strobe stays; no event, no interrupt.
    enable = places.address("irq_enable")
    await bench.write("irq_enable", DONE | ERROR)
    await bench.bus.write(enable + 1, bytes(3))
    assert await bench.read("irq_enable") == DONE | ERROR
    assert await bench.read("irq_pending") == 0
    assert dut.irq.value == 0


@cocotb.test()
async def errors(dut: object) -> None:
    """Bad frames are counted and reported, and what follows them works."""
    bench = Bench(dut, 0.2)
    await bench.start()
    await bench.write("irq_enable", ERROR)
    bad = bytearray(info_request())
    bad[-1] ^= 1
    await bench.ask(bytes(bad), Status.CHECKSUM)
    await ClockCycles(dut.aclk, 4)
    assert dut.irq.value == 1
    assert await bench.read("irq_pending") == ERROR
    await bench.write("irq_pending", ERROR)
    assert dut.irq.value == 0
    assert (await bench.read("replies"), await bench.read("errors")) == (1, 1)
    # Bytes outside a frame have no reply; a cut frame spoils the run that comes next, and no more.
    await bench.source.send(b"stray")
    await bench.ask(info_request())
    # Cut in its length, it takes the sync byte of the run's frame for the upper half.
    for size, status in ((4, Status.CHECKSUM), (3, Status.LENGTH)):
        await bench.source.send(info_request()[:size])
        await bench.source.wait()
        assert await bench.run() == status
        assert await bench.run() == Status.OK
    # A start within a packet waits for its end, whoever is slow.
    frame = info_request()
    bench.source.clear_pause_generator()
    bench.source.pause = True
    await bench.source.send(frame)
    bench.source.pause = False
    await bench.write("control", 1)
    reply = decode(bytes((await bench.sink.recv()).tdata))
    assert reply.kind == Status.OK
    while await bench.read("status") & 1:
        pass
    assert await bench.read("status") >> 8 == Status.OK
    assert bench.sink.empty()
