"""Boards that the flow builds for, and what their devices hold."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from amaranth.build import Attrs
from amaranth_boards.ecpix5 import ECPIX585Platform
from amaranth_boards.ice40_hx8k_b_evn import ICE40HX8KBEVNPlatform
from amaranth_boards.icebreaker import ICEBreakerPlatform
from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_85FPlatform
from amaranth_boards.resources import UARTResource
from amaranth_boards.ulx3s import ULX3S_85F_Platform

from golden.spec import SpecError


@dataclass(frozen=True)
class Device:
    """What an FPGA holds, in its family's own units.

    Members
    -------
    lut4, ff : look-up tables of four inputs, flip-flops
    bram, bram_bits : block RAMs and bits of each
    spram : single-port RAMs of 256 Kibit (iCE40 UltraPlus only)
    multipliers : multiplier blocks
    """

    name: str
    lut4: int
    ff: int
    bram: int
    bram_bits: int
    multipliers: int
    spram: int = 0


LFE5_85 = Device("LFE5-85", 83640, 83640, 208, 18432, 156)
UP5K = Device("iCE40UP5K", 5280, 5280, 30, 4096, 8, spram=4)
HX8K = Device("iCE40HX8K", 7680, 7680, 32, 4096, 0)


@dataclass(frozen=True)
class Board:
    """A board.

    Members
    -------
    name : as ``BOARD=`` takes it
    family : ``ecp5`` or ``ice40``
    device : what its FPGA holds
    platform : makes its Amaranth platform, which has a resource ``uart``
    clock : resource of the crystal, and its MHz
    pll : ``ehxplll``; ``core`` or ``pad``, the SB_PLL40 fed through the fabric or by its own pin
    baud : fastest rate of its USB adapter, at most the 3 Mbaud that common adapters reach
    mhz : clock that a build aims at unless told otherwise
    programmer : command that writes a bitstream to the board, and how it is called
    flash_option : makes it write the flash rather than the SRAM; empty if it always does
    notes : for people at the bench
    """

    name: str
    family: Literal["ecp5", "ice40"]
    device: Device
    platform: Callable
    clock: tuple[str, float]
    pll: Literal["ehxplll", "core", "pad"]
    mhz: float
    programmer: str
    notes: str
    flash_option: str = ""
    baud: int = 3_000_000


def _orangecrab():
    platform = OrangeCrabR0_2_85FPlatform()
    # The board has no USB UART: these are the RX and TX pins of its Feather header.
    header = UARTResource(
        0, rx="0", tx="1", conn=("io", 0), attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP")
    )
    platform.add_resources([header])
    return platform


BOARDS = {
    board.name: board
    for board in (
        Board(
            "ulx3s-85f",
            "ecp5",
            LFE5_85,
            ULX3S_85F_Platform,
            ("clk25", 25),
            "ehxplll",
            80,
            "openFPGALoader -b ulx3s",
            "UART through the FT231X on connector US1",
            flash_option="-f",
        ),
        Board(
            "orangecrab-r0.2-85f",
            "ecp5",
            LFE5_85,
            _orangecrab,
            ("clk", 48),
            "ehxplll",
            80,
            "openFPGALoader -b orangeCrab",
            "3.3 V USB UART adapter on the Feather pins 0 (RX) and 1 (TX); hold the button while"
            " plugging it in to program it",
        ),
        Board(
            "ecpix5-85",
            "ecp5",
            LFE5_85,
            ECPIX585Platform,
            ("clk100", 100),
            "ehxplll",
            80,
            "openFPGALoader -b ecpix5",
            "UART through the FT2232H of the debug connector",
            flash_option="-f",
        ),
        Board(
            "icebreaker",
            "ice40",
            UP5K,
            ICEBreakerPlatform,
            ("clk12", 12),
            "pad",
            24,
            "openFPGALoader -b ice40_generic",
            "UART through the FT2232H",
        ),
        Board(
            "ice40-hx8k-evn",
            "ice40",
            HX8K,
            ICE40HX8KBEVNPlatform,
            ("clk12", 12),
            "core",
            36,
            "openFPGALoader -b ice40_generic",
            "UART through the FT2232H; set the jumpers J6 to program the flash",
        ),
    )
}


def find_board(name: str) -> Board:
    """Look up a board by name.

    Raises
    ------
    SpecError
        If there is none of that name; the message lists all.
    """
    if name not in BOARDS:
        raise SpecError(f"no board {name}: known are {', '.join(BOARDS)}")
    return BOARDS[name]
