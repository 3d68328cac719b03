"""Boards, clocks and baud rates: what can be chosen, and what is refused."""

import itertools
import re
from pathlib import Path

import pytest
from amaranth.build import Platform

from golden.ranges import format_widths
from golden.spec import SpecError
from hw.uart_top import SLOWEST_DIVISOR, UartTop
from synth.fpga.boards import BOARDS, find_board
from synth.fpga.clocking import ECP5, ICE40, ecp5_pll, ice40_pll
from synth.fpga.top import Top, baud_rates, check_baud, make_pll
from tests.small_networks import small_preset

KNOWN = "ulx3s-85f, orangecrab-r0.2-85f, ecpix5-85, icebreaker, ice40-hx8k-evn"


def test_the_makefile_lists_the_boards():
    text = Path("Makefile").read_text()
    assert re.search(r"^BOARDS := (.*)$", text, re.MULTILINE)[1].split() == list(BOARDS)


def test_an_unknown_board_is_named_with_the_known_ones():
    with pytest.raises(SpecError, match=rf"^no board icebraker: known are {re.escape(KNOWN)}$"):
        find_board("icebraker")


def test_programmers_know_the_boards_by_these_names():
    """As in openFPGALoader's src/board.hpp, whose names are told apart by their case too."""
    known = {
        "ulx3s-85f": "ulx3s",
        "orangecrab-r0.2-85f": "orangeCrab",
        "ecpix5-85": "ecpix5",
        "icebreaker": "ice40_generic",
        "ice40-hx8k-evn": "ice40_generic",
    }
    listed = Path("docs/fpga.md").read_text()
    for board in BOARDS.values():
        assert board.programmer == f"openFPGALoader -b {known[board.name]}"
        row = rf"^\| `{re.escape(board.name)}` \|.*\| `{re.escape(board.programmer)}` \|"
        assert re.search(row, listed, re.MULTILINE)


@pytest.mark.parametrize("name", BOARDS)
def test_every_board_has_a_platform_a_clock_and_a_uart(name):
    board = find_board(name)
    platform = board.platform()
    assert isinstance(platform, Platform)
    port, mhz = board.clock
    crystal = platform.lookup(port)
    assert crystal.clock.frequency == mhz * 1e6
    assert {part.name for part in platform.lookup("uart").ios} >= {"rx", "tx"}
    pll = make_pll(board, board.mhz)
    assert (pll.frequency if pll else mhz) == board.mhz, "its usual clock is met exactly"
    assert baud_rates(board, board.mhz)[0] >= 1_000_000


def check_ecp5(source: float, wanted: float) -> float:
    pll = ecp5_pll(source, wanted)
    use = pll.parameters
    phase = source / use["CLKI_DIV"]
    output = phase * use["CLKFB_DIV"]
    assert ECP5.phase[0] <= phase <= ECP5.phase[1]
    assert ECP5.vco[0] <= output * use["CLKOP_DIV"] <= ECP5.vco[1]
    assert pll.frequency == pytest.approx(output)
    assert output <= wanted + 1e-6
    return output


def check_ice40(source: float, wanted: float) -> float:
    pll = ice40_pll(source, wanted)
    use = pll.parameters
    phase = source / (use["DIVR"] + 1)
    vco = phase * (use["DIVF"] + 1)
    assert ICE40.phase[0] <= phase <= ICE40.phase[1]
    assert ICE40.vco[0] <= vco <= ICE40.vco[1]
    assert pll.frequency == pytest.approx(vco / 2 ** use["DIVQ"])
    assert pll.frequency <= wanted + 1e-6
    assert 1 <= use["FILTER_RANGE"] <= 6
    return pll.frequency


@pytest.mark.parametrize(
    ("check", "sources", "wanted"),
    [(check_ecp5, (25, 48, 100), range(20, 200, 7)), (check_ice40, (12,), range(17, 100, 3))],
)
def test_plls_are_legal_and_near(check, sources, wanted):
    for source, goal in itertools.product(sources, wanted):
        assert check(source, goal) > 0.9 * goal, f"{source} MHz to {goal} MHz"


@pytest.mark.parametrize(
    ("make", "source", "wanted", "text"),
    [
        (ecp5_pll, 5, 80, "EHXPLLL cannot run from 5 MHz: its input must be 8 to 400 MHz"),
        (ecp5_pll, 25, 500, "EHXPLLL cannot make 500 MHz: its output must be 3.125 to 400 MHz"),
        (ice40_pll, 12, 300, "SB_PLL40 cannot make 300 MHz: its output must be 16 to 275 MHz"),
        (
            ice40_pll,
            100,
            16,
            "SB_PLL40 makes nothing of 100 MHz that is legal and at most 16 MHz: choose a higher"
            " clock",
        ),
    ],
)
def test_impossible_clocks(make, source, wanted, text):
    with pytest.raises(SpecError, match=rf"^{re.escape(text)}$"):
        make(source, wanted)


def test_impossible_baud_rates():
    board = find_board("icebreaker")
    assert baud_rates(board, 24)[0] == 3_000_000
    text = (
        "2000000 baud is impossible on icebreaker at 18.5 MHz: must be 3700 to 3000000, 8 cycles a"
        " bit or more, and within 1.5%; for example 500000, 230400, 115200"
    )
    with pytest.raises(SpecError, match=rf"^{re.escape(text)}$"):
        check_baud(board, 18.5, 2_000_000)


@pytest.mark.parametrize(("mhz", "slowest"), [(80, 16_000), (24, 4_800), (77.3, 15_460)])
def test_slowest_baud_rate(mhz, slowest):
    """The slowest rate builds; below it the host port would give up between two bytes."""
    board, preset = find_board("ulx3s-85f"), small_preset()
    check_baud(board, mhz, slowest)
    divisor = round(mhz * 1e6 / slowest)
    assert UartTop(preset, format_widths(preset), divisor).divisor == SLOWEST_DIVISOR
    for baud in (slowest - 1, 4_800 if mhz > 24 else 1, 0, -1):
        text = (
            rf"^{baud} baud is impossible on ulx3s-85f at {mhz} MHz: must be {slowest} to 3000000,"
        )
        with pytest.raises(SpecError, match=text):
            check_baud(board, mhz, baud)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name == "icebreaker" else pytest.mark.slow) for name in BOARDS],
)
def test_every_board_gets_its_top(name):
    """Pins, PLL and engine of a small network, as RTLIL for that board."""
    board, preset = find_board(name), small_preset(engine__lanes=4, network__time_steps=1)
    pll = make_pll(board, board.mhz)
    top = Top(board, preset, format_widths(preset), pll=pll, baud=baud_rates(board, board.mhz)[0])
    plan = board.platform().prepare(top, "top")
    text = plan.files["top.il"]
    text = text if isinstance(text, str) else text.decode()
    wanted = "EHXPLLL" if board.family == "ecp5" else "SB_PLL40_"
    assert wanted in text
    assert "engine.accelerator" in text
