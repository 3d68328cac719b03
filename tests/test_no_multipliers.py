"""No block multiplies or divides, not even to index."""

import importlib
import inspect
import pkgutil
import re

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Fragment, Module, Signal
from amaranth.lib import data, wiring

import hw
from golden.ranges import format_widths
from golden.spec import parse_preset
from hw.axi_top import AxiTop
from hw.uart_top import UartTop

FORBIDDEN = re.compile(r"cell \$(mul|div|mod|divfloor|modfloor|pow) \S+")
PRESET = {
    "name": "small",
    "data": {"dataset": "none", "channels": 1, "height": 8, "width": 8, "classes": 3},
    "network": {
        "time_steps": 3,
        "stages": [{"channels": 12, "pool": True}, {"channels": 24}],
        "blocks": 1,
        "heads": 2,
        "mlp_ratio": 1,
    },
    # Twelve lanes in slices of four: three slices, and a slice is not one bit.
    "engine": {"lanes": 12, "neuron_lanes": 4, "widths": "format"},
}


def make(*, order: str, decay: int, attention: str, projection: bool, **more) -> UartTop:
    """The outermost design, which every block is part of."""
    preset = parse_preset(PRESET, "small").replace(
        engine__attention_order=order,
        network__attention=attention,
        network__projection=projection,
        network__neuron__decay_shift=decay,
        network__neuron__reset="soft" if decay > 1 else "hard",
        **more,
    )
    return UartTop(preset, format_widths(preset), 16)


def make_axi() -> AxiTop:
    """What stands around the accelerator in a system."""
    preset = parse_preset(PRESET, "small")
    return AxiTop(preset, format_widths(preset))


def found_multipliers(component) -> list[str]:
    return FORBIDDEN.findall(rtlil.convert(component, name="top", emit_src=False))


CASES = {
    "kv": {"order": "kv", "decay": 1, "attention": "a2os2a", "projection": False},
    "qk": {"order": "qk", "decay": 2, "attention": "ssa", "projection": True},
    **{
        kind: {"order": "kv", "decay": 1, "attention": kind, "projection": False}
        for kind in ("lrf-ssa", "causal", "lrf-dyn")
    },
}
CASES["tiles"] = CASES["kv"] | {"engine__tiles": 2}
CASES["experts"] = CASES["tiles"] | {
    "network__moe": {"experts": 4, "hidden": 12, "top_k": 2},
}
CASES["semm"] = CASES["kv"] | {"network__moe": {"experts": 3, "hidden": 12, "mode": "semm"}}
CASES["pruned heads"] = CASES["qk"] | {"network__head_keep": 0.5}


@pytest.mark.parametrize(
    "case",
    ["kv", *(pytest.param(case, marks=pytest.mark.slow) for case in CASES if case != "kv")],
)
def test_no_block_multiplies(case):
    found = found_multipliers(make(**CASES[case]))
    assert not found, f"{case}: cells {', '.join(f'${name}' for name in found)}"


@pytest.mark.slow
def test_the_axi_ports_do_not_multiply():
    assert found_multipliers(make_axi()) == []


def test_every_block_is_looked_at():
    used: set[type] = set()

    def walk(fragment: Fragment) -> None:
        for origin in fragment.origins or ():
            used.update(type(origin).__mro__)
        for sub, *_ in fragment.subfragments:
            walk(sub)

    for case in CASES.values():
        walk(Fragment.get(make(**case), None))
    walk(Fragment.get(make_axi(), None))
    blocks = set()
    for info in pkgutil.iter_modules(hw.__path__):
        module = importlib.import_module(f"hw.{info.name}")
        blocks |= {
            thing
            for _, thing in inspect.getmembers(module, inspect.isclass)
            if issubclass(thing, wiring.Component) and thing.__module__ == module.__name__
        }
    missing = sorted(block.__name__ for block in blocks - used)
    assert not missing, f"not part of the whole design: {missing}"


def test_a_view_indexed_with_a_signal_is_found():
    class Pick(wiring.Component):
        place: wiring.In(2)
        row: wiring.In(data.ArrayLayout(5, 4))
        o: wiring.Out(5)

        def elaborate(self, platform) -> Module:
            m = Module()
            place = Signal.like(self.place)
            m.d.comb += [place.eq(self.place), self.o.eq(self.row[place])]
            return m

    assert found_multipliers(Pick()) == ["mul"]
