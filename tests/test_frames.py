"""The frame codec: round trips, and every fault is reported."""

import binascii
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hw import frames
from hw.frames import Command, Frame, FrameError, FrameReader, Space, Status

SETTINGS = settings(derandomize=True, deadline=None, max_examples=60)

kinds = st.integers(0, 255)
payloads = st.binary(max_size=40)
garbage = st.binary(max_size=10).map(lambda data: data.replace(b"\xa5", b""))
GOOD = frames.encode(Command.INFO)


def read_all(reader):
    """Read until nothing is left; return frames and error messages in order."""
    events = []
    while True:
        try:
            frame = reader.read(final=True)
        except FrameError as error:
            events.append(str(error))
            continue
        if frame is None:
            assert reader.pending == 0
            return events
        events.append(frame)


def test_bytes_of_a_frame():
    """The format is what the module's table says, byte by byte."""
    body = bytes([3, 7, 0, 2, 4, 3, 2, 1, 6, 5])
    checksum = binascii.crc32(body).to_bytes(4, "little")
    assert frames.read_request(2, 0x01020304, 0x0506) == b"\xa5" + body + checksum
    assert frames.encode(0x31, b"")[:4] == b"\xa5\x31\x00\x00"
    assert frames.decode(frames.run_request()) == (Command.RUN, b"")
    assert frames.decode(frames.info_request()) == (Command.INFO, b"")
    assert frames.decode(frames.load_request(1, 0x102, b"xyz")) == (1, b"\x01\x02\x01\0\0xyz")


@SETTINGS
@given(kinds, payloads)
def test_round_trip(kind, payload):
    """One frame comes back as it went."""
    assert frames.decode(frames.encode(kind, payload)) == Frame(kind, payload)


@SETTINGS
@given(st.lists(st.tuples(garbage, kinds, payloads), max_size=4), garbage, st.data())
def test_stream_round_trip(parts, tail, data):
    """Frames between garbage come back in order, however the bytes are cut."""
    wire = b"".join(lead + frames.encode(kind, payload) for lead, kind, payload in parts) + tail
    reader, got = FrameReader(), []
    while wire:
        size = data.draw(st.integers(1, len(wire)))
        reader.feed(wire[:size])
        wire = wire[size:]
        while (frame := reader.read()) is not None:
            got.append(frame)
    assert got == [Frame(kind, payload) for _, kind, payload in parts]
    assert reader.skipped == sum(len(lead) for lead, _, _ in parts) + len(tail)
    assert reader.pending == 0


@SETTINGS
@given(kinds, payloads, st.sampled_from(["drop", "double", "flip"]), st.data())
def test_one_fault(kind, payload, fault, data):
    """A fault is reported, the damaged frame does not come out, and the next frame does."""
    wire = bytearray(frames.encode(kind, payload))
    place = data.draw(st.integers(0, len(wire) - 1))
    if fault == "drop":
        del wire[place]
    elif fault == "double":
        # A second copy of the last byte comes behind a whole frame: it is garbage.
        assume(place != len(wire) - 1)
        wire.insert(place, wire[place])
    else:
        wire[place] ^= 1 << data.draw(st.integers(0, 7))
    # A doubled sync byte leaves a good frame behind the first, cut one.
    whole = [Frame(kind, payload)] if fault == "double" and place == 0 else []
    reader = FrameReader()
    reader.feed(bytes(wire) + GOOD)
    events = read_all(reader)
    errors = [event for event in events if isinstance(event, str)]
    assert [event for event in events if isinstance(event, Frame)] == [*whole, (Command.INFO, b"")]
    assert errors or reader.skipped


@SETTINGS
@given(kinds, payloads, st.data())
def test_cut_frame(kind, payload, data):
    """A frame that stops is waited for, reported once no more comes, and the next one is found."""
    wire = frames.encode(kind, payload)
    size = data.draw(st.integers(1, len(wire) - 1))
    reader = FrameReader()
    reader.feed(wire[:size])
    assert reader.read() is None
    with pytest.raises(
        FrameError, match=r"^frame ends after \d+ bytes: (a header|the frame) has \d+$"
    ):
        reader.read(final=True)
    reader.feed(GOOD)
    assert read_all(reader)[-1] == (Command.INFO, b"")


def test_reader_messages():
    """Each error has one message with what was found and what would be right."""
    wire = bytearray(frames.encode(1, b"abc"))
    right = binascii.crc32(wire[1:7])
    wire[7] ^= 1
    text = f"frame of 3 payload bytes has checksum 0x{right ^ 1:08x}: must be 0x{right:08x}"
    with pytest.raises(FrameError, match=f"^{text}$"):
        frames.decode(bytes(wire))
    reader = FrameReader(max_payload=10)
    reader.feed(frames.encode(1, bytes(11)) + frames.encode(1, bytes(10)))
    events = read_all(reader)
    assert events == ["frame announces 11 payload bytes: at most 10 allowed", (1, bytes(10))]
    reader.feed(b"\xa5\x01")
    assert read_all(reader) == ["frame ends after 2 bytes: a header has 4"]
    reader.feed(b"\xa5\x01\x02\x00x")
    assert read_all(reader) == ["frame ends after 5 bytes: the frame has 10"]
    with pytest.raises(FrameError, match=r"^frame starts with nothing: must be 0xa5$"):
        frames.decode(b"")
    with pytest.raises(FrameError, match=r"^frame starts with 0x01: must be 0xa5$"):
        frames.decode(b"\x01" + GOOD)
    with pytest.raises(FrameError, match=r"^2 bytes follow the frame: must be none$"):
        frames.decode(GOOD + b"\0\0")


@SETTINGS
@given(st.integers(1, 40), st.integers(1, 70), st.integers(0, 40), st.integers(0, 60), st.data())
def test_load_requests(rows, row_bits, first, spare, data):
    """An image of any length is cut into whole rows that join up, each frame as full as can be."""
    space = Space("weights", rows + first, row_bits)
    values = data.draw(st.lists(st.integers(0, (1 << row_bits) - 1), max_size=rows))
    image = space.pack(values)
    limit = frames.LOAD_HEADER + space.row_bytes + spare
    got, next_row = b"", first
    requests = list(frames.load_requests(space, 3, image, limit, first_row=first))
    for index, request in enumerate(requests):
        kind, payload = frames.decode(request)
        assert (kind, payload[0]) == (Command.LOAD, 3)
        assert int.from_bytes(payload[1:5], "little") == next_row
        assert len(payload) <= limit
        assert index == len(requests) - 1 or len(payload) + space.row_bytes > limit
        next_row += (len(payload) - 5) // space.row_bytes
        got += payload[5:]
    assert got == image and next_row == first + len(values)
    size = space.row_bytes
    assert values == [
        int.from_bytes(image[at : at + size], "little") for at in range(0, len(image), size)
    ]


def test_replies():
    """Replies come apart as the accelerator puts them together."""
    assert frames.parse_cycles(b"\x01\x02\0\0") == 0x201
    assert frames.parse_words(b"\x01\0\0\0\xff\xff\xff\xff", 2) == (1, 0xFFFFFFFF)
    assert frames.parse_words(b"", 0) == ()
    assert frames.parse_info(frames.info_reply(0xDEADBEEF)) == (0xDEADBEEF, frames.VERSION)
    texts = [frames.status_text(status) for status in Status]
    assert len(set(texts)) == len(Status)
    assert frames.status_text(2) == frames.status_text(Status.LENGTH)
    assert frames.status_text(99) == "status 99 is unknown: must be 0 to 6"


SMALL = Space("bias", 4, 12)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: Space("bias", 0, 8), "space bias has 0 rows: must be 1 to 2147483648"),
        (lambda: Space("bias", 1, 0), "space bias has rows of 0 bits: must be 1 or more"),
        (lambda: SMALL.pack([0, 4096]), "row 1 of space bias is 4096: must fit in 12 bits"),
        (lambda: SMALL.pack([-1]), "row 0 of space bias is -1: must fit in 12 bits"),
        (lambda: frames.encode(256), "kind of frame is 256: must be 0 to 255"),
        (
            lambda: frames.encode(1, bytes(65536)),
            "payload has 65536 bytes: a frame holds at most 65535",
        ),
        (lambda: FrameReader(65536), "max_payload is 65536: must be 0 to 65535"),
        (
            lambda: frames.load_requests(SMALL, 0, bytes(3)),
            "image of space bias has 3 bytes: must be whole rows of 2",
        ),
        (
            lambda: frames.load_requests(SMALL, 0, bytes(8), first_row=1),
            "image of space bias has rows 1 to 4: must be in 0 to 3",
        ),
        (
            lambda: frames.load_requests(SMALL, 0, bytes(8), 6),
            "max_payload is 6: must hold 5 bytes and a row of 2",
        ),
        (lambda: frames.read_request(0, 0, 16384), "read asks for 16384 words: must be 0 to 16383"),
        (lambda: frames.load_request(256, 0, b""), "number of the space is 256: must be 0 to 255"),
        (
            lambda: frames.read_request(0, 1 << 32, 1),
            "first row or word is 4294967296: must be 0 to 4294967295",
        ),
        (lambda: frames.parse_cycles(b""), "reply to RUN has 0 bytes: must have 4"),
        (lambda: frames.parse_words(bytes(4), 2), "reply to READ has 4 bytes: must have 8"),
        (lambda: frames.parse_info(bytes(4)), "reply to INFO has 4 bytes: must have 5"),
    ],
)
def test_refusals(call, text):
    """What cannot be sent or understood is refused with one message."""
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        call()
