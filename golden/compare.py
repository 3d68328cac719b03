"""Networks against each other, of equal training and seeds: kinds of attention, and experts."""

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from tqdm import tqdm

from .counts import bundle_density, count_layers, event_bound
from .data import load_split
from .evaluate import COUNTED, integer_accuracy
from .export import export
from .files import whole_file
from .integer import IntegerModel
from .metrics import BUILD_DIR
from .spec import Preset, load_preset, parse_preset
from .train import Run


@dataclass(frozen=True)
class Variant:
    """One of the networks compared.

    Members
    -------
    title : for people
    changes : to the plan's preset, as for :meth:`golden.spec.Preset.replace`
    """

    title: str
    changes: dict[str, object]


# Vanilla attention scales Q K^T V by 1/8; the others have no scale.
VARIANTS = {
    "ssa": Variant(
        "SSA: K and V binary, scale 1/8",
        {"network__attention": "ssa", "network__attention_scale_shift": 3},
    ),
    "a2os2a": Variant("A2OS2A: K multi-bit, V ternary", {"network__attention": "a2os2a"}),
    "causal": Variant("causal, K and V as A2OS2A", {"network__attention": "causal"}),
    "lrf-ssa": Variant("LRF-SSA, K and V as A2OS2A", {"network__attention": "lrf-ssa"}),
    "lrf-dyn": Variant(
        "LRF-Dyn, K and V as A2OS2A, branch masked",
        {"network__attention": "lrf-dyn", "network__local_causal": True},
    ),
    # For each token one expert, or two of half its size, do the work of the other networks' MLP.
    "moe-1": Variant(
        "A2OS2A, best of 4 experts",
        {"network__moe": {"experts": 4, "hidden": 64}, "train__balance_penalty": 0.3},
    ),
    "moe-2": Variant(
        "A2OS2A, best 2 of 4 experts",
        {"network__moe": {"experts": 4, "hidden": 32, "top_k": 2}, "train__balance_penalty": 0.3},
    ),
}
# Each other variant is compared with these.
BASELINES = ("ssa", "a2os2a")
FIGURES = {
    "float_accuracy": "float accuracy, %",
    "integer_accuracy": "integer accuracy, %",
    "bundle_density": "non-zero bundles",
    "event_bound_cycles": "event bound, cycles",
}


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Members
    -------
    preset : network and training; name, seed and the variant's changes are replaced for each run
    seeds : runs of each variant
    images : training images, the first so many; all if None
    folder : where results, one file a run, and states of unfinished runs are kept
    command : what to type to repeat it
    variants : names in :data:`VARIANTS`
    """

    preset: Preset
    seeds: tuple[int, ...] = (1, 2, 3)
    images: int | None = None
    folder: Path = BUILD_DIR / "compare"
    command: str = "python -m golden compare"
    variants: tuple[str, ...] = tuple(VARIANTS)

    def variant(self, name: str, seed: int) -> Preset:
        """Preset of one run."""
        changes = VARIANTS[name].changes
        return self.preset.replace(name=f"{name}-{seed}", train__seed=seed, **changes)


def shipped_plan() -> Plan:
    """The comparison in the docs: a part of preset base, some minutes a run."""
    base = load_preset("base").replace(
        network__stages=[{"channels": 16, "stride": 2}, {"channels": 32, "stride": 2}],
        network__blocks=1,
        network__heads=2,
        engine__lanes=16,
        train__epochs=4,
        train__quant_epochs=1,
        train__batch=64,
    )
    return Plan(base, images=6_000)


def compare_attention(out: Path, plan: Plan | None = None) -> dict[str, list[dict[str, float]]]:
    """Train every variant with every seed and write a page with mean and spread.

    A finished run is stored and not repeated; an unfinished one goes on at its last whole epoch.

    Parameters
    ----------
    out : Markdown page to write
    plan : what to compare; :func:`shipped_plan` if None

    Returns
    -------
    dict
        Figures of each run by variant, in the order of the seeds.
    """
    plan = plan or shipped_plan()
    results: dict[str, list[dict[str, float]]] = {name: [] for name in plan.variants}
    runs = [(name, seed) for seed in plan.seeds for name in plan.variants]
    with tqdm(runs, desc="runs", unit="run") as bar:
        for name, seed in bar:
            bar.set_postfix_str(f"{name}, seed {seed}")
            results[name].append(_result(plan, name, seed))
    with whole_file(out) as partial:
        partial.write_text(page(plan, results))
    tqdm.write(f"wrote {out}")
    return results


def _result(plan: Plan, name: str, seed: int) -> dict[str, float]:
    """Figures of one run: those stored, if they are of the same settings."""
    preset = plan.variant(name, seed)
    settings = {"preset": preset.model_dump(mode="json"), "images": plan.images}
    path = plan.folder / f"{name}-{seed}.json"
    if path.is_file():
        stored = json.loads(path.read_text())
        # Parsed, so that fields which presets have gained since take their defaults.
        own = parse_preset(stored["settings"]["preset"], str(path))
        if (own, stored["settings"]["images"]) == (preset, plan.images):
            return stored["figures"]
    figures = _train(preset, plan)
    with whole_file(path) as partial:
        partial.write_text(json.dumps({"settings": settings, "figures": figures}, indent=2) + "\n")
    return figures


def _train(preset: Preset, plan: Plan) -> dict[str, float]:
    run = Run(preset, plan.folder / preset.name, compiled=False, limit=plan.images)
    model = IntegerModel(export(run.train(), {}))
    images, labels = load_split(preset, "test")
    counts = count_layers(model.run(images[:COUNTED]), preset)
    return {
        "float_accuracy": run.float_accuracy,
        "integer_accuracy": integer_accuracy(model, images, labels),
        "bundle_density": bundle_density(counts),
        "event_bound_cycles": event_bound(counts),
    }


def page(plan: Plan, results: dict[str, list[dict[str, float]]]) -> str:
    """Markdown of the comparison: settings, command, every run, mean and sample deviation."""
    net, train, data = plan.preset.network, plan.preset.train, plan.preset.data
    stages = ", ".join(f"{stage.channels} (stride {stage.stride})" for stage in net.stages)
    images = "all" if plan.images is None else f"first {plan.images:,}"
    settings = {
        "data": f"{data.dataset}, {images} training images, all test images",
        "network": f"T = {net.time_steps}, stages of {stages} channels, {net.blocks} block(s),"
        f" D = {net.channels}, {net.heads} heads, MLP ratio {net.mlp_ratio}",
        "training": f"{train.epochs} float and {train.quant_epochs} quantised epoch(s),"
        f" batches of {train.batch}, learning rates {train.learning_rate:g} and"
        f" {train.quant_learning_rate:g}, firing penalty {train.firing_penalty:g}",
        "seeds": ", ".join(map(str, plan.seeds)),
    }
    lines = [
        "# Kinds of attention, and experts",
        "",
        "Networks that differ in nothing but attention, or in experts in place of the MLP that do",
        "as much work for a token; trained alike. Integer accuracy is of the integer model, which",
        "the hardware equals bit for bit. Spread is the sample standard deviation over the seeds;",
        "differences are paired by seed. Small networks and short training: the figures compare",
        "networks with each other, not with published ones.",
        "",
        f"    {plan.command}",
        "",
        *_table(["setting", "value"], [[key, value] for key, value in settings.items()]),
        "",
        *_table(
            ["mean and spread", *FIGURES.values()],
            [
                [VARIANTS[name].title, *(_spread([r[key] for r in runs], key) for key in FIGURES)]
                for name, runs in results.items()
            ],
        ),
        "",
        *_table(
            [
                "integer accuracy, %",
                *(f"seed {seed}" for seed in plan.seeds),
                *(f"minus {VARIANTS[name].title.partition(':')[0]}" for name in BASELINES),
            ],
            [_accuracies(name, results) for name in results],
        ),
    ]
    return "\n".join(lines) + "\n"


def _accuracies(name: str, results: dict[str, list[dict[str, float]]]) -> list[str]:
    """Integer accuracy of a variant by seed, and its differences from the baselines."""
    key = "integer_accuracy"
    own = [run[key] for run in results[name]]
    row = [VARIANTS[name].title, *(f"{value:.2f}" for value in own)]
    for baseline in BASELINES:
        if baseline == name or baseline not in results:
            row.append("")
        else:
            row.append(_spread(list(np.subtract(own, [r[key] for r in results[baseline]])), key))
    return row


def _spread(values: list[float], key: str) -> str:
    digits = {"bundle_density": 3, "event_bound_cycles": 0}.get(key, 2)
    spread = stdev(values) if len(values) > 1 else 0.0
    return f"{mean(values):.{digits}f} ± {spread:.{digits}f}"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
