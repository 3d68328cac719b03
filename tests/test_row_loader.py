"""Row loader and row buffer on their own; the host port's tests use them as they are meant."""

import re

import pytest
from amaranth.sim import Simulator

from hw.row_buffer import RowBuffer
from hw.row_loader import RowLoader, load_layout
from tests.host_top import WRITE_SPACES


def run_loader(loader, payloads):
    """Give the loader a payload a cycle, None for none; return (cycle, row, word) of each write."""
    writes = []

    async def bench(ctx):
        for cycle, payload in enumerate([*payloads, None]):
            assert ctx.get(loader.i.ready), f"row loader, cycle {cycle}: not ready"
            if ctx.get(loader.write_en):
                writes.append((cycle, ctx.get(loader.write_addr), ctx.get(loader.write_data)))
            ctx.set(loader.i.valid, payload is not None)
            if payload is not None:
                ctx.set(loader.i.payload, payload)
            await ctx.tick()

    simulator = Simulator(loader)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return writes


def row(space, index, values):
    """Payloads of one row."""
    size = len(values)
    return [
        {"space": space, "row": index, "data": value, "first": n == 0, "last": n == size - 1}
        for n, value in enumerate(values)
    ]


def test_rows():
    """Own rows are written in the cycle after their last byte, bits above the row dropped."""
    loader = RowLoader(1, 300, 12, layout=load_layout(WRITE_SPACES))
    mine, other = row(1, 299, [0x34, 0xF2]), row(0, 5, [1, 2])
    payloads = [*mine, *other, None, other[0], mine[0], other[1], None, mine[1], *row(1, 7, [9, 8])]
    assert run_loader(loader, payloads) == [(2, 299, 0x234), (10, 299, 0x234), (12, 7, 0x809)]
    byte = RowLoader(2, 3, 5, layout=load_layout(WRITE_SPACES))
    assert run_loader(byte, row(2, 1, [0xFF]) + row(2, 2, [2])) == [(1, 1, 0x1F), (2, 2, 2)]


def test_whole_row_needs_its_first_byte():
    """A loader that missed the first byte of a row does not write it."""
    loader = RowLoader(1, 300, 24, layout=load_layout(WRITE_SPACES))
    payloads = [*row(1, 3, [1, 2, 3])[1:], *row(1, 4, [4, 5, 6])]
    assert run_loader(loader, payloads) == [(5, 4, 0x060504)]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ((0, 0, 8), "loader of 0 rows of 8 bits: both must be at least 1"),
        ((0, 1, 0), "loader of 1 rows of 0 bits: both must be at least 1"),
        ((4, 1, 8), "space is 4: the layout has room for 0 to 3"),
        ((0, 513, 8), "rows is 513: the layout has room for 512"),
    ],
)
def test_bad_loader(call, text):
    """The same for a loader."""
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        RowLoader(*call, layout=load_layout(WRITE_SPACES))


def test_bad_buffer():
    """The same for the row buffer."""
    with pytest.raises(ValueError, match=r"^row_bytes is 9: must be 1 to the depth, 8$"):
        RowBuffer(8, 9)
