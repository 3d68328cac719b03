"""The local branch for tests: its weights, how they get into a core, the spikes to expect."""

import torch
from torch import Tensor

from golden.attention import attend
from golden.attention_kinds import join_heads
from golden.local_branch import local_branch
from golden.neurons import lif
from hw.attention import AttentionCore
from hw.local_values import LocalTerm
from sim.attention_cycles import load_rows
from tests.attention_cases import Image, core


def local_core(
    grid: tuple[int, int],
    *,
    dilations: tuple[int, ...] = (3, 5),
    causal: bool = False,
    weight_bits: int = 5,
    blocks: int = 1,
    **changes,
) -> AttentionCore:
    """A small core with a local branch on this grid."""
    term = LocalTerm(
        grid=grid,
        dilations=dilations,
        weight_bits=weight_bits,
        frac_bits=2,
        causal=causal,
        blocks=blocks,
    )
    sizes = {"tokens": grid[0] * grid[1], "threshold": 60} | changes
    return core(local=term, **sizes)


def random_weights(dut: AttentionCore, seed: int) -> list[Tensor]:
    """Weights (D, kernels, 3, 3) of each block, 0 at the centres after the first."""
    generator = torch.Generator().manual_seed(seed)
    term, top = dut.local, 2 ** (dut.local.weight_bits - 1)
    shape = (dut.heads * dut.head_channels, len(term.dilations), 3, 3)
    made = []
    for _ in range(term.blocks):
        weights = torch.randint(-top, top, shape, generator=generator)
        weights[:, 1:, 1, 1] = 0
        made.append(weights)
    return made


def weight_rows(dut: AttentionCore, weights: list[Tensor]) -> dict[str, list[int]]:
    """Rows of each of the memories of weights."""
    term, channels = dut.local, dut.head_channels
    rows = {}
    for name, side in term.sides.items():
        rows[name] = [
            sum(
                (
                    int(block[head * channels + c, tap.kernel, tap.row, tap.column])
                    % 2**term.weight_bits
                )
                << c * term.weight_bits
                for c in range(channels)
            )
            for block in weights
            for head in range(dut.heads)
            for tap in side
        ]
    return rows


def loader(dut: AttentionCore, rows: dict[str, list[int]]):
    """A test bench that writes rows into the core's write ports."""

    async def load(ctx) -> None:
        await load_rows(ctx, dut, rows)

    return load


def local_sums(dut, image: Image, weights: Tensor) -> Tensor:
    """Sums of the branch alone, (T, 1, N, D)."""
    term = dut.term if hasattr(dut, "term") else dut.local
    values = join_heads(image.value)
    return local_branch(values, weights, term.dilations, term.grid, causal=term.causal)


def expected_slices(dut: AttentionCore, image: Image, weights: Tensor) -> list[list[int]]:
    """The slices of spikes that must come out."""
    sums = join_heads(attend(image.query, image.key, image.value)) << dut.local.frac_bits
    sums = sums + local_sums(dut, image, weights)
    spikes = lif(sums, dut.threshold, decay_shift=dut.decay_shift, reset=dut.reset)
    steps = 2 ** torch.arange(dut.time_steps).view(-1, 1, 1, 1)
    return (spikes * steps).sum(0)[0].reshape(-1, dut.lanes).tolist()
