"""``metrics.json``: one flat object a preset, each figure written by the run that measured it."""

import json
from pathlib import Path

from .files import locked, whole_file
from .spec import SpecError

BUILD_DIR = Path("build")


def build_dir(preset_name: str) -> Path:
    """Folder of everything made for a preset."""
    return BUILD_DIR / preset_name


def read_metrics(preset_name: str) -> dict[str, float | str]:
    """Figures so far; empty if nothing was measured."""
    path = build_dir(preset_name) / "metrics.json"
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise SpecError(f"{path} is not valid JSON: {error}; remove it") from None


def write_metrics(preset_name: str, figures: dict[str, float | str]) -> None:
    """Merge figures into the preset's ``metrics.json``, whole or not at all.

    Raises
    ------
    SpecError
        If the file that is there is not valid JSON.
    """
    path = build_dir(preset_name) / "metrics.json"
    # Between reading and writing no other run may write: its figures would be lost.
    with locked(path):
        merged = dict(sorted({**read_metrics(preset_name), **figures}.items()))
        with whole_file(path) as partial:
            partial.write_text(json.dumps(merged, indent=2) + "\n")
