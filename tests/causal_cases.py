"""Images and expectations for the cores that pass over the tokens once."""

import torch
from torch import Tensor

from golden.attention_kinds import join_heads
from golden.causal import attend_causal
from golden.coefficients import coefficient_values, two_powers
from golden.dendrites import Dendrites, dendrite_sums
from golden.local_taps import local_taps
from golden.neurons import lif
from golden.sections import Quant
from hw.causal import CausalCore
from hw.lrf_dyn import DendriteTerm, LrfDynCore
from tests.attention_cases import Image

NAMES = ("a", "gamma", "c", "local")


def causal_core(**changes) -> CausalCore:
    """A small causal core."""
    sizes = {
        **{"time_steps": 2, "tokens": 5, "heads": 2, "head_channels": 8, "lanes": 4},
        **{"key_bits": 4, "threshold": 20},
    } | changes
    sizes.setdefault("value_bits", max(2, sizes["key_bits"]))
    return CausalCore(**sizes)


def dyn_core(grid: tuple[int, int] = (4, 4), **changes) -> LrfDynCore:
    """A small LRF-Dyn core on this grid; fields of its term may be changed as well."""
    term = {
        **{"grid": grid, "dilations": (3, 5), "causal": True, "dendrites": 3, "blocks": 1},
        **{"state_bits": 12, "state_frac_bits": 4, "read_bits": 8, "read_frac_bits": 2},
    }
    sizes = {
        **{"time_steps": 2, "tokens": grid[0] * grid[1], "heads": 2, "head_channels": 8},
        **{"lanes": 4, "key_bits": 4, "threshold": 3},
    }
    for name, value in changes.items():
        (term if name in term else sizes)[name] = value
    sizes.setdefault("value_bits", max(2, sizes["key_bits"]))
    return LrfDynCore(term=DendriteTerm(**term), **sizes)


def bundles(dut, spikes: Tensor) -> list[list[int]]:
    """Slices of spikes (T, 1, N, D)."""
    weights = 2 ** torch.arange(dut.time_steps).view(-1, 1, 1, 1)
    return (spikes * weights).sum(0)[0].reshape(-1, dut.lanes).tolist()


def causal_slices(dut: CausalCore, image: Image) -> list[list[int]]:
    """What a causal core must give."""
    sums = attend_causal(image.query, image.key, image.value, decay_shift=dut.state_decay_shift)
    return bundles(
        dut, lif(join_heads(sums), dut.threshold, decay_shift=dut.decay_shift, reset=dut.reset)
    )


def random_coefficients(dut: LrfDynCore, seed: int, *, wild: bool = False) -> dict[str, Tensor]:
    """Coefficients of a block in units of ``2**-7``; ``wild`` ones saturate states."""
    generator = torch.Generator().manual_seed(seed)
    term, channels = dut.term, dut.heads * dut.head_channels
    known = torch.from_numpy(coefficient_values())

    def pick(*shape: int, most: int) -> Tensor:
        few = known if wild else known[known.abs() <= most]
        return few[torch.randint(len(few), shape, generator=generator)]

    made = {
        "a": pick(channels, term.dendrites, 3, most=48),
        "gamma": pick(channels, term.dendrites, most=128),
        "c": pick(channels, term.dendrites, most=128),
        "local": pick(channels, len(term.dilations), 3, 3, most=64),
    }
    made["a"][:, 0, 0] = made["a"][:, -1, 2] = 0
    made["local"][:, 1:, 1, 1] = 0
    return made


def dyn_slices(dut: LrfDynCore, image: Image, coefficients: dict[str, Tensor]) -> list[list[int]]:
    """What an LRF-Dyn core must give."""
    term = dut.term
    quant = Quant(
        state_bits=term.state_bits,
        state_frac_bits=term.state_frac_bits,
        read_bits=term.read_bits,
        read_frac_bits=term.read_frac_bits,
    )
    sums = dendrite_sums(
        join_heads(image.key),
        join_heads(image.value),
        Dendrites(*(coefficients[name] for name in Dendrites._fields)),
        coefficients["local"],
        quant,
        term.dilations,
        term.grid,
        causal=term.causal,
    )
    spikes = lif(sums, dut.threshold, decay_shift=dut.decay_shift, reset=dut.reset)
    return bundles(dut, spikes * join_heads(image.query))


def dyn_rows(dut: LrfDynCore, blocks: list[dict[str, Tensor]]) -> dict[str, list[int]]:
    """Rows of the core's memories of coefficients."""
    lanes, term = dut.lanes, dut.term
    taps = local_taps(term.dilations, causal=term.causal)
    rows: dict[str, list[int]] = {"dendrites": [], "local": []}
    for block in blocks:
        codes = {name: two_powers(values.numpy()) for name, values in block.items()}
        for first in range(0, dut.heads * dut.head_channels, lanes):
            for j in range(term.dendrites):
                words = []
                for c in range(first, first + lanes):
                    words += [*codes["a"][c, j], codes["gamma"][c, j], codes["c"][c, j]]
                rows["dendrites"].append(_pack(words))
            for tap in taps:
                place = tap.kernel, tap.row, tap.column
                rows["local"].append(
                    _pack([codes["local"][(c, *place)] for c in range(first, first + lanes)])
                )
    return rows if term.dilations else {"dendrites": rows["dendrites"]}


def _pack(coefficients: list) -> int:
    """Codes of two terms of 5 bits each, the first coefficient lowest."""
    terms = [int(term) for pair in coefficients for term in pair]
    return sum(term << 5 * place for place, term in enumerate(terms))
