"""Benches of router, dispatcher and merge of experts."""

import random
from itertools import product

import torch

from golden.experts import top_experts

from .expert_tops import DispatcherTop, MergeTop, RouterTop
from .matrix import STEPS, Bench, Vectors

LAYERS = 3


def _router(dut: RouterTop, rng: random.Random) -> Vectors:
    router = dut.block
    experts, lanes, steps = router.experts, router.lanes, router.time_steps
    sends, expects = [], []
    high = 1 << (router.width - 1)
    for _ in range(LAYERS * router.tokens):
        channels = lanes * router.slices
        if router.top_k:
            # Few values make ties, and the two ends the widest scores.
            words = rng.choice((range(-high, high), range(-2, 2), (-high, high - 1)))
            sums = [rng.choices(words, k=steps) for _ in range(channels)]
            sends += [{"sums": sums[at : at + lanes]} for at in range(0, channels, lanes)]
            scores = torch.tensor(sums[:experts]).T[:, None, None]
            chosen = top_experts(scores, router.top_k)[0, 0, 0].tolist()
            expects.append(sum(bit << e for e, bit in enumerate(chosen)))
        else:
            bundles = [rng.getrandbits(steps) & rng.getrandbits(steps) for _ in range(channels)]
            sends += [{"bundles": bundles[at : at + lanes]} for at in range(0, channels, lanes)]
            expects.append(sum(b << (e * steps) for e, b in enumerate(bundles[:experts])))
    return Vectors({"i": sends}, {"o": expects})


def _routes(experts: int, bits: int, kind: str, tokens: int) -> list[int]:
    """Routes of tokens: random ones, or what is hard for a dispatcher."""
    rng = random.Random(f"{experts}:{bits}:{kind}")
    most = (1 << bits) - 1
    if kind == "all to one":
        return [most << ((experts - 1) * bits)] * tokens
    if kind == "to all":
        return [(1 << (experts * bits)) - 1] * tokens
    routes = []
    for token in range(tokens):
        serves = [rng.random() < 0.4 for _ in range(experts)]
        if kind == "each starved in turn":
            serves = [e != token * experts // tokens for e in range(experts)]
        parts = [rng.randint(1, most) if yes else 0 for yes in serves]
        routes.append(sum(part << (e * bits) for e, part in enumerate(parts)))
    return routes


def _dispatcher_top(*, experts: int, route_bits: int, kind: str, **more) -> DispatcherTop:
    return DispatcherTop(
        routes=_routes(experts, route_bits, kind, tokens=16),
        experts=experts,
        route_bits=route_bits,
        entries=8,
        row_bits=4,
        token_rows=3,
        **more,
    )


def _dispatcher(dut: DispatcherTop, rng: random.Random) -> Vectors:
    block = dut.block
    share = block.experts // block.tiles
    sends, expects = [], {f"o{tile}": [] for tile in range(block.tiles)}
    for token, routes in enumerate(dut.routes):
        parts = [
            routes >> (e * block.route_bits) & ((1 << block.route_bits) - 1)
            for e in range(block.experts)
        ]
        count = 1 if dut.own else rng.choice((1, 2, 3))
        for index in range(count):
            bundles = [0 if dut.own else rng.getrandbits(block.time_steps) for _ in range(8)]
            chunk = {"bundles": bundles, "last": index == count - 1}
            if not dut.own:
                sends.append({**chunk, "row": rng.getrandbits(4)})
            for tile in range(block.tiles):
                own = parts[tile * share : (tile + 1) * share]
                if any(own):
                    head = {"routes": own, "row": token * block.token_rows}
                    expects[f"o{tile}"].append({**chunk, **head})
    return Vectors({"i": sends}, expects)


def _merge(dut: MergeTop, rng: random.Random) -> Vectors:
    merge = dut.block
    sends = {f"i{source}": [] for source in range(merge.sources)}
    expects = []
    for _ in range(LAYERS):
        counts = [[[0] * merge.time_steps for _ in range(merge.lanes)] for _ in range(merge.rows)]
        # Every source has an order of its own, as experts have that work on different tokens.
        rows = range(merge.rows)
        places = [(s, r) for s in range(merge.sources) for r in rng.sample(rows, dut.takes)]
        for source, row in places:
            bundles = [rng.getrandbits(merge.time_steps) for _ in range(merge.lanes)]
            sends[f"i{source}"].append({"bundles": bundles, "row": row})
            for lane, step in product(range(merge.lanes), range(merge.time_steps)):
                counts[row][lane][step] += bundles[lane] >> step & 1
        expects += [{"counts": row} for row in counts]
    return Vectors(sends, {"o": expects})


EXPERT_BLOCKS: dict[str, Bench] = {
    "router": Bench(
        RouterTop,
        [
            {
                **{"experts": experts, "top_k": top_k, "lanes": lanes, "slices": slices},
                **{"time_steps": steps, "width": 10, "tokens": 5},
            }
            for experts, top_k, lanes, slices, steps in (
                *((4, k, 4, 2, 4) for k in (0, 1, 2, 4)),
                *((4, 1, 4, 1, steps) for steps in STEPS),
                *((6, 3, 4, 3, 2), (6, 0, 4, 3, 2), (16, 5, 2, 8, 1), (2, 1, 8, 1, 4)),
            )
        ],
        _router,
    ),
    "dispatcher": Bench(
        _dispatcher_top,
        [
            {
                **{"tiles": tiles, "experts": experts, "route_bits": bits, "own": own},
                **{"kind": kind, "time_steps": 2},
            }
            for tiles, experts, bits, own, kind in (
                *((tiles, 8, 1, False, "random") for tiles in (1, 2, 4, 8)),
                *((4, 4, 2, own, "random") for own in (False, True)),
                *(
                    (4, 8, 1, own, kind)
                    for own in (False, True)
                    for kind in ("all to one", "to all", "each starved in turn")
                ),
            )
        ],
        _dispatcher,
    ),
    "merge": Bench(
        MergeTop,
        [
            {
                **{"sources": sources, "lanes": lanes, "time_steps": steps, "bits": bits},
                **{"rows": rows, "takes": takes},
            }
            for sources, lanes, steps, bits, rows, takes in (
                *((1, 4, steps, 1, 6, 6) for steps in STEPS),
                *((2, 4, 2, 2, 6, 4), (4, 8, 4, 3, 5, 5), (8, 2, 1, 4, 3, 2), (4, 4, 4, 3, 1, 1)),
            )
        ],
        _merge,
    ),
}
