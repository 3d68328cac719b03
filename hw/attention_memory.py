"""What the kinds of attention store, read from the generated netlists."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from amaranth.back import rtlil
from amaranth.lib import wiring

from golden.attention_memory import state_memory
from golden.spec import Preset, parse_preset

from .attention_kinds import make_core

_MODULE = re.compile(r"^module \\(\S+)$", re.MULTILINE)
_MEMORY = re.compile(r"^ +memory width (\d+) size (\d+) ", re.MULTILINE)
_FLIP_FLOP = re.compile(r"^ +cell \$\w*dff\w* [^\n]*\n(?: +parameter [^\n]*\n)*", re.MULTILINE)
_WIDTH = re.compile(r"parameter \\WIDTH (\d+)")

# What a core's memories hold, by the names of their modules.
HOLDS = {
    "state": "state",
    "states": "state",
    "ring": "window",
    "keys": "keys and values",
    "values": "keys and values",
    "values_even": "values",
    "values_odd": "values",
    "buffer": "queries",
    "queries": "queries",
    "dendrites": "coefficients",
    "local": "coefficients",
    "local_even": "coefficients",
    "local_odd": "coefficients",
}
# Tokens and channels of the table: grids 7x7, 8x8 and 14x14; heads as in the presets of that width.
SIDES = (7, 8, 14)
HEADS = {64: 4, 384: 12, 512: 8}


def stored_bits(core: wiring.Component) -> dict[str, int]:
    """Bits of a core's memories by what they hold, and of its flip-flops."""
    text = rtlil.convert(core, name="attention", emit_src=False)
    found = {"flip-flops": 0}
    starts = [match.start() for match in _MODULE.finditer(text)]
    for begin, end in zip(starts, [*starts[1:], len(text)], strict=True):
        part = text[begin:end]
        # Every memory is a storage, a module of its own.
        path = _MODULE.match(part).group(1).split(".")
        for width, rows in _MEMORY.findall(part):
            name = HOLDS[path[-1]]
            found[name] = found.get(name, 0) + int(width) * int(rows)
        for cell in _FLIP_FLOP.findall(part):
            found["flip-flops"] += int(_WIDTH.search(cell).group(1))
    return found


@dataclass(frozen=True)
class Storage:
    """Bits that the kinds of attention store for a network of one shape.

    Members
    -------
    preset : the shape
    dyn : LRF-Dyn, by what is stored
    kv : ``Q (K^T V)``, likewise
    rows : ``(Q K^T) V`` a row of scores at a time, likewise
    map : a stored attention map of ``T * H * N * N`` scores; no netlist has one
    """

    preset: Preset
    dyn: dict[str, int]
    kv: dict[str, int]
    rows: dict[str, int]
    map: int

    @property
    def metrics(self) -> dict[str, float]:
        """Figures for ``metrics.json``."""
        return {
            "attention.state_bits": self.dyn["state"],
            "attention.window_bits": self.dyn.get("window", 0),
            "attention.kv_state_bits": self.kv["state"],
            "attention.map_bits": self.map,
        }


def attention_storage(preset: Preset) -> Storage:
    """Generate the cores for the preset's shape and number formats, and read what they store."""

    def of(attention: str, **changes: object) -> dict[str, int]:
        return stored_bits(make_core(preset.replace(network__attention=attention, **changes)))

    other = {"network__qkv": "auto"}
    return Storage(
        preset=preset,
        dyn=of("lrf-dyn"),
        kv=of("a2os2a", engine__attention_order="kv", **other),
        rows=of("a2os2a", engine__attention_order="qk", **other),
        map=state_memory(preset)["map"],
    )


def table_presets(preset: Preset) -> Iterator[Preset]:
    """The preset's formats and engine in the shapes of the table."""
    for channels, heads in HEADS.items():
        for side in SIDES:
            tree = preset.model_dump()
            tree["data"] |= {"dataset": "none", "height": 4 * side, "width": 4 * side}
            stages = [{"channels": channels, "stride": 2} for _ in range(2)]
            tree["network"] |= {"stages": stages, "heads": heads, "local_causal": True}
            tree["train"] = None
            yield parse_preset(tree, source=preset.name)


def table_row(storage: Storage) -> str:
    """A row of the table in kbit, as Markdown."""
    dyn, kv, rows = storage.dyn, storage.kv, storage.rows
    net = storage.preset.network
    asked = kv["queries"]
    # Beside its state, every kind keeps Q or, where spikes wait instead, as many spikes.
    all_dyn = dyn["state"] + dyn.get("window", 0) + dyn["queries"]
    cells = [
        dyn["state"],
        dyn.get("window", 0),
        kv["state"],
        rows["keys and values"],
        storage.map,
    ]
    return (
        f"| {net.channels} | {storage.preset.tokens} | "
        + " | ".join(f"{bits / 1000:,.1f}" for bits in cells)
        + f" | {100 * (all_dyn / (kv['state'] + asked) - 1):+.1f} %"
        + f" | {100 * (all_dyn / (storage.map + rows['keys and values'] + asked) - 1):+.1f} % |"
    )


TABLE_HEAD = (
    "| D | N | LRF-Dyn state | its window | KV state | K and V of all tokens | attention map"
    " | LRF-Dyn to KV | LRF-Dyn to map |\n" + "| ---: " * 9 + "|"
)
