"""UART: the byte stream of the host port on two wires."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

MIN_DIVISOR = 4


class Uart(wiring.Component):
    """Sends and receives bytes: one start bit, eight data bits from the lowest, one stop bit.

    Overview
    --------
    Each direction works on its own. The line idles high; ``rx`` may change at any time. A byte
    whose stop bit is low is dropped, and nothing is received until the line is high again.

    Design
    ------
    The receiver samples a bit once, in its middle, as seen from the falling edge that started the
    byte; an edge whose line is high again in the middle of the start bit was a glitch. The next
    edge is awaited from the middle of the stop bit on, so a sender that is fast is followed. A
    register holds one received byte. If another one is complete before it is taken, that other one
    is lost (an overrun): checksums and retries are the host protocol's, whose host sends nothing
    while the accelerator is at work. Both shift registers carry a one that marks their end, which
    saves the bit counters.

    Latency and resources
    ---------------------
    With a byte taken from ``i`` in cycle 0, ``tx`` carries its start bit in cycles 1 to
    ``divisor``, and the next byte is taken in cycle ``10 * divisor``. With ``rx`` low from cycle 0
    on, ``o`` is valid from cycle ``9 * divisor + (divisor - 1) // 2 + 3`` on. The sender's rate
    may differ by ``(divisor / 2 - 1) / (9 * divisor)`` where it is slower (2.7 % at 4, 4.8 % at
    16), by 5 % where it is faster. ``32 + 2 * ceil(log2(divisor))`` flip-flops.

    ::

        rx --> synchroniser --> start, 8 bits, stop --> register --> o
        tx <-- shift register <------------------------------------- i

    Parameters
    ----------
    divisor : clock cycles of a bit, 4 or more; 16 is 3 Mbaud at 48 MHz

    Members
    -------
    rx : In 1, the line from the other side
    tx : Out 1, the line to it, from a register
    i : In stream of 8 bits, to send
    o : Out stream of 8 bits, received

    Raises
    ------
    ValueError
        If ``divisor`` is below 4.
    """

    def __init__(self, divisor: int) -> None:
        if divisor < MIN_DIVISOR:
            raise ValueError(f"divisor is {divisor}: must be {MIN_DIVISOR} or more cycles a bit")
        self.divisor = divisor
        byte = stream.Signature(8)
        super().__init__({"rx": In(1, init=1), "tx": Out(1), "i": In(byte), "o": Out(byte)})

    def elaborate(self, platform) -> Module:
        """Build receiver and sender."""
        m = Module()
        self._receive(m)
        self._send(m)
        return m

    def _receive(self, m: Module) -> None:
        rx = Signal(init=1)
        m.submodules.rx_sync = FFSynchronizer(self.rx, rx, init=1)
        timer = Signal(range(self.divisor))
        bits = Signal(8)
        due = Signal()
        received = Signal()
        m.d.comb += due.eq(timer == 0)
        m.d.sync += timer.eq(timer - 1)
        with m.If(due):
            m.d.sync += timer.eq(self.divisor - 1)

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += timer.eq((self.divisor - 1) // 2 - 1)
                with m.If(~rx):
                    m.next = "START"
            with m.State("START"), m.If(due):
                m.d.sync += bits.eq(1 << 7)
                m.next = "DATA"
                with m.If(rx):
                    m.next = "IDLE"
            with m.State("DATA"), m.If(due):
                m.d.sync += bits.eq(Cat(bits[1:], rx))
                with m.If(bits[0]):
                    m.next = "STOP"
            with m.State("STOP"), m.If(due):
                m.d.comb += received.eq(rx)
                m.next = "IDLE"
                with m.If(~rx):
                    m.next = "BREAK"
            with m.State("BREAK"), m.If(rx):
                m.next = "IDLE"

        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(received & (~self.o.valid | self.o.ready)):
            m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(bits)]

    def _send(self, m: Module) -> None:
        # The stop bit is the highest one in it: when only that is left, the byte is over.
        frame = Signal(10, init=1)
        timer = Signal(range(self.divisor))
        due = Signal()
        m.d.comb += [
            due.eq(timer == 0),
            self.tx.eq(frame[0]),
            self.i.ready.eq(due & ~frame[1:].any()),
        ]
        with m.If(~due):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(~self.i.ready):
            m.d.sync += [frame.eq(frame >> 1), timer.eq(self.divisor - 1)]
        with m.Elif(self.i.valid):
            m.d.sync += [
                frame.eq(Cat(Const(0, 1), self.i.payload, Const(1, 1))),
                timer.eq(self.divisor - 1),
            ]
