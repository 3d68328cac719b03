"""Frames that host and accelerator exchange, as constants and as a codec in plain Python.

A frame, in both directions, sizes in bytes, all numbers little endian::

    sync 0xA5 | kind (1) | length (2) | payload | CRC-32 of kind, length and payload (4)

The kind is a :class:`Command` in a request and a :class:`Status` in a reply. Each frame gets one
reply, and a host waits for it before it sends the next frame. Bytes before a sync byte are ignored.

=======  ===========================================  =============================
command  payload of the request                       payload of the reply
=======  ===========================================  =============================
LOAD     space (1), first row (4), one or more rows   none
RUN      none                                         cycles that the run took (4)
READ     space (1), first word (4), words (2)         the words (4 each)
INFO     none                                         fingerprint (4), version (1)
=======  ===========================================  =============================

A row of n bits is ``ceil(n / 8)`` bytes; bits above the row are ignored. The checksum is
CRC32_ISO_HDLC, which is `binascii.crc32`. This module needs nothing but the standard library.
"""

import binascii
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

SYNC = 0xA5
VERSION = 1
MAX_LENGTH = 0xFFFF
MAX_WORDS = MAX_LENGTH // 4
MAX_SPACES = 256
MAX_ROWS = 1 << 31

_HEADER = struct.Struct("<BBH")
_CHECKSUM = struct.Struct("<I")
_LOAD = struct.Struct("<BI")
_READ = struct.Struct("<BIH")
_INFO = struct.Struct("<IB")

LOAD_HEADER = _LOAD.size
READ_LENGTH = _READ.size
INFO_LENGTH = _INFO.size
CYCLES_LENGTH = 4
DEFAULT_MAX_PAYLOAD = 1024 + LOAD_HEADER


class Command(IntEnum):
    """What a request asks for."""

    LOAD = 1
    RUN = 2
    READ = 3
    INFO = 4


class Status(IntEnum):
    """How a request went. Of several errors the first in the order of :data:`PRECEDENCE` counts."""

    OK = 0
    CHECKSUM = 1
    LENGTH = 2
    COMMAND = 3
    SPACE = 4
    RANGE = 5
    TIMEOUT = 6


PRECEDENCE = (Status.CHECKSUM, Status.COMMAND, Status.LENGTH, Status.SPACE, Status.RANGE)

_TEXTS = {
    Status.OK: "done",
    Status.CHECKSUM: "the checksum of the request is wrong: send it again",
    Status.LENGTH: "the request is too long or too short, not whole rows, or its reply too long",
    Status.COMMAND: "the command is unknown",
    Status.SPACE: "there is no such space for this command",
    Status.RANGE: "rows or words lie beyond the space",
    Status.TIMEOUT: "the request stopped half way and was dropped: send it again",
}


class FrameError(ValueError):
    """Bytes that are no frame, with one message that says why."""


class Frame(NamedTuple):
    """One frame: a command or status number, and its payload."""

    kind: int
    payload: bytes


@dataclass(frozen=True)
class Space:
    """A memory that frames address: ``rows`` rows of ``row_bits`` bits.

    Raises
    ------
    ValueError
        If ``rows`` is not 1 to 2**31, or ``row_bits`` is below 1.
    """

    name: str
    rows: int
    row_bits: int

    def __post_init__(self) -> None:
        """Refuse a space that no frame can address."""
        if not 1 <= self.rows <= MAX_ROWS:
            raise ValueError(f"space {self.name} has {self.rows} rows: must be 1 to {MAX_ROWS}")
        if self.row_bits < 1:
            raise ValueError(
                f"space {self.name} has rows of {self.row_bits} bits: must be 1 or more"
            )

    @property
    def row_bytes(self) -> int:
        """Value of ``ceil(row_bits / 8)``: bytes a row takes in a frame."""
        return (self.row_bits + 7) // 8

    def pack(self, rows: Iterable[int]) -> bytes:
        """Turn rows, as unsigned numbers, into the bytes of a load request."""
        image = bytearray()
        for index, row in enumerate(rows):
            if not 0 <= row < 1 << self.row_bits:
                raise ValueError(
                    f"row {index} of space {self.name} is {row}: must fit in {self.row_bits} bits"
                )
            image += row.to_bytes(self.row_bytes, "little")
        return bytes(image)


def encode(kind: int, payload: bytes = b"") -> bytes:
    """Make a frame of a command or status number and a payload."""
    if not 0 <= kind <= 0xFF:
        raise ValueError(f"kind of frame is {kind}: must be 0 to 255")
    if len(payload) > MAX_LENGTH:
        raise ValueError(f"payload has {len(payload)} bytes: a frame holds at most {MAX_LENGTH}")
    body = _HEADER.pack(SYNC, kind, len(payload)) + payload
    return body + _CHECKSUM.pack(binascii.crc32(body[1:]))


def decode(data: bytes) -> Frame:
    """Take apart bytes that are exactly one frame."""
    if data[:1] != bytes([SYNC]):
        start = f"0x{data[0]:02x}" if data else "nothing"
        raise FrameError(f"frame starts with {start}: must be 0x{SYNC:02x}")
    reader = FrameReader()
    reader.feed(data)
    frame = reader.read(final=True)
    if reader.pending:
        raise FrameError(f"{reader.pending} bytes follow the frame: must be none")
    return frame


class FrameReader:
    """Find frames in bytes that arrive bit by bit.

    After a bad frame the search goes on right behind its sync byte, so a frame that follows a cut
    one is found. One bad frame may be reported more than once, as its payload may hold sync bytes.

    Parameters
    ----------
    max_payload : longest payload to accept; a longer one is an error as soon as it is announced

    Members
    -------
    skipped : bytes ignored so far because no sync byte came before them
    pending : bytes fed and not yet used
    """

    def __init__(self, max_payload: int = MAX_LENGTH) -> None:
        if not 0 <= max_payload <= MAX_LENGTH:
            raise ValueError(f"max_payload is {max_payload}: must be 0 to {MAX_LENGTH}")
        self.max_payload = max_payload
        self.skipped = 0
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Number of bytes fed and not yet used."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add bytes that have arrived."""
        self._buffer += data

    def read(self, *, final: bool = False) -> Frame | None:
        """Return the next frame, or None while there is no whole one; call it until then.

        Parameters
        ----------
        final : no more bytes come (a time limit has passed), so a frame without its end is an error

        Raises
        ------
        FrameError
            If a frame is bad. The next call goes on with the bytes behind its sync byte.
        """
        buffer = self._buffer
        start = buffer.find(SYNC)
        ignored = len(buffer) if start < 0 else start
        self.skipped += ignored
        del buffer[:ignored]
        if not buffer:
            return None
        if len(buffer) < _HEADER.size:
            return self._wait(final, "a header", _HEADER.size)
        _, kind, length = _HEADER.unpack_from(buffer)
        if length > self.max_payload:
            raise self._bad(f"announces {length} payload bytes: at most {self.max_payload} allowed")
        end = _HEADER.size + length
        if len(buffer) < end + _CHECKSUM.size:
            return self._wait(final, "the frame", end + _CHECKSUM.size)
        (checksum,) = _CHECKSUM.unpack_from(buffer, end)
        computed = binascii.crc32(buffer[1:end])
        if checksum != computed:
            raise self._bad(
                f"of {length} payload bytes has checksum 0x{checksum:08x}: must be 0x{computed:08x}"
            )
        frame = Frame(kind, bytes(buffer[_HEADER.size : end]))
        del buffer[: end + _CHECKSUM.size]
        return frame

    def _wait(self, final: bool, what: str, size: int) -> None:
        if final:
            raise self._bad(f"ends after {len(self._buffer)} bytes: {what} has {size}")

    def _bad(self, text: str) -> FrameError:
        del self._buffer[:1]
        return FrameError(f"frame {text}")


def load_request(space_index: int, first_row: int, rows: bytes) -> bytes:
    """Make one LOAD frame."""
    _address(space_index, first_row)
    return encode(Command.LOAD, _LOAD.pack(space_index, first_row) + rows)


def load_requests(
    space: Space,
    index: int,
    rows_bytes: bytes,
    max_payload: int = DEFAULT_MAX_PAYLOAD,
    first_row: int = 0,
) -> Iterator[bytes]:
    """Cut a memory image of any length into LOAD frames, each with as many rows as fit.

    Parameters
    ----------
    space, index : the space and its number
    rows_bytes : the image, see :meth:`Space.pack`
    max_payload : longest payload that the accelerator accepts
    first_row : where the image goes
    """
    rows, rest = divmod(len(rows_bytes), space.row_bytes)
    if rest:
        raise ValueError(
            f"image of space {space.name} has {len(rows_bytes)} bytes: "
            f"must be whole rows of {space.row_bytes}"
        )
    if not 0 <= first_row <= space.rows - rows:
        raise ValueError(
            f"image of space {space.name} has rows {first_row} to {first_row + rows - 1}: "
            f"must be in 0 to {space.rows - 1}"
        )
    together = (max_payload - LOAD_HEADER) // space.row_bytes
    if together < 1:
        raise ValueError(
            f"max_payload is {max_payload}: must hold {LOAD_HEADER} bytes and "
            f"a row of {space.row_bytes}"
        )
    return (
        load_request(
            index,
            first_row + row,
            rows_bytes[row * space.row_bytes : (row + together) * space.row_bytes],
        )
        for row in range(0, rows, together)
    )


def run_request() -> bytes:
    """Make a RUN frame."""
    return encode(Command.RUN)


def read_request(space_index: int, first_word: int, count: int) -> bytes:
    """Make one READ frame; a reply holds at most 16383 words."""
    if not 0 <= count <= MAX_WORDS:
        raise ValueError(f"read asks for {count} words: must be 0 to {MAX_WORDS}")
    _address(space_index, first_word)
    return encode(Command.READ, _READ.pack(space_index, first_word, count))


def info_request() -> bytes:
    """Make an INFO frame."""
    return encode(Command.INFO)


def parse_cycles(payload: bytes) -> int:
    """Take the cycles of a run from the reply to RUN."""
    _expect("RUN", payload, CYCLES_LENGTH)
    return int.from_bytes(payload, "little")


def parse_words(payload: bytes, count: int) -> tuple[int, ...]:
    """Take the words, unsigned, from the reply to READ."""
    _expect("READ", payload, 4 * count)
    return struct.unpack(f"<{count}I", payload)


def parse_info(payload: bytes) -> tuple[int, int]:
    """Take fingerprint and protocol version from the reply to INFO."""
    _expect("INFO", payload, INFO_LENGTH)
    return _INFO.unpack(payload)


def info_reply(fingerprint: int, version: int = VERSION) -> bytes:
    """Make the payload of the reply to INFO."""
    return _INFO.pack(fingerprint, version)


def status_text(status: int) -> str:
    """Say in words what a status means."""
    if status not in _TEXTS:
        return f"status {status} is unknown: must be 0 to {max(_TEXTS)}"
    return _TEXTS[Status(status)]


def _address(space_index: int, first: int) -> None:
    if not 0 <= space_index < MAX_SPACES:
        raise ValueError(f"number of the space is {space_index}: must be 0 to {MAX_SPACES - 1}")
    if not 0 <= first <= 0xFFFFFFFF:
        raise ValueError(f"first row or word is {first}: must be 0 to {0xFFFFFFFF}")


def _expect(command: str, payload: bytes, length: int) -> None:
    if len(payload) != length:
        raise FrameError(f"reply to {command} has {len(payload)} bytes: must have {length}")
