"""The accelerator behind a UART: what a board holds beside its clock and its pins."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.ranges import Widths
from golden.spec import Preset

from .build import make_accelerator
from .uart import Uart


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
    divisor : clock cycles of a bit

    Members
    -------
    rx : In 1, the line from the host
    tx : Out 1, the line to it
    """

    def __init__(self, preset: Preset, widths: Widths, divisor: int) -> None:
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
