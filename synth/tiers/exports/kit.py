"""Files of the library that a netlist links against, as `python -m synth.asic synth` left them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from synth.asic.synthesis import lef_files, liberty_files


@dataclass(frozen=True)
class Kit:
    """Texts by file name, in the order to read them.

    Members
    -------
    lefs : technology, cells, and last the macros
    liberties : cells, then macros
    """

    lefs: Mapping[str, str] = field(repr=False)
    liberties: Mapping[str, str] = field(repr=False)

    @classmethod
    def read(cls, directory: Path) -> "Kit":
        """Files of :func:`synth.asic.synthesis.asic_dir`."""
        lefs, liberties = (
            {path.name: path.read_text(errors="replace") for path in paths}
            for paths in (lef_files(directory), liberty_files(directory))
        )
        return cls(lefs, liberties)

    def write(self, folder: Path) -> None:
        """Write all files."""
        for name, text in {**self.lefs, **self.liberties}.items():
            (folder / name).write_text(text)

    def macros(self) -> dict[str, str]:
        """LEF and Liberty of the macros alone, by file name."""
        return dict([list(self.lefs.items())[-1], list(self.liberties.items())[-1]])
