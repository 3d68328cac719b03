"""All configurations of a block side by side, so that one Verilator build tests them all."""

import enum
import pickle
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from amaranth.back import verilog
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from . import verilator
from .streams import pack

TOP = "matrix"
# Time steps and lanes of the configurations that most benches have.
STEPS = (1, 2, 4)
LANES = (4, 8, 16)


@dataclass(frozen=True)
class Vectors:
    """What goes into one configuration and what must come out.

    Members
    -------
    send : payloads of each stream into the block, by port name, as initialisers of their shapes
    expect : payloads of each stream out of it
    hold : constant values of other inputs; by default those that the component declares
    """

    send: Mapping[str, Sequence]
    expect: Mapping[str, Sequence]
    hold: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """How a block is tested.

    Members
    -------
    create : the component of one configuration
    configurations : arguments of ``create``, one mapping each
    vectors : makes the vectors of a component, with the golden model, from the random numbers given
    respond : for blocks with ports that are not streams: gets a function from port name to signal,
        returns a function that is called once a rising edge; an importable function
    """

    create: Callable[..., wiring.Component]
    configurations: Sequence[Mapping[str, object]]
    vectors: Callable[[wiring.Component, random.Random], Vectors]
    respond: Callable[[Callable], Callable[[], None]] | None = None

    def components(self) -> list[wiring.Component]:
        """Make the component of each configuration."""
        return [self.create(**parameters) for parameters in self.configurations]


@dataclass(frozen=True)
class Lane:
    """Vectors of one configuration as the simulation reads them: packed, with the shapes.

    Members
    -------
    name : prefix of the configuration's ports
    label : name and parameters, for messages
    send : packed payloads by port
    expect : shape and packed payloads by port
    hold : constant inputs
    """

    name: str
    label: str
    send: dict[str, list[int]]
    expect: dict[str, tuple[object, list[int]]]
    hold: dict[str, int]


@dataclass(frozen=True)
class Plan:
    """All that a simulation of a block reads."""

    block: str
    lanes: list[Lane]
    respond: Callable | None

    @classmethod
    def read(cls, path: str | Path) -> "Plan":
        """Read the plan that :func:`run_bench` wrote."""
        return pickle.loads(Path(path).read_bytes())


class Matrix(wiring.Component):
    """Components side by side, each with its own ports under ``c0``, ``c1`` and so on.

    Parameters
    ----------
    components : what to put side by side

    Members
    -------
    c<k> : the ports of component k
    """

    def __init__(self, components: Sequence[wiring.Component]) -> None:
        self.components = components
        super().__init__({f"c{k}": Out(each.signature) for k, each in enumerate(components)})

    def elaborate(self, platform) -> Module:
        """Forward the ports of each component."""
        m = Module()
        for index, component in enumerate(self.components):
            name = f"c{index}"
            m.submodules[name] = component
            wiring.connect(m, wiring.flipped(getattr(self, name)), component)
        return m


def make_design(components: Sequence[wiring.Component]) -> verilator.Design:
    """Make the Verilog of components side by side."""
    text = verilog.convert(Matrix(components), name=TOP, emit_src=False, strip_internal_attrs=True)
    return verilator.Design(TOP, (text,))


def make_plan(block: str, bench: Bench, components: Sequence[wiring.Component], seed: int) -> Plan:
    """Make the vectors of a block's configurations."""
    lanes = []
    for index, component in enumerate(components):
        vectors = bench.vectors(component, random.Random(f"{seed}:{block}:{index}"))
        lanes.append(
            Lane(
                name=f"c{index}",
                label=f"c{index} ({_described(bench.configurations[index])})",
                send={
                    port: [pack(_shape(component, port), value) for value in values]
                    for port, values in vectors.send.items()
                },
                expect={
                    port: (shape := _shape(component, port), [pack(shape, v) for v in values])
                    for port, values in vectors.expect.items()
                },
                hold=_initial(component) | dict(vectors.hold),
            )
        )
    return Plan(block, lanes, bench.respond)


def run_bench(
    block: str,
    bench: Bench,
    *,
    seed: int | None = None,
    waves: bool | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> verilator.Outcome:
    """Test a block: all configurations, all stall regimes, with a reset in mid-run.

    Raises
    ------
    sim.verilator.SimulationError
        On the first difference: block, configuration, regime, cycle, token, field, seed, waveform.
    """
    seed = verilator.seed_from_environment() if seed is None else seed
    progress(f"{block}: Verilog and vectors of {len(bench.configurations)} configurations")
    components = bench.components()
    design = make_design(components)
    path = verilator.RUNS / block / "plan.pickle"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(make_plan(block, bench, components, seed)))
    return verilator.run(
        design,
        "sim.bench",
        name=block,
        environment={"SIM_PLAN": str(path)},
        seed=seed,
        waves=waves,
        progress=progress,
    )


def _initial(component: wiring.Component) -> dict[str, int]:
    """Inputs that are declared with an initial value, which their port in Verilog does not have."""
    return {
        name: pack(member.shape, member.init)
        for name, member in component.signature.members.items()
        if member.is_port and member.flow == In and member.init is not None
    }


def _shape(component: wiring.Component, port: str) -> object:
    return component.signature.members[port].signature.members["payload"].shape


def _described(parameters: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={_text(value)}" for name, value in parameters.items())


def _text(value: object) -> str:
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, (set, frozenset)):
        return "|".join(sorted(_text(each) for each in value))
    return str(value)
