"""The host port against the codec: loads, runs, reads, errors, stalls, resets, latency."""

import random
import re
from itertools import pairwise

import pytest
from amaranth.back import rtlil, verilog

from hw import frames
from hw.frames import Command, Space, Status
from hw.host_port import HostPort
from hw.row_loader import RowLoader, load_layout
from tests.host_top import (
    INFO,
    MAX_PAYLOAD,
    OK,
    RAN,
    READ_SPACES,
    WRITE_SPACES,
    Session,
    broken,
    load,
    raw,
    row_values,
    words,
)
from tests.streams import REGIMES


@pytest.mark.parametrize("regime", REGIMES)
def test_session(regime):
    """Loads of every space, run, read back, info: all in one go, under stalls."""
    bias, flag, rows = (row_values(space, n, 5) for space, n in ((0, 6), (1, 3), (2, 10)))
    image = WRITE_SPACES[2].pack(rows)
    chunks = list(frames.load_requests(WRITE_SPACES[2], 2, image, MAX_PAYLOAD, first_row=290))
    assert len(chunks) == 3
    wire = [load(0, 0, bias), load(1, 0, flag), *chunks, frames.run_request()]
    replies = [OK, OK, *[OK] * len(chunks), RAN]
    reads = [(0, 0, bias), (1, 1, flag[1:]), (2, 290, rows)]
    for space, first, values in reads:
        wire.append(frames.read_request(space, first, len(values)))
        replies.append((Status.OK, words(*(value & 0xFFFFFFFF for value in values))))
    wire.append(frames.info_request())
    replies.append(INFO)
    session = Session(b"".join(wire), replies, regime=regime, seed=3)
    expected = {(0, row): [value] for row, value in enumerate(bias)}
    expected |= {(1, row): [value] for row, value in enumerate(flag)}
    expected |= {(2, 290 + row): [value] for row, value in enumerate(rows)}
    assert session.writes == expected
    assert len(session.cycles("start")) == 1


ERRORS = {
    "checksum": (broken(load(0, 0, [1, 2])), Status.CHECKSUM),
    "checksum of data": (broken(load(0, 0, [1, 2]), 10), Status.CHECKSUM),
    "checksum of space": (broken(load(1, 0, [1]), 4), Status.CHECKSUM),
    "checksum of run": (broken(frames.run_request(), 5), Status.CHECKSUM),
    "checksum first": (broken(raw(9, b"abc"), 5), Status.CHECKSUM),
    "command 0": (raw(0, b""), Status.COMMAND),
    "command 5": (raw(5, b"123"), Status.COMMAND),
    "command 129": (raw(129, load(0, 0, [1])[4:-4]), Status.COMMAND),
    "command before length": (raw(6, bytes(MAX_PAYLOAD)), Status.COMMAND),
    "load of nothing": (raw(1, b""), Status.LENGTH),
    "load without rows": (raw(1, bytes(5)), Status.LENGTH),
    "half a row": (raw(1, bytes(5 + 3)), Status.LENGTH),
    "most of a row": (raw(1, [2, 0, 0, 0, 0, *bytes(9)]), Status.LENGTH),
    "run with payload": (raw(2, b"x"), Status.LENGTH),
    "info with full payload": (raw(4, bytes(MAX_PAYLOAD)), Status.LENGTH),
    "short read": (raw(3, bytes(6)), Status.LENGTH),
    "long read": (raw(3, bytes(8)), Status.LENGTH),
    "read of too much": (raw(3, [0, 0, 0, 0, 0, 0, 0x40]), Status.LENGTH),
    "length before space": (raw(3, [9]), Status.LENGTH),
    "load of space 3": (raw(1, [3, 0, 0, 0, 0, 1, 2]), Status.SPACE),
    "load of space 130": (raw(1, [130, 0, 0, 0, 0, 1, 2, 3]), Status.SPACE),
    "read of space 4": (raw(3, [4, 0, 0, 0, 0, 1, 0]), Status.SPACE),
    "space before range": (raw(3, [255, 0, 0, 0, 1, 1, 0]), Status.SPACE),
    "row behind the end": (load(1, 3, [7]), Status.RANGE),
    "rows across the end": (load(0, 4, [1, 2, 3]), Status.RANGE),
    "row 512": (load(2, 512, [7]), Status.RANGE),
    "row 2**31": (load(1, 1 << 31, [7]), Status.RANGE),
    "row 2**32-1": (load(1, 0xFFFFFFFF, [7]), Status.RANGE),
    "words across the end": (frames.read_request(1, 2, 2), Status.RANGE),
    "many words": (frames.read_request(2, 0, 301), Status.RANGE),
    "word 2**16": (frames.read_request(2, 1 << 16, 1), Status.RANGE),
}


@pytest.mark.parametrize("regime", REGIMES)
def test_errors(regime):
    """Each error has its reply, reaches no memory and starts nothing; the next frame works."""
    before = {space: row_values(space, 3, 8) for space in range(3)}
    wire = [load(space, 0, values) for space, values in before.items()]
    replies = [OK] * 3
    # Without stalls all cases, else every third.
    cases = list(ERRORS.values())
    step = 1 if regime == "none" else 3
    for index, (frame, status) in enumerate(cases[REGIMES.index(regime) % step :: step]):
        value = before[1][index % 3]
        wire += [frame, frames.read_request(1, index % 3, 1)]
        replies += [(status, b""), (Status.OK, words(value))]
    for space, values in before.items():
        wire.append(frames.read_request(space, 0, 3))
        replies.append((Status.OK, words(*(value & 0xFFFFFFFF for value in values))))
    session = Session(b"".join(wire), replies, regime=regime, seed=11)
    assert session.writes == {
        (space, row): [value] for space, rows in before.items() for row, value in enumerate(rows)
    }
    assert session.cycles("start") == []


def test_edges():
    """The longest payload, last rows and words, no words: all good."""
    rows = row_values(0, 6, 1) + row_values(0, 6, 2)
    full = raw(1, [1, 0, 0, 0, 0, *bytes(24)])
    assert len(frames.decode(full).payload) == MAX_PAYLOAD
    wire = [
        full, load(2, 299, [1 << 32]), load(0, 0, rows[:6]), load(0, 5, rows[6:7]),
        frames.read_request(2, 299, 1), frames.read_request(0, 6, 0), frames.read_request(0, 5, 1),
        load(0, 0, rows[6:]),
    ]  # fmt: skip
    replies = [
        (Status.RANGE, b""), OK, OK, OK,
        (Status.OK, words(0)), (Status.OK, b""), (Status.OK, words(rows[6])), OK,
    ]  # fmt: skip
    session = Session(b"".join(wire), replies)
    assert session.writes[2, 299] == [1 << 32]
    assert session.writes[0, 5] == [rows[5], rows[6], rows[11]]


@pytest.mark.parametrize("regime", ["none", "both"])
def test_over_long_and_garbage(regime):
    """An over-long frame is refused after its header; then, as ever, garbage is ignored."""
    noise = bytes(value for value in random.Random(4).randbytes(40) if value != frames.SYNC)
    long = raw(1, bytes(MAX_PAYLOAD + 1))
    huge = raw(2, bytes(40))[:2] + b"\xff\xff"
    wire = noise + long + noise + frames.info_request() + huge + frames.info_request() + noise
    wire += load(1, 0, [0xA5, 0xA5, 0xA5]) + frames.read_request(1, 0, 1)
    replies = [(Status.LENGTH, b""), INFO, (Status.LENGTH, b""), INFO, OK]
    session = Session(wire, [*replies, (Status.OK, words(0xA5))], regime=regime)
    assert session.writes == {(1, row): [0xA5] for row in range(3)}
    # The reply comes before any byte behind the header is taken.
    if regime == "none":
        header_end = session.cycles("taken")[len(noise) + 3]
        assert session.reply_cycles[0] == header_end + 2


def send(parts, gap):
    """Background process: sends parts with ``gap`` cycles without a byte after each."""

    async def process(ctx, session):
        port = session.top.i
        for part in parts:
            for byte in part:
                ctx.set(port.payload, byte)
                ctx.set(port.valid, 1)
                await ctx.tick().until(port.ready)
                ctx.set(port.valid, 0)
            for _ in range(gap):
                await ctx.tick()

    return process


TIMEOUT = 12
PLACES = (1, 2, 3, 4, 5, 9, 11, 12, 15, 16)


def test_timeout():
    """A frame that stops is answered and dropped, wherever it stops; the next one works."""
    frame = load(0, 0, [1, 2])
    assert len(frame) == 17
    parts, replies, ends = [], [], []
    for place in PLACES:
        ends.append(sum(map(len, parts)) + place - 1)
        parts += [frame[:place], load(0, 1, [3])]
        replies += [(Status.TIMEOUT, b""), OK]
    session = Session(b"", replies, timeout=TIMEOUT, background=[send(parts, 40)])
    assert session.writes == {(0, 1): [3] * len(PLACES)}
    taken = session.cycles("taken")
    for index, (place, end) in enumerate(zip(PLACES, ends, strict=True)):
        first = session.reply_cycles[16 * index]
        assert first == taken[end] + TIMEOUT + 1 + (place == 4), f"frame cut after {place} bytes"


def test_no_timeout():
    """Gaps below the limit are endured; without a limit so are all; nor does hunting end."""
    frame = load(0, 0, [1, 2])
    parts = [*(frame[n : n + 1] for n in range(17)), b"", b"", frame]
    Session(b"", [OK, OK], timeout=TIMEOUT, background=[send(parts, TIMEOUT - 1)])
    session = Session(b"", [OK], background=[send([frame[:9], frame[9:]], 100)])
    assert session.writes == {(0, 0): [1], (0, 1): [2]}


def test_timeout_under_stalls():
    """A slow sink and a slow run are no reason to drop a frame."""
    wire = load(0, 0, [9]) + frames.run_request() + frames.read_request(0, 0, 1)
    replies = [OK, RAN, (Status.OK, words(9))]
    Session(wire, replies, regime="both", timeout=15, seed=2)


def reset_after(taken, wait=0):
    """Background process: resets for a cycle, ``wait`` cycles after byte ``taken`` was taken."""

    async def process(ctx, session):
        for _ in range(taken):
            await ctx.tick().until(session.top.taken)
        for _ in range(wait):
            await ctx.tick()
        ctx.set(session.top.reset, 1)
        await ctx.tick()
        ctx.set(session.top.reset, 0)

    return process


@pytest.mark.parametrize("taken", [1, 2, 4, 7, 10, 15, 17])
def test_reset_in_a_frame(taken):
    """After a reset nothing of the frame is left, and the next frame works."""
    wire = load(0, 0, [1, 2])[:taken] + bytes(4) + load(0, 3, [4]) + frames.read_request(0, 3, 1)
    session = Session(wire, [OK, (Status.OK, words(4))], background=[reset_after(taken)])
    assert session.writes == {(0, 3): [4]}


@pytest.mark.parametrize("wait", [3, 5, 6, 7, 10, 14, 16])
def test_reset_while_obeying(wait):
    """A reset in a load or its reply leaves whole rows only, and the next frame works."""
    frame = load(0, 0, [0x111, 0x222])
    # The reply starts 9 cycles after the last byte, with a bubble before its checksum; what of it
    # leaves until the reset, which ends in cycle wait + 1, is not looked at.
    sent = sum(cycle <= wait + 1 for cycle in (9, 10, 11, 12, 14, 15, 16, 17))
    session = Session(
        frame + bytes(6) + load(0, 3, [4]),
        [OK],
        skip=sent,
        background=[reset_after(len(frame), wait)],
    )
    assert session.writes.pop((0, 3)) == [4]
    rows = [((0, 0), [0x111]), ((0, 1), [0x222])]
    assert session.writes in [dict(rows[:count]) for count in range(3)]


def test_reset_while_running():
    """A reset in a run drops it: no reply comes, and the next frame works."""
    wire = frames.run_request() + bytes(3) + frames.info_request()
    Session(wire, [INFO], background=[reset_after(8, 6)])


LATENCIES = [
    (frames.info_request(), INFO, 2),
    (broken(frames.info_request()), (Status.CHECKSUM, b""), 2),
    (raw(7, b""), (Status.COMMAND, b""), 2),
    (raw(2, b"1"), (Status.LENGTH, b""), 2),
    (raw(1, [9, 0, 0, 0, 0, 1]), (Status.SPACE, b""), 3),
    (load(0, 6, [1]), (Status.RANGE, b""), 4),
    (frames.read_request(0, 6, 0), OK, 4),
    (frames.read_request(0, 0, 1), (Status.OK, words(0)), 6),
    (frames.read_request(2, 7, 9), (Status.OK, words(*[0] * 9)), 6),
    (load(0, 0, [1]), OK, 5 + 2),
    (load(2, 0, [1, 2, 3]), OK, 5 + 15),
    (frames.run_request(), RAN, 2 + 20 + 1),
]


def test_latency():
    """Each reply starts and ends, and each row byte leaves, in the cycle the docstring states."""
    session = Session(
        b"".join(request for request, _, _ in LATENCIES), [reply for _, reply, _ in LATENCIES]
    )
    taken, sent, moved = session.cycles("taken"), session.reply_cycles, session.cycles("moved")
    for request, (status, payload), latency in LATENCIES:
        case = f"{Command(request[1]).name if request[1] < 5 else request[1]}, {status.name}"
        mine, taken = taken[: len(request)], taken[len(request) :]
        answer, sent = sent[: 8 + len(payload)], sent[8 + len(payload) :]
        # A cycle to judge the length behind the header, else a byte a cycle.
        gaps = [after - before for before, after in pairwise(mine)]
        assert gaps == [1, 1, 1, 2, *[1] * (len(mine) - 5)], case
        assert answer[0] - mine[-1] == latency, case
        words_after_first = max(-(-len(payload) // 4) - 1, 0)
        assert answer[-1] + 1 - answer[0] == 9 + len(payload) + 2 * words_after_first, case
        if request[1] == Command.LOAD and status == Status.OK:
            row_bytes, moved = moved[: latency - 5], moved[latency - 5 :]
            assert row_bytes == list(range(mine[-1] + 5, answer[0])), case
    assert session.cycles("start") == [mine[-1] + 2]
    assert session.cycles("done") == [answer[0] - 1]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ({"write_spaces": ()}, "write_spaces has 0: must be 1 to 256"),
        ({"read_spaces": READ_SPACES * 100}, "read_spaces has 300: must be 1 to 256"),
        (
            {"read_spaces": WRITE_SPACES},
            "read space bias has rows of 12 bits: must be 32",
        ),
        ({"max_payload": 9}, "max_payload is 9: must be 10 to 65535"),
        ({"max_payload": 65536}, "max_payload is 65536: must be 10 to 65535"),
        ({"fingerprint": 1 << 32}, "fingerprint is 4294967296: must be 0 to 4294967295"),
        ({"timeout": -1}, "timeout is -1: must be 0 (off) or more"),
    ],
)
def test_bad_parameters(call, text):
    """Parameters that cannot be are refused with one message."""
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        HostPort(**({"write_spaces": WRITE_SPACES, "read_spaces": READ_SPACES} | call))


def test_netlist():
    """It becomes Verilog, and nothing multiplies or divides."""
    spaces = (Space("one", 1, 1), Space("wide", 1 << 20, 100))
    port = HostPort(
        write_spaces=spaces, read_spaces=(Space("out", 1, 32),), max_payload=2000, timeout=1
    )
    assert "module host_port(" in verilog.convert(port, name="host_port")
    loader = RowLoader(1, 1 << 20, 100, layout=load_layout(spaces))
    for component in (port, loader):
        text = rtlil.convert(component)
        assert re.findall(r"cell \$(?:mul|div|mod|divfloor|modfloor|pow)\b", text) == []
