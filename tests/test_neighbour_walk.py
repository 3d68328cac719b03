"""The walk over neighbours against the definition of the taps."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.local_taps import local_taps
from hw.neighbour_walk import NeighbourWalk, checkerboard_sides
from tests.streams import REGIMES, run_stream


def events(dut: NeighbourWalk, images: int) -> list[tuple]:
    """Events in order, in the form of :func:`read`."""
    height, width = dut.grid
    made = []
    for image, (y, x), part in product(
        range(images), product(range(height), range(width)), range(dut.parts)
    ):
        own = place(dut, y, x, part)
        lists = []
        for side in dut.sides:
            base = (image % dut.blocks * dut.parts + part) * len(side)
            lists.append(
                [
                    (place(dut, y + tap.down, x + tap.right, part), base + number)
                    for number, tap in enumerate(side)
                    if 0 <= y + tap.down < height and 0 <= x + tap.right < width
                ]
            )
        count = max(map(len, lists))
        centre = [(tap.down, tap.right) for tap in dut.sides[0]].index((0, 0))
        own_weight = (image % dut.blocks * dut.parts + part) * len(dut.sides[0]) + centre
        for number in range(count):
            taps = [found[number] if number < len(found) else None for found in lists]
            is_own = taps[0] is not None and taps[0][1] == own_weight
            odd = (y + x) % 2
            made.append((taps, own, odd, is_own, number == 0, number == count - 1))
    return made


def place(dut: NeighbourWalk, y: int, x: int, part: int) -> int:
    """Row of a token and part in its memory."""
    width = dut.grid[1]
    if dut.checkerboard:
        return (y * -(-width // 2) + x // 2) * dut.parts + part
    return (y * width + x) % (dut.ring or dut.tokens) * dut.parts + part


def read(event) -> tuple:
    sides = [event.sides[name] for name in event.shape()["sides"].shape.members]
    taps = [(side.row, side.weight) if side.present else None for side in sides]
    return taps, event.row, event.odd, bool(event.own), bool(event.first), bool(event.last)


def check(dut: NeighbourWalk, regime: str = "none", images: int = 1) -> list[int]:
    async def opened(ctx):
        ctx.set(dut.open, 1)

    want = events(dut, images)
    got, cycles = run_stream(
        dut, [], len(want), source="o", regime=regime, read=read, background=(opened,)
    )
    for number, (have, wish) in enumerate(zip(got, want, strict=True)):
        assert have == wish, f"walk {dut.grid}: event {number}, cycle {cycles[number]}"
    return cycles


@settings(max_examples=12, deadline=None)
@given(
    grid=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    parts=st.integers(1, 3),
    dilations=st.sampled_from([(3, 5), (3,), (1, 2), (2, 4)]),
    causal=st.booleans(),
    kind=st.sampled_from(["plain", "checkerboard", "ring"]),
    regime=st.sampled_from(REGIMES),
)
def test_walk(grid, parts, dilations, causal, kind, regime):
    taps = local_taps(dilations, causal=causal)
    sides = checkerboard_sides(taps) if kind == "checkerboard" else [taps]
    ring = None
    if kind == "ring":
        far = max(dilations) * (grid[1] + 1)
        ring = min(grid[0] * grid[1], (1 if causal else 2) * far + 1)
    check(
        NeighbourWalk(
            grid=grid,
            sides=sides,
            parts=parts,
            checkerboard=kind == "checkerboard",
            ring=ring,
        ),
        regime,
    )


@pytest.mark.parametrize("grid", [(4, 4), (14, 14), (7, 10)])
def test_cycles(grid):
    """An event a cycle from the first on, also over two blocks."""
    sides = checkerboard_sides(local_taps((3, 5)))
    dut = NeighbourWalk(grid=grid, sides=sides, parts=2, blocks=2, checkerboard=True)
    cycles = check(dut, images=3)
    assert cycles == list(range(4, 4 + len(cycles)))
