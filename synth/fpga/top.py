"""A board's top: PLL and reset around the accelerator behind its UART."""

from math import ceil

from amaranth.hdl import ClockDomain, Const, Elaboratable, Instance, Module, Signal
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer

from golden.ranges import Widths
from golden.spec import Preset, SpecError
from hw.uart_top import FASTEST_DIVISOR, SLOWEST_DIVISOR, UartTop

from .boards import Board
from .clocking import Pll, ecp5_pll, ice40_pll

BAUD_RATES = (3_000_000, 2_000_000, 1_000_000, 500_000, 230_400, 115_200)
# The UART bears 2.7 % or more; the adapter at the other end has its own error.
MAX_BAUD_ERROR = 0.015


def make_pll(board: Board, mhz: float) -> Pll | None:
    """Choose the PLL of a board for a wanted clock; None if the crystal has it already."""
    source = board.clock[1]
    if mhz == source:
        return None
    return ecp5_pll(source, mhz) if board.family == "ecp5" else ice40_pll(source, mhz)


def baud_rates(board: Board, mhz: float) -> list[int]:
    """Rates that the board's adapter and a clock can make, fastest first."""
    return [
        rate for rate in BAUD_RATES if rate <= board.baud and _baud_error(mhz, rate) is not None
    ]


def check_baud(board: Board, mhz: float, baud: int) -> None:
    """Refuse a rate that the board's adapter or its clock cannot make, or that is too slow.

    Raises
    ------
    SpecError
        With the usual rates that are possible.
    """
    # Where bytes take longer, the host port gives frames up between them.
    slowest = ceil(mhz * 1e6 / SLOWEST_DIVISOR)
    if not slowest <= baud <= board.baud or _baud_error(mhz, baud) is None:
        raise SpecError(
            f"{baud} baud is impossible on {board.name} at {mhz:g} MHz: must be {slowest} to"
            f" {board.baud}, {FASTEST_DIVISOR} cycles a bit or more, and within"
            f" {MAX_BAUD_ERROR:.1%}; for example {', '.join(map(str, baud_rates(board, mhz)))}"
        )


def _baud_error(mhz: float, baud: int) -> float | None:
    cycles = mhz * 1e6 / baud
    error = abs(round(cycles) / cycles - 1)
    return error if cycles >= FASTEST_DIVISOR and error <= MAX_BAUD_ERROR else None


class Top(Elaboratable):
    """The accelerator on a board, host frames on its UART.

    Overview
    --------
    Everything runs on one clock, from the board's PLL, and waits until the PLL has locked.

    Design
    ------
    ::

        crystal --> PLL --> clock, reset
        rx ---------------> UartTop ---------------> tx

    Parameters
    ----------
    board : where it runs
    preset, widths : as for :class:`hw.accelerator.Accelerator`
    pll : from :func:`make_pll`
    baud : of the UART

    Members
    -------
    mhz : the clock
    divisor : of the UART
    """

    def __init__(
        self, board: Board, preset: Preset, widths: Widths, *, pll: Pll | None, baud: int
    ) -> None:
        self.board, self.preset, self.widths = board, preset, widths
        self.pll, self.baud = pll, baud
        self.mhz = pll.frequency if pll else board.clock[1]
        check_baud(board, self.mhz, baud)
        self.divisor = round(self.mhz * 1e6 / baud)

    def elaborate(self, platform) -> Module:
        """Build clock and engine, and join them to the pins."""
        m = Module()
        self._clock(m, platform)
        m.submodules.engine = engine = UartTop(self.preset, self.widths, self.divisor)
        pins = platform.request("uart", 0, dir="-")
        m.submodules.rx = rx = io.Buffer("i", pins.rx)
        m.submodules.tx = tx = io.Buffer("o", pins.tx)
        m.d.comb += [engine.rx.eq(rx.i), tx.o.eq(engine.tx)]
        return m

    def _clock(self, m: Module, platform) -> None:
        """Make the clock domain; nextpnr derives its constraint from crystal and PLL."""
        # Flip-flops hold their initial values from configuration on, so no reset is needed where
        # the clock can wait for the PLL; a reset is a wire to a third of all flip-flops.
        gated = bool(self.pll) and self.board.family == "ecp5"
        m.domains.sync = domain = ClockDomain("sync", reset_less=gated)
        port = platform.request(self.board.clock[0], 0, dir="-")
        if self.board.pll == "pad" and self.pll:
            source = port.io
        else:
            m.submodules.crystal = crystal = io.Buffer("i", port)
            source = crystal.i
        locked = Signal(init=1)
        if self.pll:
            output = Signal()
            make = _ehxplll if self.board.family == "ecp5" else _sb_pll40
            m.submodules.pll = make(self.board, self.pll, source, output, locked)
        if gated:
            m.submodules.gate = Instance("DCCA", i_CLKI=output, i_CE=locked, o_CLKO=domain.clk)
        elif self.pll:
            m.d.comb += domain.clk.eq(output)
        else:
            m.d.comb += domain.clk.eq(source)
        if not gated:
            # Block RAMs of the iCE40 read 0 for a few microseconds more; the host is slower.
            m.submodules.reset = ResetSynchronizer(~locked, domain="sync")


def _ehxplll(board: Board, pll: Pll, source, output, locked: Signal) -> Instance:
    return Instance(
        "EHXPLLL",
        a_FREQUENCY_PIN_CLKI=f"{board.clock[1]:g}",
        a_FREQUENCY_PIN_CLKOP=f"{pll.frequency:g}",
        # Charge pump and loop filter as in Project Trellis' ecppll.
        a_ICP_CURRENT="12",
        a_LPF_RESISTOR="8",
        p_FEEDBK_PATH="CLKOP",
        p_CLKOP_ENABLE="ENABLED",
        p_CLKOP_CPHASE=pll.parameters["CLKOP_DIV"] - 1,
        **{f"p_{name}": value for name, value in pll.parameters.items()},
        i_CLKI=source,
        i_CLKFB=output,
        i_RST=Const(0),
        i_STDBY=Const(0),
        i_PLLWAKESYNC=Const(0),
        i_ENCLKOP=Const(0),
        o_CLKOP=output,
        o_LOCK=locked,
    )


def _sb_pll40(board: Board, pll: Pll, source, output, locked: Signal) -> Instance:
    pad = board.pll == "pad"
    return Instance(
        "SB_PLL40_PAD" if pad else "SB_PLL40_CORE",
        p_FEEDBACK_PATH="SIMPLE",
        **{f"p_{name}": value for name, value in pll.parameters.items()},
        **{"i_PACKAGEPIN" if pad else "i_REFERENCECLK": source},
        i_RESETB=Const(1),
        i_BYPASS=Const(0),
        o_PLLOUTGLOBAL=output,
        o_LOCK=locked,
    )
