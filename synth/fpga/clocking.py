"""PLL parameters from an input frequency and a wanted one, in plain Python.

ECP5 has the EHXPLLL, iCE40 the SB_PLL40; limits are those of Lattice's family data sheets
(FPGA-DS-02012 for ECP5, FPGA-TN-02052 for iCE40). All frequencies are in MHz.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from golden.spec import SpecError

# Room for rounding where a frequency is compared with a limit.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Limits:
    """Lowest and highest legal frequency of each part of a PLL.

    Members
    -------
    input, phase, vco, output : of its input, phase detector, oscillator and output
    """

    name: str
    input: tuple[float, float]
    phase: tuple[float, float]
    vco: tuple[float, float]
    output: tuple[float, float]


ECP5 = Limits("EHXPLLL", (8, 400), (3.125, 400), (400, 800), (3.125, 400))
ICE40 = Limits("SB_PLL40", (10, 133), (10, 133), (533, 1066), (16, 275))

# Upper end of the phase detector's frequency for each FILTER_RANGE from 1 on.
_ICE40_FILTERS = (17, 26, 44, 66, 101, 133)


@dataclass(frozen=True)
class Pll:
    """A PLL's dividers and what they give.

    Members
    -------
    frequency : of its output
    vco : of its oscillator
    parameters : of the primitive, by name
    """

    frequency: float
    vco: float
    parameters: dict[str, int | str]


def ecp5_pll(source: float, wanted: float) -> Pll:
    """Parameters of an EHXPLLL, with its output as feedback.

    The output is ``source / CLKI_DIV * CLKFB_DIV``, the oscillator ``CLKOP_DIV`` times as fast.

    Raises
    ------
    SpecError
        If the PLL cannot take ``source``, or can make nothing up to ``wanted``.
    """
    return _best(ECP5, source, wanted, _ecp5_choices(source, wanted))


def ice40_pll(source: float, wanted: float) -> Pll:
    """Parameters of an SB_PLL40 with simple feedback.

    The output is ``source / (DIVR + 1) * (DIVF + 1) / 2**DIVQ``.

    Raises
    ------
    SpecError
        If the PLL cannot take ``source``, or can make nothing up to ``wanted``.
    """
    return _best(ICE40, source, wanted, _ice40_choices(source, wanted))


def _ecp5_choices(source: float, wanted: float) -> Iterator[Pll]:
    for input_div in range(1, 129):
        phase = source / input_div
        feedback_div = min(80, int(wanted / phase + TOLERANCE))
        if not _inside(phase, ECP5.phase) or not feedback_div:
            continue
        output = phase * feedback_div
        # The oscillator is quietest in the middle of its range.
        middle = sum(ECP5.vco) / 2
        output_div = min(range(1, 129), key=lambda div: abs(output * div - middle))
        yield Pll(
            output,
            output * output_div,
            {"CLKI_DIV": input_div, "CLKFB_DIV": feedback_div, "CLKOP_DIV": output_div},
        )


def _ice40_choices(source: float, wanted: float) -> Iterator[Pll]:
    for divr in range(16):
        phase = source / (divr + 1)
        if not _inside(phase, ICE40.phase):
            continue
        filter_range = next(n for n, top in enumerate(_ICE40_FILTERS, 1) if phase <= top)
        for divq in range(1, 7):
            divf = min(127, int(wanted * 2**divq / phase + TOLERANCE) - 1)
            if divf < 0:
                continue
            vco = phase * (divf + 1)
            yield Pll(
                vco / 2**divq,
                vco,
                {"DIVR": divr, "DIVF": divf, "DIVQ": divq, "FILTER_RANGE": filter_range},
            )


def _best(limits: Limits, source: float, wanted: float, choices: Iterator[Pll]) -> Pll:
    """Take the fastest legal choice; among equals the one with the fastest phase detector."""
    if not _inside(source, limits.input):
        raise SpecError(
            f"{limits.name} cannot run from {source:g} MHz: its input must be"
            f" {limits.input[0]:g} to {limits.input[1]:g} MHz"
        )
    if not _inside(wanted, limits.output):
        raise SpecError(
            f"{limits.name} cannot make {wanted:g} MHz: its output must be"
            f" {limits.output[0]:g} to {limits.output[1]:g} MHz"
        )
    legal = [
        pll
        for pll in choices
        if _inside(pll.vco, limits.vco) and _inside(pll.frequency, limits.output)
    ]
    if not legal:
        raise SpecError(
            f"{limits.name} makes nothing of {source:g} MHz that is legal and at most"
            f" {wanted:g} MHz: choose a higher clock"
        )
    # The first of equals divides its input least; max() keeps the first.
    return max(legal, key=lambda pll: round(pll.frequency, 9))


def _inside(frequency: float, limits: tuple[float, float]) -> bool:
    return limits[0] - TOLERANCE <= frequency <= limits[1] + TOLERANCE
