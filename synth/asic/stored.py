"""What one command leaves for the next: JSON, whole or not at all."""

import json
from pathlib import Path

from golden.files import whole_file
from golden.spec import SpecError, preset_option


def save_tree(path: Path, tree: object) -> None:
    """Write a tree as JSON."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(tree, separators=(",", ":")))


def load_tree(path: Path, what: str, command: str = "python -m synth.asic synth") -> dict:
    """Read what :func:`save_tree` wrote in a preset's ``build/<preset>/asic/``.

    Raises
    ------
    SpecError
        If there is no such file; ``what`` names its content, ``command`` what makes it.
    """
    check_there(path, what, command)
    return json.loads(path.read_text())


def check_there(path: Path, what: str, command: str) -> None:
    """Raise SpecError with the command for that preset if a file of :func:`load_tree` is missing.

    ``command`` is without ``--preset``.
    """
    if not path.is_file():
        preset = preset_option(path.absolute().parent.parent.name)
        raise SpecError(f"no {what} {path}: make it with `{command} --preset {preset}`")
