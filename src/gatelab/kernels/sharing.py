"""One pass by several threads: each takes some of the items of the batch through the whole of it.

The threads meet twice, at the beginning and at the end, and in between nothing waits for anything: no step, no product,
no lock of Python's. A core that is busy with something else slows its own items and no others, and who is done takes
over what nobody has begun.

T steps, B items.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from gatelab.kernels.simd import GRAIN
from gatelab.kernels.steps import Way

_WORTH = 3e7  # multiplications of a pass that one more share is worth
_FEWEST = 16  # items of a thread: below, the weights are read too often for what is done with them


def ways(offsets: np.ndarray, backwards: bool, multiplications: float, threads: int) -> list[Way]:
    """The rows of each thread's items, about the same number for all.

    Args:
        offsets: ``(T + 1,)`` int64, the first row of each step, and N.
        backwards: read time from its end.
        multiplications: of the whole pass.
        threads: how many there may be.
    """
    B = int(offsets[1])
    count = min(threads, B // _FEWEST, int(multiplications / _WORTH))
    if count <= 1:
        return [Way(offsets, offsets, 0, backwards)]
    count *= 2  # a free thread takes over what a slow one left
    sizes = np.diff(offsets)  # (T,)
    done = np.cumsum((sizes[None, :] > np.arange(B)[:, None]).sum(1))  # (B,) rows of the items so far
    ends = [int((done <= done[-1] * k / count).sum()) for k in range(1, count)]
    rounded = [(end + GRAIN // 2) // GRAIN * GRAIN for end in ends]
    edges = sorted({0, *(end for end in rounded if 0 < end < B), B})
    return [_way(offsets, sizes, first, last, backwards) for first, last in pairwise(edges)]


def _way(offsets: np.ndarray, sizes: np.ndarray, first: int, last: int, backwards: bool) -> Way:
    counts = (np.minimum(sizes, last) - first).clip(min=0)  # (T,)
    steps = int((counts > 0).sum())
    return Way(offsets[: steps + 1], np.concatenate([[0], counts[:steps].cumsum()]), first, backwards)


def together(work: Sequence[Callable[[], Any]], threads: int) -> None:
    """Does everything, this thread among the others; an error in one is raised after all have ended."""
    waiting = [_pool(os.getpid(), threads - 1).submit(call) for call in work[1:]]
    try:
        work[0]()
        for call, one in zip(reversed(work[1:]), reversed(waiting), strict=True):
            if one.cancel():  # nobody has begun it
                call()
    finally:
        for one in waiting:
            if not one.cancelled():
                one.result()


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads of this process; a forked child makes its own."""
    return ThreadPoolExecutor(threads, "gatelab")
