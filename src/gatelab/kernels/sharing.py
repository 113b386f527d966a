"""One pass by several threads: each takes some of the items of the batch through the whole of it.

The threads meet twice, at the beginning and at the end, and in between nothing waits for anything: no step, no product,
no lock of Python's. A core that is busy with something else slows its own items and no others, and who is done takes
over what nobody has begun.

T steps, B items.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from gatelab.kernels.simd import GRAIN
from gatelab.kernels.steps import Way

_WORTH = 3e7  # multiplications of a pass that one more share is worth
_FEWEST = 16  # items of a thread: below, the weights are read too often for what is done with them


class Shares(NamedTuple):
    """What each thread takes."""

    ways: list[Way]
    held: list[np.ndarray]  # the arrays whose addresses they have


def shares(
    offsets: np.ndarray | None, T: int, B: int, rows: int, backwards: bool, multiplications: float, threads: int
) -> Shares:
    """The rows of each thread's items, about the same number for all.

    Args:
        offsets: ``(T + 1,)`` int64, the first row of each step, and N; None for B rows in every step.
        T, B, rows: steps, items, and N.
        backwards: read time from its end.
        multiplications: of the whole pass.
        threads: how many there may be.
    """
    count = min(threads, B // _FEWEST, int(multiplications / _WORTH))
    if count <= 1:
        if offsets is None:
            return Shares([Way(0, 0, T, B, 0, B, rows, backwards)], [])
        place = offsets.ctypes.data
        return Shares([Way(place, place, T, B, 0, B, rows, backwards)], [offsets])
    count *= 2  # a free thread takes over what a slow one left
    if offsets is None:
        edges = pairwise(_edges(np.array([B]), B, count))  # of one step, for all are alike
        return Shares([Way(0, 0, T, B, a, b - a, T * (b - a), backwards) for a, b in edges], [])
    sizes, held = np.diff(offsets), [offsets]  # (T,)
    edges = pairwise(_edges(sizes, B, count))
    return Shares([_way(held, sizes, B, a, b, backwards) for a, b in edges], held)


def _edges(sizes: np.ndarray, B: int, count: int) -> list[int]:
    """Where ``count`` shares of the items begin and end, of steps with ``sizes (T,)`` rows."""
    until = np.cumsum((sizes[None, :] > np.arange(B)[:, None]).sum(1))  # (B,) rows of the items so far
    ends = [int((until <= until[-1] * k / count).sum()) for k in range(1, count)]
    rounded = [(end + GRAIN // 2) // GRAIN * GRAIN for end in ends]
    return sorted({0, *(end for end in rounded if 0 < end < B), B})


def _way(held: list[np.ndarray], sizes: np.ndarray, B: int, first: int, last: int, backwards: bool) -> Way:
    counts = (np.minimum(sizes, last) - first).clip(min=0)  # (T,)
    steps = int((counts > 0).sum())
    own = np.concatenate([[0], counts[:steps].cumsum()])  # (steps + 1,)
    held.append(own)
    return Way(held[0].ctypes.data, own.ctypes.data, steps, B, first, last - first, int(own[-1]), backwards)


def together(work: Sequence[Callable[[], Any]], threads: int) -> None:
    """Does everything, this thread among the others; an error in one is raised after all have ended."""
    if len(work) == 1:
        work[0]()
        return
    pool, cores = _pool(os.getpid(), threads - 1), _other_cores()
    waiting = [pool.submit(_on, cores, call) for call in work[1:]]
    try:
        work[0]()
        for call, one in zip(reversed(work[1:]), reversed(waiting), strict=True):
            if one.cancel():  # nobody has begun it
                call()
    finally:
        for one in waiting:
            if not one.cancelled():
                one.result()


def _other_cores() -> set[int]:
    """The cores that this thread may run on, but for the one it is on; none where the system does not say.

    A thread that is woken begins on the core of the one that wakes it unless another is idle. Beside a busy neighbour
    two threads of ours would share a core for some milliseconds, and the neighbour have the other to itself.
    """
    return os.sched_getaffinity(0) - {_core()} if _core else set()


def _on(cores: set[int], call: Callable[[], Any]) -> None:
    if cores:
        with suppress(OSError):  # a system that forbids it, or has just lost the core
            os.sched_setaffinity(0, cores)  # of this thread alone, which is of our own pool
    call()


_core = getattr(ctypes.CDLL(None), "sched_getcpu", None) if hasattr(os, "sched_setaffinity") else None


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads of this process; a forked child makes its own."""
    return ThreadPoolExecutor(threads, "gatelab")
