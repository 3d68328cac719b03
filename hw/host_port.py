"""The accelerator's side of the host's byte stream."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import crc, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from hw import frames
from hw.frames import Command, Space, Status
from hw.reply_sender import ReplySender
from hw.row_buffer import RowBuffer
from hw.row_loader import load_layout

COUNT_BITS = bits_for(frames.MAX_WORDS)


class HostPort(wiring.Component):
    """Obeys frames from a host: loads memories, starts runs, reads results, tells what it is.

    Overview
    --------
    `hw.frames` defines frames, commands, and the order in which errors count. Each frame
    gets one reply; after any error the port looks for the next sync byte. Whatever carries the
    bytes (UART, USB, AXI) sits in front of ``i`` and behind ``o``.

    Design
    ------
    Half duplex: while a frame is obeyed and answered, ``i`` waits, so one CRC register serves both
    directions. The rows of a LOAD wait in a buffer until the checksum and all fields are good; only
    then do they leave through ``load``. Whether they are whole rows is known from a counter that
    wraps at every row while they arrive. A checksum covers all fields, so the checks come after it;
    only a length beyond ``max_payload`` is refused at once, and the port then looks for a sync byte
    in what follows.

    Latency and throughput
    ----------------------
    A byte a cycle each way. With the last byte of the request taken in cycle 0, and nobody
    stalling, the reply's first byte is valid in cycle

    - 2 after INFO, an error CHECKSUM, COMMAND or LENGTH (over-long: after the header), 3 after
      SPACE, 4 after RANGE or a READ of no words, 6 after READ;
    - ``5 + b`` after a LOAD of ``b`` row bytes, which leave in cycles 5 to ``4 + b``;
    - ``d + 1`` after RUN: ``start`` is high in cycle 2, ``done`` in cycle ``d >= 3``;
    - ``timeout + 1`` after the last byte of a frame that stopped (1 more if that byte ended the
      header).

    A reply takes ``9 + n + 2 * (ceil(n / 4) - 1)`` cycles for ``n`` payload bytes, or 9 for none.

    Resources
    ---------
    ``129 + A + B + C + E + R + W`` flip-flops: bits of a row address (A), of a buffer address (B),
    of a count (C, 14 or more), of their sum (E), of the bytes of the longest row (R) and of
    ``timeout`` (W). One memory of ``max_payload - 5`` bytes. No stage holds more than one addition
    or comparison in a row.

    ::

        i --+--> fields --> checks --> start, read_space, read_addr, read_en
            +--> buffer ------------> load
            +--> CRC <---+
        o <--------------+-- sender <-- cycles (at done), read_data

    Parameters
    ----------
    write_spaces : memories that LOAD writes; the index is the number of the space
    read_spaces : memories that READ reads, of 32-bit rows; numbered on their own
    max_payload : longest payload of a request in bytes
    fingerprint : number that INFO replies, 32 bits
    timeout : cycles within a frame without a byte that drop it; 0 waits for ever

    Members
    -------
    i : In stream of 8 bits, from the host
    o : Out stream of 8 bits, to the host
    load : Out stream of :func:`hw.row_loader.load_layout`, rows in order, only of frames found good
    start : Out, high for one cycle to start a run
    done : In, high in the cycle the run ends, at least one cycle after ``start``
    cycles : In 32, length of the run in cycles, taken with ``done``
    read_space : Out, space to read
    read_addr : Out, word to read
    read_en : Out, high for one cycle a word
    read_data : In 32, the word, in the cycle after ``read_en``

    Raises
    ------
    ValueError
        If there is no space or more than 256, a read space is not 32 bits wide, ``max_payload``
        is above 65535 or holds no row of some space, or a number is out of range.
    """

    def __init__(
        self,
        *,
        write_spaces: tuple[Space, ...],
        read_spaces: tuple[Space, ...],
        max_payload: int = frames.DEFAULT_MAX_PAYLOAD,
        fingerprint: int = 0,
        timeout: int = 0,
    ) -> None:
        for name, spaces in (("write_spaces", write_spaces), ("read_spaces", read_spaces)):
            if not 1 <= len(spaces) <= frames.MAX_SPACES:
                raise ValueError(f"{name} has {len(spaces)}: must be 1 to {frames.MAX_SPACES}")
        for space in read_spaces:
            if space.row_bits != 32:
                raise ValueError(
                    f"read space {space.name} has rows of {space.row_bits} bits: must be 32"
                )
        least = frames.LOAD_HEADER + max(space.row_bytes for space in write_spaces)
        if not least <= max_payload <= frames.MAX_LENGTH:
            raise ValueError(
                f"max_payload is {max_payload}: must be {least} to {frames.MAX_LENGTH}"
            )
        if not 0 <= fingerprint < 1 << 32:
            raise ValueError(f"fingerprint is {fingerprint}: must be 0 to {(1 << 32) - 1}")
        if timeout < 0:
            raise ValueError(f"timeout is {timeout}: must be 0 (off) or more")
        self.write_spaces, self.read_spaces = tuple(write_spaces), tuple(read_spaces)
        self.max_payload, self.fingerprint, self.timeout = max_payload, fingerprint, timeout
        byte = stream.Signature(8)
        super().__init__(
            {
                "i": In(byte),
                "o": Out(byte),
                "load": Out(stream.Signature(load_layout(self.write_spaces))),
                "start": Out(1),
                "done": In(1),
                "cycles": In(32),
                "read_space": Out(bits_for(len(read_spaces) - 1)),
                "read_addr": Out(bits_for(max(space.rows for space in read_spaces) - 1)),
                "read_en": Out(1),
                "read_data": In(32),
            }
        )

    def elaborate(self, platform) -> Module:
        """Build one state machine over the shared registers."""
        m = Module()
        r = _Registers(self)
        m.submodules.crc = r.crc
        m.submodules.rows = r.rows
        m.submodules.sender = r.sender
        wiring.connect(m, wiring.flipped(self.o), r.sender.o)
        self._timer(m, r)
        self._look_up(m, r)
        m.d.comb += [
            r.crc.data.eq(Mux(r.listening, self.i.payload, r.sender.o.payload)),
            r.crc.valid.eq((r.listening & self.i.valid) | r.sender.crc_valid),
            r.crc.start.eq(r.hunting | r.sender.crc_start),
            r.sender.crc.eq(r.crc.crc),
            # By command, not by state: the word need not wait for the checks. No error sends it.
            r.sender.word.eq(
                Mux(
                    r.info,
                    Mux(r.replying, frames.VERSION, self.fingerprint),
                    Mux(r.run, self.cycles, self.read_data),
                )
            ),
            r.rows.write_data.eq(self.i.payload),
            r.rows.stop.eq(r.count == 1),
            r.rows.o.ready.eq(self.load.ready),
            self.load.valid.eq(r.rows.o.valid),
            self.load.payload.space.eq(r.space),
            self.load.payload.row.eq(r.row),
            self.load.payload.data.eq(r.rows.o.payload.data),
            self.load.payload.first.eq(r.rows.o.payload.first),
            self.load.payload.last.eq(r.rows.o.payload.last),
            self.read_space.eq(r.space),
            self.read_addr.eq(r.row),
        ]
        with m.FSM():
            self._receive(m, r)
            self._check(m, r)
            self._obey(m, r)
        return m

    def _timer(self, m, r):
        """Count the cycles without a byte within a frame."""
        if self.timeout:
            timer = Signal(range(self.timeout), init=self.timeout - 1)
            idle = r.listening & ~self.i.valid
            m.d.comb += r.late.eq(idle & (timer == 0))
            m.d.sync += timer.eq(Mux(idle, timer - 1, self.timeout - 1))

    def _look_up(self, m, r):
        """Tell what is known of the space, by the command."""
        with m.If(r.load), m.Switch(r.space):
            for index, space in enumerate(self.write_spaces):
                with m.Case(index):
                    m.d.comb += [
                        r.space_known.eq(1),
                        r.space_rows.eq(space.rows),
                        r.rows.row_last.eq(space.row_bytes - 1),
                    ]
        with m.Else(), m.Switch(r.space):
            for index, space in enumerate(self.read_spaces):
                with m.Case(index):
                    m.d.comb += [r.space_known.eq(1), r.space_rows.eq(space.rows)]

    def _receive(self, m, r):
        """States that take a frame apart; the checksum sees every byte but the sync byte."""
        byte = self.i.payload
        with m.State("HUNT"):
            m.d.comb += [self.i.ready.eq(1), r.hunting.eq(1)]
            m.d.sync += [register.eq(0) for register in r.cleared]
            with m.If(self.i.valid & (byte == frames.SYNC)):
                m.next = "COMMAND"

        with m.State("COMMAND"):
            self._listen(m, r)
            with m.If(self.i.valid):
                m.d.sync += [
                    r.load.eq(byte == Command.LOAD),
                    r.run.eq(byte == Command.RUN),
                    r.read.eq(byte == Command.READ),
                    r.info.eq(byte == Command.INFO),
                ]
                m.next = "LENGTH"

        with m.State("LENGTH"):
            self._listen(m, r)
            with m.If(self.i.valid):
                m.d.sync += [r.left.eq(Cat(r.left[8:], byte)), r.position.eq(~r.position[0])]
                with m.If(r.position[0]):
                    m.next = "SIZE"

        with m.State("SIZE"):
            m.d.sync += [
                r.position.eq(0),
                r.wrong_length.eq(
                    (r.load & (r.left <= frames.LOAD_HEADER))
                    | (r.read & (r.left != frames.READ_LENGTH))
                    | ((r.run | r.info) & (r.left != 0))
                ),
            ]
            m.next = "PAYLOAD"
            with m.If(r.left == 0):
                m.next = "CHECKSUM"
            with m.If(r.left > self.max_payload):
                self._answer(m, r, Status.LENGTH)

        with m.State("PAYLOAD"):
            self._listen(m, r)
            with m.If(self.i.valid):
                self._field(m, r)
                m.d.sync += r.left.eq(r.left - 1)
                with m.If(r.position != frames.READ_LENGTH):
                    m.d.sync += r.position.eq(r.position + 1)
                with m.If(r.left == 1):
                    m.d.sync += r.position.eq(0)
                    m.next = "CHECKSUM"

        with m.State("CHECKSUM"):
            self._listen(m, r)
            with m.If(self.i.valid):
                m.d.sync += r.position.eq(r.position + 1)
                with m.If(r.position == 3):
                    m.next = "VERIFY"

    def _listen(self, m, r):
        """Take a byte of a frame, or give up waiting for it."""
        m.d.comb += [self.i.ready.eq(1), r.listening.eq(1)]
        with m.If(r.late):
            self._answer(m, r, Status.TIMEOUT)

    def _field(self, m, r):
        """Put a byte of the payload where it belongs."""
        byte = self.i.payload
        with m.Switch(r.position):
            with m.Case(0):
                m.d.sync += r.space.eq(byte)
            for index in range(4):
                low = 8 * index
                kept = min(max(len(r.row) - low, 0), 8)
                with m.Case(1 + index):
                    # The bits that no space needs are not kept: one flag says that any was set.
                    m.d.comb += r.rows.open.eq(1)
                    m.d.sync += [
                        r.row[low : low + kept].eq(byte),
                        r.beyond.eq(r.beyond | byte[kept:].any()),
                    ]
            with m.Default():
                with m.If(r.load):
                    m.d.comb += r.rows.write_en.eq(1)
                    with m.If(r.rows.row_end):
                        m.d.sync += r.count.eq(r.count + 1)
                with m.Elif(r.position == 5):
                    m.d.sync += r.count.eq(byte)
                with m.Elif(r.position == 6):
                    high = COUNT_BITS - 8
                    m.d.sync += r.count[8:].eq(byte[:high])
                    with m.If(r.read & byte[high:].any()):
                        m.d.sync += r.wrong_length.eq(1)

    def _check(self, m, r):
        """States that judge the frame, one comparison or addition each."""
        with m.State("VERIFY"):
            with m.If(~r.crc.match_detected):
                self._answer(m, r, Status.CHECKSUM)
            with m.Elif(~(r.load | r.run | r.read | r.info)):
                self._answer(m, r, Status.COMMAND)
            with m.Elif(r.wrong_length | (r.load & r.rows.partial)):
                self._answer(m, r, Status.LENGTH)
            with m.Elif(r.run):
                m.next = "START"
            with m.Elif(r.info):
                self._answer(m, r, Status.OK, frames.INFO_LENGTH)
            with m.Else():
                m.next = "END"

        with m.State("END"):
            m.d.sync += r.end.eq(r.row + r.count)
            m.next = "RANGE"
            with m.If(~r.space_known):
                self._answer(m, r, Status.SPACE)

        with m.State("RANGE"):
            with m.If(r.beyond | (r.end > r.space_rows)):
                self._answer(m, r, Status.RANGE)
            with m.Elif(r.load):
                m.d.comb += r.rows.send.eq(1)
                m.next = "COMMIT"
            with m.Elif(r.count == 0):
                self._answer(m, r, Status.OK)
            with m.Else():
                m.next = "READ"

    def _obey(self, m, r):
        """States that write memories, run the accelerator and read words."""
        with m.State("COMMIT"):
            with m.If(r.rows.row_end):
                m.d.sync += [r.row.eq(r.row + 1), r.count.eq(r.count - 1)]
            with m.If(r.rows.finished):
                self._answer(m, r, Status.OK)

        with m.State("START"):
            m.d.comb += self.start.eq(1)
            m.next = "RUN"

        with m.State("RUN"), m.If(self.done):
            self._answer(m, r, Status.OK, frames.CYCLES_LENGTH)

        with m.State("READ"):
            self._read_word(m, r)
            m.next = "FIRST"

        with m.State("FIRST"):
            self._answer(m, r, Status.OK, r.count << 2)

        with m.State("REPLY"):
            m.d.comb += r.replying.eq(1)
            with m.If(r.sender.fetch & r.read):
                self._read_word(m, r)
            with m.If(r.sender.finished):
                m.next = "HUNT"

    def _read_word(self, m, r):
        """Ask for the next word."""
        m.d.comb += self.read_en.eq(1)
        m.d.sync += r.row.eq(r.row + 1)

    def _answer(self, m, r, status, length=0):
        """Start the reply and wait for its end."""
        m.d.comb += [
            r.sender.begin.eq(1),
            r.sender.status.eq(status),
            r.sender.length.eq(length),
        ]
        m.next = "REPLY"


class _Registers:
    """Registers and signals that the states share."""

    def __init__(self, port: HostPort) -> None:
        depth = port.max_payload - frames.LOAD_HEADER
        rows = max(space.rows for space in port.write_spaces + port.read_spaces)
        row_bytes = max(space.row_bytes for space in port.write_spaces)
        self.crc = crc.catalog.CRC32_ISO_HDLC().create()
        self.rows = RowBuffer(depth, row_bytes)
        self.sender = ReplySender()

        names = ("load", "run", "read", "info")
        self.load, self.run, self.read, self.info = (Signal(name=name) for name in names)
        self.left = Signal(16)
        self.position = Signal(range(frames.READ_LENGTH + 1))
        self.space = Signal(8)
        self.row = Signal(bits_for(rows - 1))
        self.count = Signal(max(COUNT_BITS, bits_for(depth)))
        self.end = Signal(max(len(self.row), len(self.count)) + 1)
        self.beyond = Signal()
        self.wrong_length = Signal()
        self.cleared = (self.position, self.count, self.beyond)

        self.hunting = Signal()
        self.listening = Signal()
        self.late = Signal()
        self.replying = Signal()
        self.space_known = Signal()
        self.space_rows = Signal(bits_for(rows))
