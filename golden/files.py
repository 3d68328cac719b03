"""Files that appear whole or not at all, whoever else writes them meanwhile. Imports no torch."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

# Scratch folders are named after computer and process, so that those of the dead can be told.
_SCRATCH = f".partial-{os.uname().nodename}-"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path of the same name to write to; what is there takes the place of ``path``.

    Folders are made as needed. If the writing fails, ``path`` is as it was and nothing is left.
    """
    with _scratch(path) as folder:
        partial = folder / path.name
        yield partial
        os.replace(partial, path)


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """Give an empty folder to fill; at the end it replaces ``path``, old files too.

    If the filling fails, ``path`` is as it was and nothing is left.
    """
    with _scratch(path) as folder:
        partial, before = folder / path.name, folder / f".{path.name}"
        partial.mkdir()
        yield partial
        with locked(path):
            if path.exists():
                path.rename(before)
            partial.rename(path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process or thread has this lock, and hold it.

    It is a file beside ``path``, removed at the end. What ``path`` holds stays open to all.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    while True:
        with lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Who had it before has removed the file: then the lock is that of no one else.
            if not _is_at(lock, file):
                continue
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def _is_at(path: Path, file: IO) -> bool:
    """Whether an open file is the one that has this name now."""
    with suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    return False


@contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    """Give a new folder beside ``path``, where a rename is one step; it is removed at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path.parent)
    prefix = f"{_SCRATCH}{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=path.parent) as folder:
        yield Path(folder)


def _remove_leftovers(parent: Path) -> None:
    """Remove scratch folders of processes of this computer that are dead."""
    for folder in parent.iterdir():
        process = folder.name.removeprefix(_SCRATCH).partition("-")[0]
        if folder.name.startswith(_SCRATCH) and process.isdecimal() and not _runs(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # It is another user's.
        pass
    return True
