"""Imports run one way: golden, then hw, then sim and synth; and torch stays out of the hardware."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = {
    "golden": {"hw", "sim", "synth", "tests"},
    "hw": {"sim", "synth", "tests", "torch", "spikingjelly"},
    "sim": {"synth", "tests"},
    "synth": {"sim", "tests"},
}
TORCH_FREE = (
    "golden.attention_memory",
    "golden.attention_ranges",
    "golden.attention_spec",
    "golden.checkpoint",
    "golden.cli",
    "golden.coefficients",
    "golden.data",
    "golden.files",
    "golden.local_taps",
    "golden.metrics",
    "golden.ranges",
    "golden.schedule",
    "golden.sections",
    "golden.spec",
    "golden.widths",
    "golden.__main__",
)


def imported(path: Path) -> set[str]:
    """Modules that a file imports, anywhere in it; relative ones with their package."""
    names = set()
    place = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = place[: len(place) + 1 - node.level] if node.level else ()
            module = ".".join([*package, *([node.module] if node.module else [])])
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return names


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_folders(folder):
    for path in sources(folder):
        wrong = {name.split(".")[0] for name in imported(path)} & FORBIDDEN[folder]
        assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


def exists(name: str) -> bool:
    """Whether a module of the project is there; ``name`` may be that of something in it."""
    for place in (ROOT.joinpath(*name.split(".")), ROOT.joinpath(*name.split(".")[:-1])):
        if place.with_suffix(".py").is_file() or (place / "__init__.py").is_file():
            return True
    return False


@pytest.mark.parametrize("folder", [*FORBIDDEN, "tests"])
def test_modules_that_are_imported_exist(folder):
    for path in sources(folder):
        own = {name for name in imported(path) if name.split(".")[0] in FORBIDDEN}
        wrong = sorted(name for name in own if not exists(name))
        assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(wrong)}"


def test_hardware_takes_only_what_needs_no_torch():
    known = {f"golden.{path.stem}" for path in sources("golden")}
    for path in sources("hw"):
        wrong = imported(path) & known - set(TORCH_FREE)
        assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


def test_no_torch_is_loaded():
    """All of hw and the plain part of golden, imported for real."""
    hardware = [f"hw.{path.stem}" for path in sources("hw") if path.stem != "__init__"]
    code = (
        "import importlib, sys\n"
        f"for name in {[*TORCH_FREE, *hardware]!r}:\n"
        "    importlib.import_module(name)\n"
        "    if 'torch' in sys.modules: sys.exit(f'{name} loads torch')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_finds_what_is_forbidden(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "hw").mkdir()
    path = tmp_path / "hw" / "block.py"
    path.write_text(
        "def f():\n    from golden import neurons\n    from .a import b\n    import torch\n"
    )
    assert imported(path) == {"golden", "golden.neurons", "hw.a", "hw.a.b", "torch"}
