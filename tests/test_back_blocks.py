"""Residual, Packer and Logits."""

import random
import re
from itertools import product

import pytest
from amaranth.hdl import signed, unsigned
from amaranth.lib import data

from hw.layouts import NeuronKind
from hw.logits import Logits
from hw.packer import Packer
from hw.residual import ResidualMode
from sim.matrix import LANES, STEPS
from sim.streams import REGIMES
from sim.tops import Top, residual_top
from tests.play import Run, play

NONE, SET, ADD = ResidualMode
BINARY = NeuronKind.BINARY
KINDS = (NeuronKind.RELU, NeuronKind.TERNARY, NeuronKind.BINARY)


def make_residual(lanes: int = 4, time_steps: int = 2, *, rows: int = 6, **changes) -> Top:
    parameters = {"in_width": 8, "stored_width": 11, "width": 11, "head_slices": 2, "kinds": KINDS}
    return residual_top(lanes=lanes, time_steps=time_steps, rows=rows, **{**parameters, **changes})


def residual_image(dut: Top, rng: random.Random, *, extreme: bool = False) -> list[Run]:
    """The layers of an image in the order of a network, and the potentials that they make."""
    block = dut.block
    high = 1 << (block.in_width - 1)
    words = (-high, high - 1) if extreme else range(-high, high)
    stream: list = []
    runs = []
    for mode, qkv, count in (
        *((NONE, 0, 2 * block.rows + 1), (SET, 0, block.rows), (ADD, 0, block.rows)),
        *((NONE, 1, 3 * block.rows), (ADD, 0, block.rows), (NONE, 0, 3), (ADD, 0, block.rows)),
    ):
        send, expect = [], []
        for index in range(count):
            sums = [rng.choices(words, k=block.time_steps) for _ in range(block.lanes)]
            base = stream[index] if mode == ADD else [[0] * block.time_steps] * block.lanes
            total = [
                [x + y for x, y in zip(*pair, strict=True)] for pair in zip(sums, base, strict=True)
            ]
            if mode == ADD:
                stream[index] = total
            elif mode == SET:
                stream[index:] = [total]
            kind = block.kinds[index // block.head_slices % 3] if qkv else BINARY
            send.append({"sums": sums})
            expect.append({"sums": total, "kind": kind})
        runs.append(Run(send, expect, {"mode": mode, "qkv": qkv}))
    return runs


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("time_steps", STEPS)
def test_residual_of_several_images(time_steps, lanes):
    dut, rng = make_residual(lanes, time_steps), random.Random(lanes + time_steps)
    runs = [run for _ in range(2) for run in residual_image(dut, rng)]
    for run, played in zip(runs, play(dut, runs), strict=True):
        assert played.taken == list(range(3, 3 + len(run.send))), (
            "rows are ready 3 cycles after start"
        )
        assert played.given == list(range(4, 4 + len(run.send))), "a cycle, a slice a cycle"


@pytest.mark.parametrize("regime", REGIMES)
def test_residual_stalls(regime):
    dut, rng = make_residual(), random.Random(regime)
    runs = [run for _ in range(3) for run in residual_image(dut, rng)]
    play(dut, runs, regime=regime)


@pytest.mark.parametrize("head_slices", [1, 2, 3])
def test_kinds_of_a_head(head_slices):
    dut = make_residual(rows=7, head_slices=head_slices)
    play(dut, residual_image(dut, random.Random(head_slices)), regime="both")
    dut = make_residual(rows=7, head_slices=head_slices, kinds=(BINARY, *KINDS[:2]))
    play(dut, residual_image(dut, random.Random(head_slices)))


def test_residual_at_the_ends_of_its_range():
    """Four additions of 8 bits need 10; as wide in the memory as on the way to the neurons."""
    dut = make_residual(stored_width=10, width=10)
    low = [
        Run(
            [{"sums": [[word] * 2] * 4}] * 6,
            [{"sums": [[word * times] * 2] * 4, "kind": BINARY}] * 6,
            {"mode": mode, "qkv": 0},
        )
        for word in (-128, 127)
        for times, mode in ((1, SET), (2, ADD), (3, ADD), (4, ADD))
    ]
    play(dut, [*low, *residual_image(dut, random.Random(1), extreme=True)])


@pytest.mark.parametrize("at", [1, 2, 3, 4, 6, 9])
def test_residual_reset_in_mid_run(at):
    dut, rng = make_residual(), random.Random(at)
    before, after = residual_image(dut, rng), residual_image(dut, rng)
    for index in (1, 3):
        run = before[index]
        broken = Run(run.send * 3, run.expect * 3, run.hold, reset_at=at)
        play(dut, [broken, *after], regime="sink", seed=at)


def make_packer(
    lanes: int = 8, slice_lanes: int = 4, time_steps: int = 2, rows: int = 21
) -> Packer:
    return Packer(lanes=lanes, slice_lanes=slice_lanes, time_steps=time_steps, rows=rows)


def packer_run(dut: Packer, rng: random.Random, rows: int, *, base=0, pool=0, **more) -> Run:
    """Slices of rows of spikes, and the rows written."""
    send, expect = [], []
    for addr in range(base, base + rows):
        total = [0] * dut.lanes
        for _ in range(4 if pool else 1):
            # Few spikes, so that an OR of four differs from each of them.
            bundles = [
                rng.getrandbits(dut.time_steps) & rng.getrandbits(dut.time_steps)
                for _ in range(dut.lanes)
            ]
            total = [a | b for a, b in zip(total, bundles, strict=True)]
            send += [
                {"bundles": bundles[at : at + dut.slice_lanes]}
                for at in range(0, dut.lanes, dut.slice_lanes)
            ]
        expect.append({"addr": addr, "data": total})
    return Run(send, expect, {"base": base, "pool": pool}, **more)


def packer_runs(dut: Packer, rng: random.Random) -> list[Run]:
    """Layers that write both ends of the memory, pooled and not."""
    shapes = ((0, 0, 5), (16, 1, 5), (3, 1, 2), (1, 0, 20), (2, 1, 3))
    return [packer_run(dut, rng, rows, base=base, pool=pool) for base, pool, rows in shapes]


def play_packer(dut: Packer, runs: list[Run], **options):
    return play(dut, runs, row=data.ArrayLayout(unsigned(dut.time_steps), dut.lanes), **options)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("time_steps", STEPS)
def test_rows_of_spikes(time_steps, lanes):
    rng = random.Random(lanes + time_steps)
    for slice_lanes in (lanes, lanes // 2, 4):
        dut = make_packer(lanes, slice_lanes, time_steps)
        runs = packer_runs(dut, rng)
        for run, played in zip(runs, play_packer(dut, runs), strict=True):
            slices = len(run.send) // len(run.expect)
            assert played.taken == list(range(1, 1 + len(run.send))), "never stalls"
            ends = [slices * (row + 1) for row in range(len(run.expect))]
            assert played.given == [end + 1 for end in ends], "the cycle after the last slice"


def test_rows_of_three_slices():
    dut = make_packer(6, 2)
    play_packer(dut, packer_runs(dut, random.Random(1)), regime="source")


@pytest.mark.parametrize("regime", REGIMES)
def test_packer_stalls(regime):
    dut = make_packer(16)
    play_packer(dut, packer_runs(dut, random.Random(2)), regime=regime)


@pytest.mark.parametrize("at", range(1, 10))
def test_packer_reset_in_mid_run(at):
    dut, rng = make_packer(), random.Random(at)
    for pool in (0, 1):
        broken = packer_run(dut, rng, 15, base=4, pool=pool, reset_at=at)
        play_packer(dut, [broken, *packer_runs(dut, rng)], regime="source", seed=at)


@pytest.mark.parametrize("slice_lanes", [0, 3])
def test_bad_packer(slice_lanes):
    text = f"slice_lanes is {slice_lanes}: must divide lanes, 8"
    with pytest.raises(ValueError, match=rf"^{re.escape(text)}$"):
        make_packer(8, slice_lanes)


def make_logits(lanes: int = 4, time_steps: int = 2, *, width: int = 12, words: int = 12) -> Logits:
    return Logits(lanes=lanes, time_steps=time_steps, width=width, words=words)


def logits_run(dut: Logits, rng: random.Random, slices: int, **more) -> Run:
    """Slices of the head's sums, and the words written."""
    high = 1 << (dut.width - 1)
    send, expect = [], []
    for index in range(slices):
        words = rng.choice((range(-high, high), (-high,), (high - 1,)))
        sums = [rng.choices(words, k=dut.time_steps) for _ in range(dut.lanes)]
        send.append({"sums": sums})
        start = index * dut.lanes
        expect += [{"addr": start + lane, "data": sum(sums[lane])} for lane in range(dut.lanes)]
    return Run(send, expect, **more)


@pytest.mark.parametrize(("lanes", "time_steps"), [*product(LANES, STEPS), (1, 4), (3, 3)])
def test_logits(lanes, time_steps):
    for width in (2, 12, 29):
        dut = make_logits(lanes, time_steps, width=width, words=3 * lanes)
        runs = [logits_run(dut, random.Random(lanes), slices) for slices in (3, 1, 3)]
        for run, played in zip(runs, play(dut, runs, row=signed(32)), strict=True):
            assert played.taken == [lanes * (k + 1) for k in range(len(run.send))]
            assert played.given == list(range(3, 3 + len(run.expect))), "a word a cycle"


@pytest.mark.parametrize("regime", REGIMES)
def test_logits_stalls(regime):
    dut = make_logits()
    runs = [logits_run(dut, random.Random(seed), 3) for seed in range(6)]
    play(dut, runs, regime=regime, row=signed(32))


@pytest.mark.parametrize("at", range(1, 9))
def test_logits_reset_in_mid_run(at):
    dut, rng = make_logits(), random.Random(at)
    runs = [logits_run(dut, rng, 3, reset_at=at), logits_run(dut, rng, 3)]
    play(dut, runs, regime="source", seed=at, row=signed(32))
