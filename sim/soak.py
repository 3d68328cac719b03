"""Many random tokens through the dispatcher, and the figure that says how many were lost."""

import json
from collections.abc import Callable

from amaranth.back import verilog

from golden.metrics import write_metrics

from . import verilator
from .accelerator import Progress
from .dispatch_soak import DispatchSoak, Shape

COUNTED = ("served", "lost", "doubled", "wrong")


def soak(
    preset: str | None,
    tokens: int,
    *,
    shape: Shape | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, int]:
    """Send tokens, and write ``moe.tokens_lost`` to a preset's metrics if there is one.

    Parameters
    ----------
    preset : name of a preset
    tokens : at least so many
    shape : tiles, experts and sizes

    Returns
    -------
    dict
        Tokens, jobs served, and what was lost, doubled or wrong.

    Raises
    ------
    sim.verilator.SimulationError
        If a pass does not end.
    """
    shape = shape or Shape()
    text = verilog.convert(
        DispatchSoak(shape), name="soak", emit_src=False, strip_internal_attrs=True
    )
    design = verilator.Design("soak", (text,))
    name = f"soak-{shape.tiles}x{shape.experts}x{shape.steps}"
    result = verilator.RUNS / name / "result.jsonl"
    result.parent.mkdir(parents=True, exist_ok=True)
    result.unlink(missing_ok=True)
    passes = -(-tokens // shape.tokens)
    job = {"passes": passes, "experts": shape.experts, "result": str(result)}
    environment = {"SOAK": json.dumps(job)}
    with Progress(result, passes, "pass"):
        verilator.run(
            design, "sim.soak_bench", name=name, environment=environment, progress=progress
        )
    lines = [json.loads(line) for line in result.read_text().splitlines()]
    found = {name: sum(line[name] for line in lines) for name in COUNTED}
    found["tokens"] = len(lines) * shape.tokens
    if preset is not None:
        write_metrics(
            preset,
            {
                "moe.tokens_sent": found["tokens"],
                "moe.tokens_lost": found["lost"] + found["wrong"],
                "moe.tokens_doubled": found["doubled"],
            },
        )
    return found
