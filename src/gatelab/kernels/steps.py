"""Which rows a step works on, and where the state before it stands.

Rows of all steps lie one after the other, as in a ``PackedSequence``: ``offsets[t]`` is the first row of step t, and
items are sorted by length, the longest first. A dense batch has as many rows in every step, and needs no offsets. A
thread may have some neighbouring items of the batch alone; it counts their rows from 0.

N rows of all steps, T steps, B items.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from gatelab.kernels.compiling import inlined
from gatelab.kernels.simd import integers_at, peek


class Way(NamedTuple):
    """The rows that some items take through time; arrays by their addresses."""

    offsets: Any  # (T + 1,) int64, the first row of each step, and N; 0: B rows in every step
    own: Any  # (T + 1,) int64, the same among the rows of these items; 0 likewise
    T: int
    B: int
    first: int  # the first of these items
    items: int  # how many they are
    rows: int  # theirs, of all steps
    backwards: bool  # whether time is read from its end


class Open(NamedTuple):
    """The same for use inside a loop."""

    dense: bool
    offsets: Any
    own: Any
    T: int
    B: int
    first: int
    items: int
    backwards: bool


@inlined
def opened(way):
    """A bare ``Way`` for use inside a loop."""
    w = Way(*way)
    return Open(w.offsets == 0, integers_at(w.offsets), integers_at(w.own), w.T, w.B, w.first, w.items, w.backwards)


@inlined
def count(steps, t):
    """How many of the items take part in step ``t``."""
    return steps.items if steps.dense else peek(steps.own, t + 1) - peek(steps.own, t)


@inlined
def row(steps, t):
    """The row of the first of the items at step ``t``."""
    return (t * steps.B if steps.dense else peek(steps.offsets, t)) + steps.first


@inlined
def own_row(steps, t, begin):
    """The same among the rows of these items from step ``begin`` on."""
    return (t - begin) * steps.items if steps.dense else peek(steps.own, t) - peek(steps.own, begin)


@inlined
def row_before(steps, t, item):
    """The row of the state that ``item`` comes from at step ``t``; −1: its initial state."""
    before = t + 1 if steps.backwards else t - 1
    if before < 0 or before >= steps.T or item >= count(steps, before):
        return -1
    return row(steps, before) + item


@inlined
def piece(steps, done, most, downwards):
    """The next steps, from ``begin`` to before ``end``, that have ``most`` rows together, or one step alone.

    ``done`` steps were taken before, from the end of time ``downwards`` or from its beginning.
    """
    begin = end = steps.T - done if downwards else done
    while begin > 0 if downwards else end < steps.T:
        below, above = (begin - 1, end) if downwards else (begin, end + 1)
        if end > begin and own_row(steps, above, below) > most:
            break
        begin, end = below, above
    return begin, end
