"""Replies to the host, byte by byte."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw import frames
from hw.frames import Status


class ReplySender(wiring.Component):
    """Sends one reply: header, payload from 32-bit words, checksum.

    Overview
    --------
    Part of :class:`hw.host_port.HostPort`, which says when, with which status and which words. The
    frame is described in `hw.frames`.

    Design
    ------
    One shift register sends the words and then the checksum, low byte first. The CRC register is
    not here: the port is half duplex, so requests and replies share one.

    Latency and resources
    ---------------------
    The first byte is valid in the cycle after ``begin``. A reply of ``n`` payload bytes takes
    ``9 + n + 2 * (ceil(n / 4) - 1)`` cycles (9 without payload) if the sink never stalls.
    56 flip-flops.

    ::

        word --> shift register --> o --> CRC --+
                       ^------------------------+

    Members
    -------
    begin : In, high for one cycle to send a reply; not while one is sent
    status : In, of the reply, taken with ``begin``
    length : In 16, bytes of payload, taken with ``begin``
    word : In 32, payload: the first word is taken with ``begin``, each further one in the cycle
        after ``fetch``
    fetch : Out, high for one cycle a further word
    finished : Out, high in the cycle in which the last byte leaves
    o : Out stream of 8 bits
    crc_start : Out, start a checksum
    crc_valid : Out, add the byte at ``o`` to the checksum
    crc : In 32, the checksum
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "begin": In(1),
                "status": In(range(max(Status) + 1)),
                "length": In(16),
                "word": In(32),
                "fetch": Out(1),
                "finished": Out(1),
                "o": Out(stream.Signature(8)),
                "crc_start": Out(1),
                "crc_valid": Out(1),
                "crc": In(32),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the state machine around the shift register."""
        m = Module()
        status = Signal.like(self.status)
        left = Signal(16)
        word = Signal(32)
        position = Signal(2)
        sent = Signal()
        m.d.comb += [sent.eq(self.o.valid & self.o.ready), self.o.payload.eq(word[:8])]
        with m.If(sent):
            m.d.sync += position.eq(position + 1)

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [
                    status.eq(self.status),
                    left.eq(self.length),
                    word.eq(self.word),
                    position.eq(0),
                ]
                with m.If(self.begin):
                    m.next = "HEADER"

            with m.State("HEADER"):
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.crc_start.eq(position == 0),
                    self.crc_valid.eq(sent & (position != 0)),
                ]
                with m.Switch(position):
                    for index, value in enumerate((frames.SYNC, status, left[:8], left[8:])):
                        with m.Case(index):
                            m.d.comb += self.o.payload.eq(value)
                with m.If(sent & (position == 3)):
                    m.next = "DATA"
                    with m.If(left == 0):
                        m.next = "SEAL"

            with m.State("DATA"):
                m.d.comb += [self.o.valid.eq(1), self.crc_valid.eq(sent)]
                with m.If(sent):
                    m.d.sync += [word.eq(word >> 8), left.eq(left - 1)]
                    with m.If(left == 1):
                        m.next = "SEAL"
                    with m.Elif(position == 3):
                        m.next = "FETCH"

            with m.State("FETCH"):
                m.d.comb += self.fetch.eq(1)
                m.next = "LATCH"

            with m.State("LATCH"):
                m.d.sync += word.eq(self.word)
                m.next = "DATA"

            with m.State("SEAL"):
                m.d.sync += [word.eq(self.crc), position.eq(0)]
                m.next = "CHECKSUM"

            with m.State("CHECKSUM"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(sent):
                    m.d.sync += word.eq(word >> 8)
                    with m.If(position == 3):
                        m.d.comb += self.finished.eq(1)
                        m.next = "IDLE"
        return m
