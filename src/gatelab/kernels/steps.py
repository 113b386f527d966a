"""Which rows a step works on, and where the state before it stands.

Rows of all steps lie one after the other, as in a ``PackedSequence``: ``offsets[t]`` is the first row of step t, and
items are sorted by length, the longest first. A dense batch has as many rows in every step.

N rows of all steps, T steps, B items.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from gatelab.kernels.simd import peek, pointer


class Steps(NamedTuple):
    """One piece of a pass."""

    offsets: np.ndarray  # (T + 1,) int64, the first row of each step, and N
    backwards: bool  # whether time is read from its end
    begin: int  # the steps from here, in the order of reading
    end: int  # to here
    base: int  # the row at which arrays begin that hold this piece alone


class Open(NamedTuple):
    """The same with an address in the array's place: arrays are counted wherever they go, addresses cost nothing."""

    offsets: Any
    T: int
    backwards: bool


@njit(inline="always")
def opened(steps):
    """``steps`` for use inside a loop."""
    return Open(pointer(steps.offsets), len(steps.offsets) - 1, steps.backwards)


@njit(inline="always")
def at(steps, index):
    """The step that is read as number ``index``."""
    return steps.T - 1 - index if steps.backwards else index


@njit(inline="always")
def count(steps, t):
    """How many items take part in step ``t``."""
    return peek(steps.offsets, t + 1) - peek(steps.offsets, t)


@njit(inline="always")
def row(steps, t):
    """The row of the first item at step ``t``."""
    return peek(steps.offsets, t)


@njit(inline="always")
def row_before(steps, t, item):
    """The row of the state that ``item`` comes from at step ``t``; −1: its initial state."""
    before = t + 1 if steps.backwards else t - 1
    if before < 0 or before >= steps.T or item >= count(steps, before):
        return -1
    return row(steps, before) + item
