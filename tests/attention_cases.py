"""Images for the attention core: tensors, the slices that carry them, the spikes to expect."""

from dataclasses import dataclass

import torch
from torch import Tensor

from golden.attention import attend, attention
from hw.attention import AttentionCore


@dataclass(frozen=True)
class Image:
    """Q, K and V of shape (T, 1, H, N, d)."""

    query: Tensor
    key: Tensor
    value: Tensor


def core(order: str = "kv", **changes) -> AttentionCore:
    """A small core with some parameters changed."""
    sizes = {
        "time_steps": 2,
        "tokens": 3,
        "heads": 2,
        "head_channels": 8,
        "lanes": 4,
        "key_bits": 4,
        "threshold": 20,
    } | changes
    sizes.setdefault("value_bits", max(2, sizes["key_bits"]))
    return AttentionCore(order=order, **sizes)


def random_image(
    dut: AttentionCore, seed: int, *, density: float = 0.4, binary: bool = False
) -> Image:
    """An image of which a share of Q and K is not zero."""
    generator = torch.Generator().manual_seed(seed)
    shape = (dut.time_steps, 1, dut.heads, dut.tokens, dut.head_channels)

    def dense() -> Tensor:
        return (torch.rand(shape, generator=generator) < density).long()

    key = torch.randint(1, 2**dut.key_bits, shape, generator=generator) * dense()
    value = torch.randint(0 if binary else -1, 2, shape, generator=generator)
    return Image(dense(), key, value)


def constant_image(dut: AttentionCore, query: int, key: int, value: int) -> Image:
    """An image with the same Q, K and V everywhere."""
    shape = (dut.time_steps, 1, dut.heads, dut.tokens, dut.head_channels)
    return Image(*(torch.full(shape, x) for x in (query, key, value)))


def payloads(dut: AttentionCore, image: Image) -> list[dict]:
    """The slices of an image in the order of the core's input."""
    made = []
    for n in range(dut.tokens):
        for h in range(dut.heads):
            for tensor in (image.key, image.value, image.query):
                codes = (tensor[:, 0, h, n] % 2**dut.value_bits).T.tolist()
                for start in range(0, dut.head_channels, dut.lanes):
                    made.append({"values": codes[start : start + dut.lanes]})
    return made


def expected(dut: AttentionCore, image: Image) -> list[list[int]]:
    """The slices of spikes that must come out, from the golden model."""
    spikes = attention(
        image.query,
        image.key,
        image.value,
        dut.threshold,
        decay_shift=dut.decay_shift,
        reset=dut.reset,
        order=dut.order,
    )
    weights = 2 ** torch.arange(dut.time_steps).view(-1, 1, 1, 1, 1)
    bundles = (spikes * weights).sum(0)[0].transpose(0, 1)
    return bundles.reshape(-1, dut.lanes).tolist()


def read_slice(payload) -> list[int]:
    """Bundles of a slice read from the core's output."""
    return [payload.bundles[lane] for lane in range(len(payload.bundles))]


def assert_slices(dut: AttentionCore, got: list, want: list, cycles: list[int]) -> None:
    """Compare slices; name the token, head, channel, step and cycle of the first difference."""
    slices = dut.head_channels // dut.lanes
    for number, (have, wish) in enumerate(zip(got, want, strict=True)):
        for lane, (a, b) in enumerate(zip(have, wish, strict=True)):
            if a != b:
                job, part = divmod(number % (dut.tokens * dut.heads * slices), slices)
                raise AssertionError(
                    f"attention {dut.order}: token {job // dut.heads}, head {job % dut.heads},"
                    f" channel {part * dut.lanes + lane} (lane {lane}), cycle {cycles[number]},"
                    f" image {number // (dut.tokens * dut.heads * slices)}:"
                    f" bundle {a:0{dut.time_steps}b}, should be {b:0{dut.time_steps}b}"
                )


def key_rows(dut: AttentionCore, image: Image) -> list[list[int]]:
    """For each token and head, a number for the row of each non-zero K, in order."""
    rows = []
    for n in range(dut.tokens):
        for h in range(dut.heads):
            places = image.key[:, 0, h, n].flatten().nonzero().flatten()
            rows.append([h * dut.time_steps * dut.head_channels + int(p) for p in places])
    return rows


def step_counts(dut: AttentionCore, tensor: Tensor) -> list[list[int]]:
    """For each token and head, what is not zero in each time step of (T, 1, H, N, anything)."""
    counts = (tensor != 0).sum(-1)[:, 0]
    return [counts[:, h, n].tolist() for n in range(dut.tokens) for h in range(dut.heads)]


def score_counts(dut: AttentionCore, image: Image) -> list[list[int]]:
    """For each token and head, the scores that are not 0 in each time step."""
    return step_counts(dut, image.query @ image.key.transpose(-2, -1))


def largest_sum(image: Image) -> int:
    """Largest magnitude of Q K^T V in an image."""
    return int(attend(image.query, image.key, image.value).abs().max())
