"""The accelerator's host port as a byte-level model, without time: silence is a read that ends."""

import binascii
import random
import struct

from golden.ranges import Widths
from golden.spec import Preset
from hw import frames, spaces
from hw.build import fingerprint
from hw.frames import Command, Status


def checksum_logits(memories: list[bytearray], words: int) -> list[int]:
    """Words that depend on every byte of every memory."""
    seed = binascii.crc32(b"".join(memories))
    return [binascii.crc32(bytes([word]), seed) for word in range(words)]


class PortModel:
    """A port with a board behind it; what it runs is a checksum of all it was loaded with.

    Parameters
    ----------
    preset, widths : of the board
    late : numbers of the replies (from 0) that come one silence later than they should
    chunk : most bytes that a read returns

    Members
    -------
    requests, replies : all bytes so far, by frame
    """

    name = "model"

    def __init__(
        self, preset: Preset, widths: Widths, *, late: tuple[int, ...] = (), chunk: int = 7
    ) -> None:
        self.write_spaces = spaces.write_spaces(preset, widths)
        self.read_spaces = spaces.read_spaces(preset)
        self.memories = [bytearray(space.rows * space.row_bytes) for space in self.write_spaces]
        self.words = [[0] * space.rows for space in self.read_spaces]
        self.max_payload = spaces.max_payload(preset, widths)
        self.identity = frames.info_reply(fingerprint(preset, widths))
        self.requests: list[bytes] = []
        self.replies: list[bytes] = []
        self.closed = False
        self._late, self._chunk = late, chunk
        self._random = random.Random(0)
        self._in, self._out, self._held = bytearray(), bytearray(), bytearray()

    def read(self, timeout: float) -> bytes:
        """Return some of what is there; if nothing is, the board's time limit passes, then ours."""
        if not self._out and self._in:
            self._in.clear()
            self._answer(Status.TIMEOUT)
        if not self._out:
            self._out, self._held = self._held, self._out
            return b""
        count = self._random.randint(1, self._chunk)
        data = bytes(self._out[:count])
        del self._out[:count]
        return data

    def write(self, data: bytes) -> None:
        """Take bytes and obey the frames in them."""
        self.requests.append(data)
        self._in += data
        while self._step():
            pass

    def close(self) -> None:
        self.closed = True

    def _step(self) -> bool:
        """Take one frame, as `hw.host_port` does; whether there was one."""
        start = self._in.find(frames.SYNC)
        del self._in[: len(self._in) if start < 0 else start]
        if len(self._in) < 4:
            return False
        _, kind, length = struct.unpack_from("<BBH", self._in)
        if length > self.max_payload:
            del self._in[:4]
            self._answer(Status.LENGTH)
            return True
        if len(self._in) < length + 8:
            return False
        frame = bytes(self._in[: length + 8])
        del self._in[: length + 8]
        if binascii.crc32(frame[1:-4]) != int.from_bytes(frame[-4:], "little"):
            self._answer(Status.CHECKSUM)
        else:
            self._answer(*self._obey(kind, frame[4:-4]))
        return True

    def _obey(self, kind: int, payload: bytes) -> tuple[Status, bytes]:
        if kind == Command.INFO and not payload:
            return Status.OK, self.identity
        if kind == Command.RUN and not payload:
            self.words[0] = checksum_logits(self.memories, len(self.words[0]))
            return Status.OK, struct.pack("<I", 1234)
        if kind == Command.LOAD and len(payload) > frames.LOAD_HEADER:
            index, row = struct.unpack_from("<BI", payload)
            rows = payload[frames.LOAD_HEADER :]
            size = self.write_spaces[index].row_bytes
            assert len(rows) % size == 0
            self.memories[index][row * size : row * size + len(rows)] = rows
            return Status.OK, b""
        if kind == Command.READ and len(payload) == frames.READ_LENGTH:
            index, word, count = struct.unpack("<BIH", payload)
            if word + count > len(self.words[index]):
                return Status.RANGE, b""
            return Status.OK, struct.pack(f"<{count}I", *self.words[index][word : word + count])
        if kind not in set(Command):
            return Status.COMMAND, b""
        return Status.LENGTH, b""

    def _answer(self, status: Status, payload: bytes = b"") -> None:
        reply = frames.encode(status, payload)
        where = self._held if len(self.replies) in self._late else self._out
        self.replies.append(reply)
        where += reply
