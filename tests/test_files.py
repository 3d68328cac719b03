"""Files and folders that appear whole, also when several processes write them at once."""

import multiprocessing
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from golden import files
from golden.files import whole_directory, whole_file
from golden.metrics import build_dir, read_metrics, write_metrics

CONTEXT = multiprocessing.get_context("spawn")
WRITES = 60


def in_processes(work, *arguments) -> None:
    """Run ``work`` once for each argument; all begin when the last is ready."""
    ready = CONTEXT.Barrier(len(arguments))
    running = [CONTEXT.Process(target=work, args=(ready, argument)) for argument in arguments]
    for one in running:
        one.start()
    for one in running:
        one.join()
    assert [one.exitcode for one in running] == [0] * len(running)


def measure(ready, name: str) -> None:
    ready.wait()
    for number in range(WRITES):
        write_metrics("shared", {f"{name}.{number}": number})


def fill(ready, text: str) -> None:
    ready.wait()
    for _ in range(WRITES):
        with whole_directory(build_dir("shared") / "made") as folder:
            for name in "abc":
                (folder / name).write_text(text)


def test_figures_of_two_processes_are_all_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    in_processes(measure, "one", "other")
    wanted = {f"{name}.{number}" for name in ("one", "other") for number in range(WRITES)}
    assert set(read_metrics("shared")) == wanted
    assert [path.name for path in build_dir("shared").iterdir()] == ["metrics.json"]


def test_directory_of_two_processes_is_that_of_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    in_processes(fill, "one", "other")
    (made,) = build_dir("shared").iterdir()
    assert sorted(path.name for path in made.iterdir()) == ["a", "b", "c"]
    assert len({path.read_text() for path in made.iterdir()}) == 1


def test_a_second_filling_leaves_the_first_alone(tmp_path):
    path = tmp_path / "made"
    with whole_directory(path) as first:
        (first / "first").write_text("")
        with whole_directory(path) as second:
            (second / "second").write_text("")
        assert [one.name for one in path.iterdir()] == ["second"]
    assert [one.name for one in path.iterdir()] == ["first"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["x.partial", ".x.partial", "partial"])
def test_names_like_that_of_a_partial_file(tmp_path, name):
    with whole_file(tmp_path / name) as partial:
        partial.write_text("new")
    with whole_directory(tmp_path / f"folder-{name}") as partial:
        (partial / "a").write_text("new")
    assert (tmp_path / name).read_text() == "new"
    assert (tmp_path / f"folder-{name}" / "a").read_text() == "new"


def test_files_of_the_user_beside_it_survive(tmp_path):
    (tmp_path / "a.partial").write_text("mine")
    (tmp_path / ".a.partial").mkdir()
    with whole_file(tmp_path / "a.npy") as partial, partial.open("wb") as stream:
        np.save(stream, np.zeros(1))
    with whole_directory(tmp_path / "a"):
        pass
    assert (tmp_path / "a.partial").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"a", "a.npy", "a.partial", ".a.partial"}


def test_a_file_may_be_read_as_others_are(tmp_path):
    (tmp_path / "plain").write_text("")
    with whole_file(tmp_path / "a") as partial:
        partial.write_text("")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def die_in_the_middle(ready, path: Path) -> None:
    ready.wait()
    with whole_directory(path) as folder:
        (folder / "half").write_text("")
        os._exit(0)


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    in_processes(die_in_the_middle, tmp_path / "made")
    (left,) = tmp_path.iterdir()
    with whole_directory(tmp_path / "living") as living:
        with whole_file(tmp_path / "b") as partial:
            partial.write_text("")
        assert living.is_dir()
    assert not left.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"living", "b"}


def test_a_lock_is_waited_for(tmp_path):
    order = []

    def other() -> None:
        with files.locked(tmp_path / "a"):
            order.append("other")

    with files.locked(tmp_path / "a"):
        waiting = threading.Thread(target=other)
        waiting.start()
        waiting.join(timeout=0.2)
        order.append("first")
    waiting.join()
    assert order == ["first", "other"]
    assert list(tmp_path.iterdir()) == []
