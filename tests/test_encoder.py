"""Encoder against a plain walk through its chunks."""

import random
import re

import pytest

from hw.encoder import Encoder
from sim.streams import REGIMES
from tests.play import Run, play

ROW_BITS = 8


def make(entries: int = 8, time_steps: int = 4) -> Encoder:
    return Encoder(entries=entries, time_steps=time_steps, row_bits=ROW_BITS)


def chunk(dut: Encoder, rng: random.Random, density: float, *, last: bool = False) -> dict:
    """A chunk of which a share of the bundles has spikes."""
    spikes = [rng.randrange(1, 1 << dut.time_steps) for _ in range(dut.entries)]
    return {
        "bundles": [bundle if rng.random() < density else 0 for bundle in spikes],
        "row": rng.randrange(1 << ROW_BITS),
        "last": last,
    }


def groups_of_chunks(dut: Encoder, rng: random.Random, groups: int) -> list[dict]:
    """Output groups of one to five chunks; every density from none to all of the bundles."""
    made = []
    for _ in range(groups):
        count = rng.randint(1, 5)
        for index in range(count):
            density = rng.choice((0, 0, 0.1, 0.5, 0.9, 1))
            made.append(chunk(dut, rng, density, last=index == count - 1))
    return made


def encode(chunks: list[dict]) -> list[dict]:
    """Events of chunks."""
    events = []
    for each in chunks:
        spikes = [(place, bundle) for place, bundle in enumerate(each["bundles"]) if bundle]
        if each["last"] and not spikes:
            spikes = [(0, 0)]
        for number, (index, gates) in enumerate(spikes, 1):
            last = int(each["last"] and number == len(spikes))
            events.append({"index": index, "gates": gates, "row": each["row"], "last": last})
    return events


def run_of(chunks: list[dict], **more) -> Run:
    return Run(chunks, encode(chunks), **more)


@pytest.mark.parametrize("time_steps", [1, 2, 4])
@pytest.mark.parametrize("entries", [4, 8, 16])
def test_events(entries, time_steps):
    dut, rng = make(entries, time_steps), random.Random(entries + time_steps)
    play(dut, [run_of(groups_of_chunks(dut, rng, 12))])


@pytest.mark.parametrize("entries", [1, 3])
def test_chunks_of_other_sizes(entries):
    dut, rng = make(entries), random.Random(entries)
    play(dut, [run_of(groups_of_chunks(dut, rng, 12))], regime="both")


@pytest.mark.parametrize("regime", REGIMES)
def test_stalls(regime):
    dut, rng = make(), random.Random(regime)
    play(dut, [run_of(groups_of_chunks(dut, rng, 20))], regime=regime)


@pytest.mark.parametrize("density", [0, 0.2, 1])
def test_one_density(density):
    dut, rng = make(), random.Random(1)
    chunks = [chunk(dut, rng, density, last=index % 3 == 2) for index in range(18)]
    play(dut, [run_of(chunks)], regime="sink")


def test_every_pattern_of_four_bundles():
    dut = make(4, 1)
    chunks = [
        {"bundles": [pattern >> place & 1 for place in range(4)], "row": pattern, "last": last}
        for last in (0, 1)
        for pattern in range(16)
    ]
    play(dut, [run_of(chunks)])


@pytest.mark.parametrize("bundles", [[0] * 8, [0] * 7 + [1], [5] + [0] * 7, [15] * 8])
def test_latency(bundles):
    """Three cycles from a chunk's arrival at an idle encoder to its first event."""
    chunks = [{"bundles": bundles, "row": 9, "last": 1}]
    (played,) = play(make(), [run_of(chunks)])
    assert played.taken == [0]
    assert played.given == list(range(3, 3 + max(1, sum(map(bool, bundles)))))


def test_an_event_a_cycle():
    """Chunks with spikes, and empty ones that end a group, follow each other without a gap."""
    dut, rng = make(), random.Random(3)
    chunks = [chunk(dut, rng, 0.4, last=True) for _ in range(20)]
    chunks += [chunk(dut, rng, 0, last=True) for _ in range(5)]
    (played,) = play(dut, [run_of(chunks)])
    assert played.given == list(range(3, 3 + len(encode(chunks))))


def test_empty_chunks_hide_behind_scanning():
    """Behind a chunk of n events, n - 1 empty chunks take no time and each one more a cycle."""
    dut, rng = make(), random.Random(4)
    for empty in range(12):
        chunks = [chunk(dut, rng, 1)]
        chunks += [chunk(dut, rng, 0) for _ in range(empty)]
        chunks += [chunk(dut, rng, 1, last=True)]
        (played,) = play(dut, [run_of(chunks)])
        gap = max(0, empty - 7)
        assert played.given == [*range(3, 11), *range(11 + gap, 19 + gap)], f"{empty} empty chunks"


def test_empty_chunks_are_dropped_one_a_cycle():
    dut, rng = make(), random.Random(5)
    chunks = [chunk(dut, rng, 0) for _ in range(10)] + [chunk(dut, rng, 0, last=True)]
    (played,) = play(dut, [run_of(chunks)])
    assert played.taken == list(range(11))
    assert played.given == [13]


@pytest.mark.parametrize("at", range(1, 12))
def test_reset_in_mid_run(at):
    dut, rng = make(), random.Random(at)
    before, after = groups_of_chunks(dut, rng, 8), groups_of_chunks(dut, rng, 8)
    play(dut, [run_of(before, reset_at=at), run_of(after)], regime="sink", seed=at)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"entries": 0}, "entries is 0: must be at least 1"),
        ({"time_steps": 0}, "time_steps is 0: must be at least 1"),
    ],
)
def test_bad_parameters(changes, text):
    with pytest.raises(ValueError, match=rf"^{re.escape(text)}$"):
        Encoder(**{"entries": 8, "time_steps": 4, "row_bits": 8, **changes})
