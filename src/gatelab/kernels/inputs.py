"""The input's side of the pre-activations but for the bias, for all steps of a piece at once.

A piece is a few hundred rows: enough for a fast product, and few enough that what it gives is still in the cache when
its steps are done.

N rows of all steps, n rows of a piece, I input, H hidden, G gates.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from gatelab.kernels import steps as time
from gatelab.kernels.compiling import inlined, part
from gatelab.kernels.extras import unless_plain
from gatelab.kernels.frame import copy
from gatelab.kernels.norm import normalise_gates
from gatelab.kernels.product import grains, product
from gatelab.kernels.simd import shifted, there


class Working(NamedTuple):
    """Room for a forward pass over some items, by addresses, and the distances of rows."""

    gathered: int  # (n, ≥ I)
    step: int
    a: int  # (n, ≥ G·H)
    step_a: int
    products: int  # (items, ≥ G·H)
    wide: int
    masked: int  # (items, H) with a mask
    fresh: int  # (2, H) of an LSTM
    most: int  # n


class Open(NamedTuple):
    """What the input's side is made of, for use inside a loop."""

    rows: Any
    size: int
    weight: Any
    gathered: Any
    step: int
    a: Any
    step_a: int
    most: int
    width: int


@inlined
def opened(f, weight, room, like):
    """``Open`` of a frame, the packed weight of the input and ``Working`` room."""
    rows, gathered, a = there(f.rows, like), there(room.gathered, like), there(room.a, like)
    return Open(rows, f.size, weight, gathered, room.step, a, room.step_a, room.most, f.width)


@part
def project(s, begin, end, x, extras, gates, keep):
    """Fills ``x.a`` for the steps from ``begin`` to ``end``."""
    n = time.own_row(s, end, begin)
    for t in range(begin, end):
        for r in range(time.count(s, t)):
            here = shifted(x.gathered, (time.own_row(s, t, begin) + r) * x.step)
            copy(shifted(x.rows, (time.row(s, t) + r) * x.size), x.size, here)
    product(x.gathered, x.step, x.weight, x.size, x.a, x.step_a, grains(n), x.width, False)
    _normalise(extras, s, begin, end, x, gates, keep)


@unless_plain(lambda extras, s, begin, end, x, gates, keep: None)
def _normalise(extras, s, begin, end, x, gates, keep):
    if extras.normalised:
        H = x.width // gates
        for t in range(begin, end):
            for r in range(time.count(s, t)):
                at, row = (time.own_row(s, t, begin) + r) * x.step_a, time.row(s, t) + r
                normalise_gates(x.a, at, extras.gain_ih, extras.normed_ih, extras.factors_ih, row, gates, H, keep)
