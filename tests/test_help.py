"""The help of every command line says what each argument and option is."""

import importlib
from pathlib import Path

import click
import pytest
from typer.main import get_command

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = sorted(
    ".".join(path.relative_to(ROOT).parent.parts)
    for folder in ("golden", "hw", "sim", "synth")
    for path in (ROOT / folder).rglob("__main__.py")
)


def commands(command: click.Command, name: str) -> list[tuple[str, click.Command]]:
    """A command and all below it, each with its words."""
    below = getattr(command, "commands", {})
    inner = [each for word, sub in below.items() for each in commands(sub, f"{name} {word}")]
    return [(name, command), *inner]


def test_all_programs_are_found():
    assert {"golden", "hw", "sim", "synth", "synth.fpga.host", "synth.tiers"} <= set(PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_command_and_parameter_has_a_help_text(program):
    app = importlib.import_module(f"{program}.__main__").app
    for words, command in commands(get_command(app), program):
        assert command.help, f"{words} has no help text"
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{words}: {parameter.name} has no help text"
