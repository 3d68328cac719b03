"""Frames in packets, and runs that a register starts: what stands between AXI and the host port."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from . import frames
from .axi import packets
from .logits import LOGIT_BITS
from .spaces import LOGITS

# Bytes of a frame before and after its payload.
HEADER_BYTES, CHECKSUM_BYTES = 4, 4


class PacketPort(wiring.Component):
    """Hand frames on, and make frames of its own for a run.

    Overview
    --------
    Packets of requests pass to the host port byte by byte; replies come back with their ends
    marked. After ``start``, and between two packets, this block sends a RUN frame and, if that was
    good, a READ frame for all logits; it keeps the replies, and finds the largest logit.

    Design
    ------
    The two frames are constants, checksums included. A reply is this block's if the host port took
    the first byte of such a frame before, which it only does between frames; so a packet may hold
    several frames, or a frame several packets. If a packet ends within a frame, the host port takes
    the RUN frame for the rest of it and answers with an error, which is then the result of the run.

    ::

        requests --------------+--> o (to the host port)
        RUN, READ logits ------+
        replies <--------------+--- i (from the host port)
        cycles, logits, answer <--- words

    Latency and resources
    ---------------------
    Nothing is registered on the way of a byte. Beside the cycles that the accelerator counts, a run
    takes those of two frames and their replies: about 60, and 6 a class.

    Parameters
    ----------
    classes : logits to read

    Members
    -------
    requests : In, packets of frames
    replies : Out, a packet a reply
    o, i : Out, In, byte streams to and from the host port
    start : In, begin a run; ignored during one
    busy : Out, a run was started and has not ended
    receiving : Out, within a packet of requests
    result : Out 8, status of the last run's replies
    cycles : Out 32, length of the last run
    answer : Out, class of the largest logit, the first of equal ones
    done : Out, high for one cycle when a run ends
    error : Out, high for one cycle with the last byte of a reply that is not good
    sent, errors : Out 32, replies handed on since reset, and those of them that are not good
    write_addr, write_en, write_data : Out, logits as they come

    Raises
    ------
    ValueError
        If ``classes`` is not 1 to 16383, the words of a reply.
    """

    def __init__(self, classes: int) -> None:
        if not 1 <= classes <= frames.MAX_WORDS:
            raise ValueError(f"classes is {classes}: must be 1 to {frames.MAX_WORDS}")
        self.classes = classes
        super().__init__(
            {
                "requests": In(packets()),
                "replies": Out(packets()),
                "o": Out(stream.Signature(8)),
                "i": In(stream.Signature(8)),
                "start": In(1),
                "busy": Out(1),
                "receiving": Out(1),
                "result": Out(8),
                "cycles": Out(32),
                "answer": Out(range(classes)),
                "done": Out(1),
                "error": Out(1),
                "sent": Out(32),
                "errors": Out(32),
                "write_addr": Out(range(classes)),
                "write_en": Out(1),
                "write_data": Out(LOGIT_BITS),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build the sender of requests and the reader of replies."""
        m = Module()
        run = frames.run_request()
        request = run + frames.read_request(LOGITS, 0, self.classes)
        place, own, reading, answered = Signal(range(len(request))), Signal(), Signal(), Signal()
        ends, status = self._replies(m, own, reading)
        moved = self.o.valid & self.o.ready
        with m.If(self.start):
            m.d.sync += self.busy.eq(1)
        with m.If(ends & own):
            m.d.sync += [answered.eq(1), self.result.eq(status)]
        with m.FSM():
            with m.State("PASS"):
                m.d.comb += [
                    self.o.valid.eq(self.requests.valid),
                    self.o.payload.eq(self.requests.payload.data),
                    self.requests.ready.eq(self.o.ready),
                ]
                with m.If(moved):
                    m.d.sync += self.receiving.eq(~self.requests.payload.last)
                # A byte that was offered is not taken back.
                between = Mux(
                    self.requests.valid, moved & self.requests.payload.last, ~self.receiving
                )
                m.d.sync += [place.eq(0), reading.eq(0)]
                with m.If(self.busy & between):
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.o.payload.eq(Array(Const(byte, 8) for byte in request)[place]),
                ]
                with m.If(moved):
                    m.d.sync += [own.eq(1), place.eq(place + 1)]
                    with m.If((place == len(run) - 1) | (place == len(request) - 1)):
                        m.next = "WAIT"
            with m.State("WAIT"), m.If(answered):
                m.d.sync += [answered.eq(0), reading.eq(1)]
                m.next = "SEND"
                with m.If(reading | (self.result != frames.Status.OK)):
                    m.d.comb += self.done.eq(1)
                    m.d.sync += [own.eq(0), self.busy.eq(0)]
                    m.next = "PASS"
        return m

    def _replies(self, m: Module, own: Signal, reading: Signal) -> tuple[Signal, Signal]:
        """Follow the frames that come back; says when one ends, and its status."""
        status = Signal(8)
        header, left = Signal(range(HEADER_BYTES + 1)), Signal(17)
        word, byte = Signal(24), Signal(2)
        ends, good = Signal(), Signal()
        moved, last = self.i.valid & self.i.ready, Signal()
        whole = Cat(word, self.i.payload)
        m.d.comb += [
            self.i.ready.eq(own | self.replies.ready),
            self.replies.valid.eq(self.i.valid & ~own),
            self.replies.payload.data.eq(self.i.payload),
            self.replies.payload.last.eq(last),
            last.eq((header == HEADER_BYTES) & (left == 1)),
            ends.eq(moved & last),
            good.eq(status == frames.Status.OK),
            self.error.eq(ends & ~good),
        ]
        with m.If(moved):
            with m.If(header == HEADER_BYTES):
                m.d.sync += left.eq(left - 1)
                with m.If(last):
                    m.d.sync += header.eq(0)
                with m.If(left > CHECKSUM_BYTES):
                    m.d.sync += [word.eq(whole[8:]), byte.eq(byte + 1)]
            with m.Else():
                m.d.sync += [header.eq(header + 1), byte.eq(0)]
                with m.Switch(header):
                    with m.Case(1):
                        m.d.sync += status.eq(self.i.payload)
                    with m.Case(2):
                        m.d.sync += left.eq(self.i.payload + CHECKSUM_BYTES)
                    with m.Case(3):
                        m.d.sync += left.eq(left + (self.i.payload << 8))
        with m.If(ends & ~own):
            m.d.sync += [self.sent.eq(self.sent + 1), self.errors.eq(self.errors + ~good)]
        complete = Signal()
        m.d.comb += complete.eq(
            moved & own & (header == HEADER_BYTES) & (left > CHECKSUM_BYTES) & (byte == 3)
        )
        self._words(m, complete, reading, whole)
        return ends, status

    def _words(self, m: Module, complete: Signal, reading: Signal, word: Value) -> None:
        """Keep what the replies to a run say."""
        index, best = Signal(range(self.classes)), Signal(LOGIT_BITS)
        first = index == 0
        larger = word.as_signed() > best.as_signed()
        m.d.comb += [
            self.write_addr.eq(index),
            self.write_data.eq(word),
            self.write_en.eq(complete & reading),
        ]
        with m.If(complete):
            with m.If(reading):
                m.d.sync += index.eq(index + 1)
                with m.If(first | larger):
                    m.d.sync += [best.eq(word), self.answer.eq(index)]
            with m.Else():
                m.d.sync += [self.cycles.eq(word), index.eq(0)]
