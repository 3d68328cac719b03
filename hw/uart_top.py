"""The accelerator behind a UART: what a board holds beside its clock and its pins."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.ranges import Widths
from golden.spec import Preset, SpecError

from .build import TIMEOUT_CYCLES, make_accelerator
from .uart import MIN_DIVISOR, Uart

# The fastest line of a board, real or simulated: with fewer cycles a bit, an edge is found too
# coarsely for adapters whose own rate is off as well.
FASTEST_DIVISOR = 8
# The slowest: a byte of ten bits takes half of the host port's time limit, so that a frame is not
# dropped where the sender pauses for as long as a byte takes.
SLOWEST_DIVISOR = TIMEOUT_CYCLES // (2 * 10)


class UartTop(wiring.Component):
    """Host frames on two wires, and the whole network behind them.

    Overview
    --------
    The same top is simulated behind a pseudo-terminal and put on boards.

    Design
    ------
    ::

        rx --> UART --> accelerator --> UART --> tx

    Latency and resources
    ---------------------
    Those of :class:`hw.uart.Uart` and :class:`hw.accelerator.Accelerator`.

    Parameters
    ----------
    preset, widths : as for :class:`hw.accelerator.Accelerator`
    divisor : clock cycles of a bit, 4 to 5,000

    Members
    -------
    rx : In 1, the line from the host
    tx : Out 1, the line to it

    Raises
    ------
    SpecError
        If the UART cannot have the divisor, or the host port would drop every frame.
    """

    def __init__(self, preset: Preset, widths: Widths, divisor: int) -> None:
        if not MIN_DIVISOR <= divisor <= SLOWEST_DIVISOR:
            raise SpecError(
                f"divisor of the UART is {divisor}: must be {MIN_DIVISOR} to {SLOWEST_DIVISOR}"
                f" cycles a bit; the host port drops a frame that stops for {TIMEOUT_CYCLES} cycles"
            )
        self.preset, self.widths, self.divisor = preset, widths, divisor
        self.accelerator = make_accelerator(preset, widths)
        self.uart = Uart(divisor)
        super().__init__({"rx": In(1, init=1), "tx": Out(1)})

    def elaborate(self, platform) -> Module:
        """Build both and join them."""
        m = Module()
        m.submodules.uart = uart = self.uart
        m.submodules.accelerator = accelerator = self.accelerator
        wiring.connect(m, uart.o, accelerator.i)
        wiring.connect(m, accelerator.o, uart.i)
        m.d.comb += [uart.rx.eq(self.rx), self.tx.eq(uart.tx)]
        return m
