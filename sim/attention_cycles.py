"""Cycles of attention cores alone, with spikes of real images, in Amaranth's simulator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from amaranth.lib import wiring
from amaranth.sim import Simulator
from torch import Tensor

from golden.checkpoint import Checkpoint
from golden.data import load_test_images
from golden.integer import IntegerModel
from golden.spec import Preset, SpecError
from hw.attention_image import coefficient_rows
from hw.attention_kinds import make_core, qkv_bits
from hw.causal import CausalCore


@dataclass(frozen=True)
class Run:
    """Cycles in which slices were taken and given, and what was given."""

    taken: list[int]
    given: list[int]
    spikes: list[list[int]]


async def load_rows(ctx, core: wiring.Component, rows: Mapping[str, Sequence[int]]) -> None:
    """Write the words of a core's memories of coefficients, by their write ports, in a bench."""
    for name, words in rows.items():
        port = getattr(core, name)
        ctx.set(port.write_en, 1)
        for row, word in enumerate(words):
            ctx.set(port.write_addr, row)
            ctx.set(port.write_data, word)
            await ctx.tick()
        ctx.set(port.write_en, 0)


def run_core(
    core: wiring.Component,
    spikes: tuple[Tensor, Tensor, Tensor],
    rows: dict[str, Sequence[int]] | None = None,
) -> Run:
    """Send K, V and Q of shape (T, 1, H, N, d) of one image; neither source nor sink waits.

    ``rows`` are the contents of the core's memories of coefficients, written first.
    """
    steps, _, heads, tokens, channels = spikes[0].shape
    lanes = core.lanes
    codes = torch.stack(spikes)[:, :, 0] % 2**core.value_bits
    # (token, head, K or V or Q, channel, step)
    slices = codes.permute(3, 2, 0, 4, 1).reshape(-1, lanes, steps).tolist()
    run = Run([], [], [])
    wanted = tokens * heads * channels // lanes

    async def bench(ctx) -> None:
        await load_rows(ctx, core, rows or {})
        if hasattr(core, "shape"):
            # The state of a core that clears it is clear by then, as it is behind other layers.
            await ctx.tick().repeat(core.shape.rows)
        cycle, sent = 0, 0
        ctx.set(core.o.ready, 1)
        while len(run.given) < wanted:
            ctx.set(core.i.valid, sent < len(slices))
            if sent < len(slices):
                ctx.set(core.i.payload, {"values": slices[sent]})
            _, _, ready, valid, payload = await ctx.tick().sample(
                core.i.ready, core.o.valid, core.o.payload
            )
            if sent < len(slices) and ready:
                run.taken.append(cycle)
                sent += 1
            if valid:
                run.given.append(cycle)
                run.spikes.append([payload.bundles[lane] for lane in range(lanes)])
            cycle += 1

    simulator = Simulator(core)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return run


def local_extra_cycles(checkpoint: Checkpoint, images: int) -> dict[str, float]:
    """Cycles of LRF-SSA's core and of the same core without its branch, on the same K, V and Q.

    Each block of so many test images; cycles from the first slice taken to the last given.

    Raises
    ------
    SpecError
        If the preset's attention is not LRF-SSA.
    """
    preset = checkpoint.preset
    if preset.network.attention != "lrf-ssa":
        raise SpecError(
            f"preset {preset.name} has attention {preset.network.attention}: must be lrf-ssa"
        )
    trace = IntegerModel(checkpoint).run(load_test_images(preset, images)[0])
    rows, single = coefficient_rows(checkpoint), preset.replace(network__blocks=1)
    plain = preset.replace(network__attention="a2os2a")
    totals = dict.fromkeys(("with", "without"), 0)
    layers = [record for record in trace.layers.values() if record.layer.kind == "attention"]
    for block, record in enumerate(layers):
        share = {
            name: words[block * len(words) // len(layers) : (block + 1) * len(words) // len(layers)]
            for name, words in rows.items()
        }
        for image in range(images):
            part = slice(image, image + 1)
            spikes = tuple(x[:, part].long() for x in (record.key, record.value, record.query))
            for name, core, loaded in (
                ("with", make_core(single), share),
                ("without", make_core(plain), None),
            ):
                run = run_core(core, spikes, loaded)
                totals[name] += run.given[-1] + 1
    return {
        "attention.lrf_cycles": totals["with"] / images,
        "attention.a2os2a_cycles": totals["without"] / images,
        "attention.lrf_extra_cycles_ratio": totals["with"] / totals["without"] - 1,
    }


def causal_latency(preset: Preset, tokens: int) -> int:
    """Cycles from a token's last slice to its last slice of spikes, the most of all tokens.

    Causal attention in the preset's shape but for N, with K and Q that are never 0, which leaves no
    row out.
    """
    net = preset.network
    core = CausalCore(
        time_steps=net.time_steps,
        tokens=tokens,
        heads=net.heads,
        head_channels=net.head_channels,
        lanes=preset.engine.neuron_lanes,
        key_bits=preset.key_bits,
        value_bits=qkv_bits(preset),
        threshold=1,
    )
    ones = torch.ones(core.time_steps, 1, core.heads, tokens, core.head_channels).long()
    run = run_core(core, (ones, ones, ones))
    per_token = core.heads * core.head_channels // core.lanes
    arrived, left = (
        run.taken[3 * per_token - 1 :: 3 * per_token],
        run.given[per_token - 1 :: per_token],
    )
    return max(after - before for before, after in zip(arrived, left, strict=True))
