"""Hypergraph files and the partitioner: known cuts, fixed vertices, balance, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from golden.spec import SpecError
from synth.tiers.__main__ import app
from synth.tiers.hypergraph import FREE, Hypergraph, read_hgr, read_labels, write_hgr, write_labels
from synth.tiers.partition import Bounds, partition, quality_preset

EVEN = Bounds.of_imbalance(2)


def two_cliques(size: int, bridges: int) -> Hypergraph:
    """Two rings of triples, joined by a few edges: the best cut is ``bridges``."""
    edges = []
    for base in (0, size):
        for step in (1, 2, 5):
            edges += [[base + v, base + (v + step) % size] for v in range(size)]
    edges += [[v, size + v] for v in range(bridges)]
    order = np.random.default_rng(7).permutation(2 * size)
    return Hypergraph.of([[int(order[v]) for v in edge] for edge in edges], np.ones(2 * size))


def naive_cut(graph: Hypergraph, parts) -> int:
    pairs = zip(graph.edge_lists(), graph.edge_weights, strict=True)
    return sum(int(weight) for pins, weight in pairs if len({parts[p] for p in pins}) > 1)


@st.composite
def graphs(draw):
    vertices = draw(st.integers(1, 12))
    edge = st.lists(st.integers(0, vertices - 1), min_size=1, unique=True).map(sorted)
    edges = draw(st.lists(edge, max_size=10))
    weights = st.integers(1, 9)
    return Hypergraph.of(
        edges,
        draw(st.lists(weights, min_size=vertices, max_size=vertices)),
        draw(st.lists(weights, min_size=len(edges), max_size=len(edges))),
    )


@given(graphs(), st.data())
def test_cut_is_what_a_count_by_hand_gives(graph, data):
    parts = np.array([data.draw(st.integers(0, 2)) for _ in range(graph.vertices)])
    assert graph.cut(parts) == naive_cut(graph, parts)
    weights = [int(graph.vertex_weights[parts == part].sum()) for part in range(3)]
    assert graph.part_weights(parts, 3).tolist() == weights


@given(graphs())
def test_files_come_back(tmp_path_factory, graph):
    path = tmp_path_factory.mktemp("hgr") / "x.hgr"
    write_hgr(graph, path)
    read = read_hgr(path)
    assert read.edge_lists() == graph.edge_lists()
    assert read.edge_weights.tolist() == graph.edge_weights.tolist()
    assert read.vertex_weights.tolist() == graph.vertex_weights.tolist()


def test_best_cut_is_found_and_is_the_same_every_time():
    graph = two_cliques(60, 4)
    parts = partition(graph, EVEN, tries=2)
    assert graph.cut(parts) == 4
    assert graph.part_weights(parts, 2).tolist() == [60, 60]
    assert (parts == partition(graph, EVEN, tries=2)).all()
    assert quality_preset(graph, EVEN, tries=1) >= 4


def test_clusters_give_partitions_besides():
    graph = two_cliques(60, 4)
    clusters = partition(graph, EVEN, tries=2)
    assert graph.cut(partition(graph, EVEN, tries=0, clusters=(clusters,))) == 4
    halves = np.arange(graph.vertices) % 2
    improved = partition(graph, EVEN, tries=0, clusters=(halves,))
    assert graph.cut(improved) < graph.cut(halves) / 4


def test_fixed_vertices_stay_and_parts_may_be_many():
    graph = two_cliques(60, 4)
    fixed = np.full(graph.vertices, FREE)
    fixed[:6] = [0, 1, 2, 0, 1, 2]
    bounds = Bounds.of_imbalance(4, 3)
    parts = partition(graph, bounds, fixed=fixed, tries=2)
    assert (parts[:6] == fixed[:6]).all()
    assert bounds.hold(graph.part_weights(parts, 3))


def test_low_and_high_are_kept_to():
    weights = np.array([24, 24, 25, 27])
    assert EVEN.hold(np.array([48, 52])) and not EVEN.hold(np.array([47, 53]))
    assert Bounds(0.2, 0.3, 4).hold(weights) and not Bounds(0.245, 0.3, 4).hold(weights)


REFUSED_BALANCE = {
    "balance is 51 to 60 % a part: 2 parts must be able to hold 50 % each": (
        Bounds(0.51, 0.60),
        [1, 1, 1, 1],
        None,
    ),
    "balance is 48 to 52 % a part: the heaviest vertex alone has 75.0 %,"
    " so a part must be allowed that much": (EVEN, [9, 1, 1, 1], None),
    "balance is 48 to 52 % a part: what is fixed to part 1 has 75.0 %,"
    " so a part must be allowed that much": (EVEN, [1, 1, 1, 1], [1, 1, 1, FREE]),
    "balance is 49.5 to 50.5 % a part: none of 1 partitions kept to it; allow more, or fix less": (
        Bounds.of_imbalance(0.5),
        [100, 103, 101],
        None,
    ),
}


@pytest.mark.parametrize("message", REFUSED_BALANCE)
def test_impossible_balance(message):
    bounds, weights, fixed = REFUSED_BALANCE[message]
    graph = Hypergraph.of([[0, 1], [1, 2], [0, 2]], weights)
    with pytest.raises(SpecError) as caught:
        partition(graph, bounds, fixed=None if fixed is None else np.array(fixed), tries=1)
    assert str(caught.value) == message


REFUSED_FILES = {
    "": "x.hgr: the first line must be `edges vertices [format]`",
    "1 2 7\n1 2\n": "x.hgr: format 7 is unknown: must be 0, 1, 10 or 11",
    "2 2\n1 2\n": "x.hgr: has 1 lines after the first: must be 2 for 2 edges, 2 vertices and"
    " format 0",
    "1 2\n1 3\n": "x.hgr:2: vertex 3: must be 1 to 2",
    "1 2\n1 b\n": "x.hgr:2: '1 b': must be whole numbers",
    "1 2 10\n1 2\n1\n1 1\n": "x.hgr:4: has 2 numbers: must be one",
    "0 -4\n": "x.hgr: the first line has -4: must be 0 or more",
    "1 2 1\n1\n": "x.hgr:2: an edge without vertices: must have at least one",
    "1 2 10\n1 2\n1\n-1\n": "x.hgr:4: weight -1: must be 0 to 2147483647",
    "1 2 1\n-1 1 2\n": "x.hgr:2: weight -1: must be 0 to 2147483647",
    f"1 2 10\n1 2\n1\n{10**30}\n": f"x.hgr:4: weight {10**30}: must be 0 to 2147483647",
    "1 2 10\n1 2\n2000000000\n2000000000\n": "x.hgr: weights of vertices add up to 4000000000:"
    " must be 1 to 2147483647",
    "1 2 10\n1 2\n0\n0\n": "x.hgr: weights of vertices add up to 0: must be 1 to 2147483647",
}


@pytest.mark.parametrize("text", REFUSED_FILES)
def test_bad_hypergraph(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.hgr").write_text(text)
    assert_refused(["partition", "x.hgr"], REFUSED_FILES[text], tmp_path)


def assert_refused(words, said, folder):
    """One message, and nothing beside the hypergraph."""
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, done.stderr) == (2, f"error: {said}\n")
    assert [path.name for path in folder.iterdir()] == ["x.hgr"]


def test_bad_fix_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_hgr(two_cliques(20, 2), tmp_path / "x.hgr")
    write_labels(np.full(40, 3), tmp_path / "x.fix")
    done = CliRunner().invoke(app, ["partition", "x.hgr", "--fix", "x.fix"])
    assert (done.exit_code, done.stderr) == (2, "error: x.fix:1: 3: must be -1 to 1\n")
    write_labels(np.full(39, 1), tmp_path / "x.fix")
    done = CliRunner().invoke(app, ["partition", "x.hgr", "--fix", "x.fix"])
    assert done.stderr == "error: x.fix: has 39 lines: must be 40, one for each vertex\n"


def test_files_that_are_no_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_hgr(two_cliques(20, 2), tmp_path / "x.hgr")
    (tmp_path / "x.bin").write_bytes(b"1 2\n\xff")
    for words in (["x.bin"], ["x.hgr", "--fix", "x.bin"]):
        done = CliRunner().invoke(app, ["partition", *words])
        assert done.exit_code == 2
        assert done.stderr == "error: x.bin: byte 4 is no text: must be lines of whole numbers\n"


REFUSED_OPTIONS = {
    "partition x.hgr --imbalance nan": "--imbalance is nan: must be 0 to 50",
    "partition x.hgr --imbalance inf": "--imbalance is inf: must be 0 to 50",
    "partition x.hgr --imbalance 76 --parts 4": "--imbalance is 76: must be 0 to 75",
    "build --style mincut --low nan": "--low is nan: must be 0 to 100",
    "build --style mincut --high -1": "--high is -1: must be 0 to 100",
    "build --pitch 0.5": "preset tiny: asic.pitch_um is 0.5: must be more than 0.8",
    "compare-cut --preset micro": "no build/micro/tiers/mincut/hypergraph/netlist.hgr: build it"
    " with `make tiers PRESET=micro STYLE=mincut`",
}


@pytest.mark.parametrize("words", REFUSED_OPTIONS)
def test_bad_option(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    write_hgr(two_cliques(20, 2), tmp_path / "x.hgr")
    assert_refused(words.split(), REFUSED_OPTIONS[words], tmp_path)


def test_output_may_have_any_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_hgr(two_cliques(20, 2), tmp_path / "x.hgr")
    words = ["partition", "x.hgr", "--tries", "1", "--out", "x.partial"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert len(read_labels(tmp_path / "x.partial", 40, low=0, high=1)) == 40


def test_command_line_writes_the_partition(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    graph = two_cliques(20, 2)
    write_hgr(graph, tmp_path / "x.hgr")
    done = CliRunner().invoke(app, ["partition", "x.hgr", "--tries", "1"])
    assert done.stdout == "wrote x.hgr.part.2: cut 2, 50.00 %, 50.00 %\n"
    parts = read_labels(tmp_path / "x.hgr.part.2", 40, low=0, high=1)
    assert graph.cut(parts) == 2
