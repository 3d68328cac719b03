"""Taps of the local branch: which neighbours of a token it adds. Imports no torch.

Source: LRF-SSA (arXiv 2603.19290), equation 8: two depthwise 3x3 kernels over the token grid. The
kernels share their centre; it belongs to the first alone (our reading, the same set of functions),
so two kernels have 17 taps.
"""

from dataclasses import dataclass
from itertools import product

KERNEL = 3


@dataclass(frozen=True)
class Tap:
    """One neighbour of every token.

    Members
    -------
    kernel, row, column : place of its weight in a tensor of shape (D, kernels, 3, 3)
    down, right : where the neighbour lies, in rows and columns of the token grid
    """

    kernel: int
    row: int
    column: int
    down: int
    right: int

    @property
    def later(self) -> bool:
        """The neighbour comes after the token."""
        return (self.down, self.right) > (0, 0)


def local_taps(dilations: tuple[int, ...], *, causal: bool = False) -> list[Tap]:
    """Taps by kernel, row and column, one kernel a dilation; ``causal`` drops later neighbours."""
    taps = []
    for kernel, dilation in enumerate(dilations):
        for row, column in product(range(KERNEL), repeat=2):
            tap = Tap(kernel, row, column, (row - 1) * dilation, (column - 1) * dilation)
            shared = kernel > 0 and (tap.down, tap.right) == (0, 0)
            if not shared and not (causal and tap.later):
                taps.append(tap)
    return taps


def reach(dilations: tuple[int, ...], width: int) -> int:
    """Tokens between a token of a grid of this width and the farthest neighbour of a kernel."""
    return max(dilations, default=0) * (width + 1)


def window_tokens(
    dilations: tuple[int, ...], grid: tuple[int, int], *, causal: bool = False
) -> int:
    """Tokens that the branch must keep when they come one by one, the present one included."""
    far = reach(dilations, grid[1])
    return min(grid[0] * grid[1], 1 + (far if causal else 2 * far))
