"""Several arrangements of macros, of which the one with the shortest wires counts.

Where macros come to lie decides more about wires than anything after it, and depends on where the
spreading began. Starts are numbered, so the same problem has the same answer.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from tqdm import tqdm

from golden.spec import SpecError

from ..partition import PROCESSES
from .problem import Problem

STARTS = 6
# Problems of fewer cells are placed sooner than processes start.
FEW_CELLS = 1000

Places = tuple[np.ndarray, ...]


def best_start(
    arrange: Callable[[Problem, int], Places], problem: Problem, *, progress: bool = False
) -> Places:
    """What ``arrange`` gives for the start whose wires are shortest, the first of equals.

    Parameters
    ----------
    arrange : from the problem and a start's seed, from 1 on, to corners in x and y and what
        else it knows; a function of a module, as other processes call it
    problem : what to arrange; without free macros one start will do

    Raises
    ------
    SpecError
        If macros do not fit, whatever the start.
    """
    seeds = range(1, 1 + (STARTS if (problem.macro & ~problem.fixed).any() else 1))
    attempt = partial(_attempt, arrange, problem)
    shown = partial(tqdm, total=len(seeds), desc="macros", disable=not progress, leave=False)
    if len(seeds) == 1 or len(problem.width) < FEW_CELLS:
        found = list(shown(map(attempt, seeds)))
    else:
        context = multiprocessing.get_context("forkserver")
        with ProcessPoolExecutor(PROCESSES, context) as pool:
            found = list(shown(pool.map(attempt, seeds)))
    length, places = min(found, key=lambda result: result[0])
    if isinstance(places, SpecError):
        raise places
    return places


def _attempt(arrange, problem: Problem, seed: int) -> tuple[float, Places | SpecError]:
    """Wire of a start in um, and its places; or why it has none."""
    try:
        places = arrange(problem, seed)
    except SpecError as error:
        return np.inf, error
    return float(problem.net_lengths(*places[:2]).sum()), places
