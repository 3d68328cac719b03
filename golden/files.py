"""Files that appear whole or not at all. Imports no torch."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; it takes the name ``path`` at the end.

    Folders are made as needed. If the writing fails, ``path`` is as it was and nothing is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """Give an empty folder beside ``path`` to fill; at the end it replaces ``path``, old files too.

    If the filling fails, ``path`` is as it was and nothing is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, before = (path.with_name(f".{path.name}.{kind}") for kind in ("partial", "before"))
    for leftover in (partial, before):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if path.exists():
            path.rename(before)
        partial.rename(path)
    finally:
        for leftover in (partial, before):
            shutil.rmtree(leftover, ignore_errors=True)
