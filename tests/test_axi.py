"""AXI ports: register map, registers cycle by cycle, build products, whole networks."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from amaranth.sim import Simulator

from hw import axi_build
from hw.axi import OKAY, SLVERR
from hw.axi_build import TOP, build_axi
from hw.axi_registers import AxiRegisters
from hw.packet_port import PacketPort
from hw.register_map import compile_source, read_map
from sim.small_presets import small_preset as small_shape
from sim.verilator import tool_environment
from tests.small_networks import random_checkpoint, random_images, small_preset

CLASSES, FINGERPRINT = 5, 0x12345678


def make_registers(classes: int = CLASSES) -> AxiRegisters:
    values = {"classes": classes, "fingerprint": FINGERPRINT, "protocol": 1}
    return AxiRegisters(read_map(compile_source(**values)))


def play(body, classes: int = CLASSES) -> None:
    """Run a test bench on registers whose memory holds the word's number and 100."""
    dut = make_registers(classes)

    async def bench(ctx):
        await body(ctx, dut)

    async def memory(ctx):
        async for _, _, at, enable in ctx.tick().sample(dut.logits_addr, dut.logits_en):
            if enable:
                ctx.set(dut.logits_data, 100 + at)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.add_testbench(memory, background=True)
    simulator.run()


async def write(ctx, dut, address: int, value: int, strobe: int = 15) -> int:
    """Write, and check that the response comes after 2 cycles."""
    bus = dut.bus
    values = {"awaddr": address, "awvalid": 1, "wdata": value, "wstrb": strobe, "wvalid": 1}
    for name, each in values.items():
        ctx.set(getattr(bus, name), each)
    assert ctx.get(bus.awready) and ctx.get(bus.wready)
    await ctx.tick()
    ctx.set(bus.awvalid, 0)
    ctx.set(bus.wvalid, 0)
    ctx.set(bus.bready, 1)
    assert not ctx.get(bus.bvalid)
    await ctx.tick()
    assert ctx.get(bus.bvalid), f"no response to the write of {address:#x}"
    response = ctx.get(bus.bresp)
    await ctx.tick()
    return response


async def read(ctx, dut, address: int) -> tuple[int, int]:
    """Read, and check that data come after 3 cycles."""
    bus = dut.bus
    ctx.set(bus.araddr, address)
    ctx.set(bus.arvalid, 1)
    assert ctx.get(bus.arready)
    await ctx.tick()
    ctx.set(bus.arvalid, 0)
    ctx.set(bus.rready, 1)
    for _ in range(2):
        assert not ctx.get(bus.rvalid)
        await ctx.tick()
    assert ctx.get(bus.rvalid), f"no data from {address:#x}"
    answer = ctx.get(bus.rdata), ctx.get(bus.rresp)
    await ctx.tick()
    return answer


def test_reads():
    async def body(ctx, dut):
        ctx.set(dut.status_busy, 1)
        ctx.set(dut.status_result, 5)
        address = dut.map.address
        assert await read(ctx, dut, address("id")) == (0x53504B53, OKAY)
        assert await read(ctx, dut, address("fingerprint")) == (FINGERPRINT, OKAY)
        assert await read(ctx, dut, address("size")) == (CLASSES, OKAY)
        assert await read(ctx, dut, address("status")) == (0x501, OKAY)
        for word in range(CLASSES):
            assert await read(ctx, dut, address("logits") + 4 * word) == (100 + word, OKAY)
        for bad in (address("control"), address("errors") + 4, address("logits") + 4 * CLASSES):
            assert await read(ctx, dut, bad) == (0, SLVERR), f"{bad:#x}"

    play(body)


@pytest.mark.parametrize("classes", [1024, 1025, 2100])
def test_reads_of_many_logits(classes):
    """Words of a memory that begins at no multiple of its size, too."""

    async def body(ctx, dut):
        first = dut.map.address("logits")
        for word in (0, 1, 1023, classes // 2, classes - 1):
            assert await read(ctx, dut, first + 4 * word) == (100 + word, OKAY), word
        end = first + 4 * classes
        if end < 1 << dut.map.address_bits:
            assert await read(ctx, dut, end) == (0, SLVERR)

    play(body, classes)


def test_writes():
    async def body(ctx, dut):
        address = dut.map.address
        assert await write(ctx, dut, address("irq_enable"), 3) == OKAY
        assert (ctx.get(dut.irq_enable_done), ctx.get(dut.irq_enable_error)) == (1, 1)
        assert await write(ctx, dut, address("irq_enable"), 0, strobe=14) == OKAY
        assert ctx.get(dut.irq_enable_done) == 1
        for bad in ("id", "status", "logits"):
            assert await write(ctx, dut, address(bad), 1) == SLVERR, bad
        assert await write(ctx, dut, 0x800, 1) == SLVERR

    play(body)


def test_start_lasts_a_cycle():
    async def body(ctx, dut):
        seen = []

        async def watch():
            seen.append(ctx.get(dut.control_start))

        bus = dut.bus
        for name, value in {"awaddr": dut.map.address("control"), "wdata": 1, "wstrb": 15}.items():
            ctx.set(getattr(bus, name), value)
        ctx.set(bus.awvalid, 1)
        await ctx.tick()
        ctx.set(bus.awvalid, 0)
        # The address waits for its data.
        await ctx.tick().repeat(3)
        ctx.set(bus.wvalid, 1)
        await ctx.tick()
        ctx.set(bus.wvalid, 0)
        for _ in range(5):
            await watch()
            await ctx.tick()
        assert seen == [0, 1, 0, 0, 0]

    play(body)


def test_events_are_not_lost():
    """An event in the cycle in which software clears the one before."""

    async def body(ctx, dut):
        pending = dut.map.address("irq_pending")
        ctx.set(dut.irq_pending_done_set, 1)
        await ctx.tick()
        assert await write(ctx, dut, pending, 3) == OKAY
        assert ctx.get(dut.irq_pending_done) == 1
        ctx.set(dut.irq_pending_done_set, 0)
        assert await read(ctx, dut, pending) == (1, OKAY)
        assert await write(ctx, dut, pending, 2) == OKAY
        assert ctx.get(dut.irq_pending_done) == 1
        assert await write(ctx, dut, pending, 1) == OKAY
        assert ctx.get(dut.irq_pending_done) == 0

    play(body)


@pytest.mark.parametrize("classes", [0, 16384])
def test_classes_out_of_range(classes):
    with pytest.raises(ValueError, match=rf"^classes is {classes}: must be 1 to 16383$"):
        PacketPort(classes)


@pytest.fixture(scope="module")
def products(tmp_path_factory) -> Path:
    """Build products of a small preset."""
    root = tmp_path_factory.mktemp("axi")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(axi_build, "build_dir", lambda name: root / name)
        return build_axi(small_shape("point"), None)


def lint(folder: Path, text: str) -> str:
    source = folder / f"{TOP}.v"
    source.write_text(text)
    done = subprocess.run(
        ["verilator", "--lint-only", "-Wall", f"{TOP}.vlt", source.name, "--top-module", TOP],
        cwd=folder,
        env={**os.environ, **tool_environment()},
        capture_output=True,
        text=True,
    )
    return "" if done.returncode == 0 else done.stderr


def test_lint_is_clean(products):
    assert lint(products, (products / f"{TOP}.v").read_text()) == ""


def test_lint_sees_a_second_driver(products):
    text = (products / f"{TOP}.v").read_text()
    broken = text.replace("endmodule", "  assign irq = aclk;\nendmodule") + "\n"
    try:
        assert "%Warning" in lint(products, broken) or "%Error" in lint(products, broken)
    finally:
        (products / f"{TOP}.v").write_text(text)


def test_header_and_html_name_every_register(products):
    registers = read_map(
        compile_source(classes=CLASSES, fingerprint=FINGERPRINT, protocol=1)
    ).registers
    header = (products / f"{TOP}.h").read_text()
    missing = [
        register.name
        for register in registers
        if f"SPIKESTACK__{register.name.upper()}__" not in header
    ]
    assert not missing
    assert (products / "registers" / "index.html").is_file()


def test_fusesoc_knows_the_core(products):
    done = subprocess.run(
        [Path(sys.executable).with_name("fusesoc"), "--cores-root", products]
        + ["core", "show", "spikestack-point"],
        cwd=products,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^lint +: ", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.slow
def test_fusesoc_lints_the_core(products, tmp_path):
    done = subprocess.run(
        [Path(sys.executable).with_name("fusesoc"), "--cores-root", products]
        + ["run", "--target", "lint", "spikestack-point"],
        cwd=tmp_path,
        env={**os.environ, **tool_environment()},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_network_through_axi():
    """Images with stalls on every channel, every edge of the register map, bad frames."""
    from sim.axi import run_axi

    preset = small_preset()
    outcome = run_axi(random_checkpoint(preset), random_images(preset, 2))
    assert len(outcome.tests) == 4
