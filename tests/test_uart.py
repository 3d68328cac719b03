"""UART: pins against times computed here, and loops over both directions."""

import random
import re

import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from typer.testing import CliRunner

from hw.build import TIMEOUT_CYCLES
from hw.uart import Uart
from hw.uart_top import SLOWEST_DIVISOR
from sim.__main__ import app
from tests.streams import REGIMES, run_stream

DIVISORS = (4, 5, 8, 16)


class Loop(wiring.Component):
    """A UART whose ``tx`` is its ``rx``."""

    def __init__(self, divisor):
        self.divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.uart = uart = Uart(self.divisor)
        wiring.connect(m, wiring.flipped(self.i), uart.i)
        wiring.connect(m, wiring.flipped(self.o), uart.o)
        m.d.comb += uart.rx.eq(uart.tx)
        return m


def bits_of(byte, stop=1):
    """Start bit, data, stop bit."""
    return [0, *((byte >> place) & 1 for place in range(8)), stop]


def line_of(levels, period, *, phase=0.0, lead=3, tail=20):
    """Level in each cycle of a line whose bits last ``period`` cycles; idle before and after."""
    line = [1] * lead
    for cycle in range(int(len(levels) * period + phase) + 1):
        place = int((cycle - phase) // period)
        line.append(levels[place] if 0 <= place < len(levels) else 1)
    return line + [1] * tail


def receive(uart, line, ready=lambda cycle: 1):
    """Drive ``rx`` cycle by cycle; return (cycle, byte) of each transfer at ``o``."""
    got = []

    async def bench(ctx):
        for cycle, level in enumerate(line):
            ctx.set(uart.rx, level)
            ctx.set(uart.o.ready, ready(cycle))
            if ctx.get(uart.o.valid) and ready(cycle):
                got.append((cycle, ctx.get(uart.o.payload)))
            await ctx.tick()

    simulator = Simulator(uart)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return got


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("divisor", DIVISORS)
def test_loop(divisor, regime):
    """What is sent is received, in any stall regime whose stalls are shorter than a byte."""
    rng = random.Random(divisor)
    sent = [0x00, 0xFF, 0xA5, 0x55, *(rng.randrange(256) for _ in range(20))]
    got, _ = run_stream(Loop(divisor), sent, len(sent), regime=regime, seed=divisor)
    assert got == sent, f"uart, divisor {divisor}, regime {regime}"


@pytest.mark.parametrize("divisor", DIVISORS)
def test_timing(divisor):
    """Cycles of the docstring, of both directions."""
    got = receive(Uart(divisor), line_of(bits_of(0x3C), divisor, lead=0))
    assert got == [(9 * divisor + (divisor - 1) // 2 + 3, 0x3C)]

    uart = Uart(divisor)
    levels, taken = [], []

    async def bench(ctx):
        ctx.set(uart.i.valid, 1)
        for cycle in range(20 * divisor + 1):
            ctx.set(uart.i.payload, 0xC1 if cycle == 0 else 0x3A)
            levels.append(ctx.get(uart.tx))
            if ctx.get(uart.i.ready):
                taken.append(cycle)
            await ctx.tick()

    simulator = Simulator(uart)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert taken == [0, 10 * divisor, 20 * divisor]
    bits = [1, *(bit for byte in (0xC1, 0x3A) for bit in bits_of(byte) for _ in range(divisor))]
    assert levels == bits


@pytest.mark.parametrize("mismatch", [-0.02, -0.01, 0.01, 0.02])
@pytest.mark.parametrize("divisor", DIVISORS)
def test_mismatch(divisor, mismatch):
    """A sender off by up to 2 %, back to back, at any phase of the clock."""
    sent = [0x00, 0xFF, 0x55, 0xAA, 0x80, 0x01]
    levels = [bit for byte in sent for bit in bits_of(byte)]
    for phase in (0, 3, 6, 9):
        line = line_of(levels, divisor * (1 + mismatch), phase=phase / 10)
        got = [byte for _, byte in receive(Uart(divisor), line)]
        assert got == sent, f"uart, divisor {divisor}, {mismatch:+.0%}, phase {phase / 10}"


@pytest.mark.parametrize("divisor", DIVISORS)
def test_too_slow_a_sender_is_seen(divisor):
    """The tolerance of the docstring is where it ends: this test can see a wrong bit."""
    limit = (divisor / 2 - 1) / (9 * divisor)
    sent = [0x7F, 0x7F]
    for excess, right in ((-0.004, True), (0.03, False)):
        levels = [bit for byte in sent for bit in bits_of(byte)]
        got = {
            tuple(byte for _, byte in receive(Uart(divisor), line))
            for line in (
                line_of(levels, divisor * (1 + limit + excess), phase=phase / 10)
                for phase in range(10)
            )
        }
        assert (got == {tuple(sent)}) == right


@pytest.mark.parametrize("divisor", DIVISORS)
def test_framing_error(divisor):
    """A byte without a stop bit is dropped, and so is a line that stays low; the next counts."""
    broken = [*bits_of(0x31, stop=0), *[0] * 25, 1]
    levels = [*bits_of(0x12), *broken, *bits_of(0x34)]
    assert [byte for _, byte in receive(Uart(divisor), line_of(levels, divisor))] == [0x12, 0x34]


@pytest.mark.parametrize("divisor", DIVISORS)
def test_glitches(divisor):
    """A low shorter than half a bit is no start bit, wherever in an idle line it comes."""
    for width in range(1, (divisor - 1) // 2 + 1):
        glitch = [1] * divisor + [0] * width + [1] * divisor
        line = [*glitch, *glitch, *line_of(bits_of(0x5A), divisor), *glitch, *[1] * 12 * divisor]
        assert [byte for _, byte in receive(Uart(divisor), line)] == [0x5A], f"width {width}"


def test_overrun_loses_the_later_byte():
    """The byte that waits stays; those that come meanwhile are lost; afterwards all is well."""
    levels = [bit for byte in (1, 2, 3) for bit in bits_of(byte)]
    line = line_of(levels, 4, tail=0) + line_of(bits_of(4), 4)
    got = receive(Uart(4), line, ready=lambda cycle: cycle >= 125)
    assert [byte for _, byte in got] == [1, 4]


def test_reset_in_mid_byte():
    """After a reset in the middle of a byte each way, the line is idle and the next byte whole."""
    from amaranth.hdl import ResetInserter, Signal

    reset, loop = Signal(), Loop(8)
    dut = ResetInserter(reset)(loop)
    got = []

    async def bench(ctx):
        for byte in (0x00, 0x6B):
            ctx.set(loop.i.payload, byte)
            ctx.set(loop.i.valid, 1)
            await ctx.tick()
            ctx.set(loop.i.valid, 0)
            for cycle in range(40 if byte == 0 else 120):
                ctx.set(reset, byte == 0 and cycle == 39)
                if ctx.get(loop.o.valid):
                    got.append(ctx.get(loop.o.payload))
                ctx.set(loop.o.ready, 1)
                await ctx.tick()
            ctx.set(reset, 0)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert got == [0x6B]


@pytest.mark.parametrize("divisor", [3, 0, -1])
def test_bad_divisor(divisor):
    text = f"divisor is {divisor}: must be 4 or more cycles a bit"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Uart(divisor)


@pytest.mark.parametrize("divisor", [3, 5001])
def test_divisors_that_no_board_can_have(divisor):
    """The slowest line leaves room for a pause of a byte within the host port's time limit."""
    assert 2 * 10 * SLOWEST_DIVISOR <= TIMEOUT_CYCLES
    done = CliRunner().invoke(app, ["uart", "--divisor", str(divisor)])
    assert done.exit_code == 2
    assert done.stderr == (
        f"error: divisor of the UART is {divisor}: must be 4 to 5000 cycles a bit; the host port"
        " drops a frame that stops for 100000 cycles\n"
    )
