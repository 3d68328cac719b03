"""Many random tokens through the dispatcher, and the figure that says how many were lost."""

import json
from collections.abc import Callable

from amaranth.back import verilog

from golden.metrics import write_metrics

from . import verilator
from .dispatch_soak import DispatchSoak, Shape


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
    result = verilator.RUNS / name / "result.json"
    result.parent.mkdir(parents=True, exist_ok=True)
    job = {
        **{"tokens": tokens, "pass": shape.tokens, "experts": shape.experts},
        **{"result": str(result), "count": True},
    }
    verilator.run(
        design,
        "sim.soak_bench",
        name=name,
        environment={"SOAK": json.dumps(job)},
        progress=progress,
    )
    found = json.loads(result.read_text())
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
