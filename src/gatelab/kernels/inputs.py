"""The input's side of the pre-activations but for the bias, for all steps of a piece at once.

A piece is a few hundred rows: enough for a fast product, and few enough that what it gives is still in the cache when
its steps are done.

N rows of all steps, n rows of a piece, I input, H hidden, G gates.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gatelab.kernels import steps as time
from gatelab.kernels.compiling import inlined, part
from gatelab.kernels.norm import normalise_gates
from gatelab.kernels.product import grains, product
from gatelab.kernels.simd import lanes, load, pointer, store


class Inputs(NamedTuple):
    """What a forward pass reads, and room for a piece of it."""

    rows: np.ndarray  # (N, I)
    weight: np.ndarray  # W_ih transposed and packed
    gathered: np.ndarray  # (n, ≥ I) room
    a: np.ndarray  # (n, ≥ G·H) room
    most: int  # n
    width: int  # G·H


class Open(NamedTuple):
    """The same with addresses in the arrays' places."""

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
def opened(x):
    """``Inputs`` for use inside a loop."""
    return Open(
        pointer(x.rows),
        x.rows.shape[1],
        pointer(x.weight),
        pointer(x.gathered),
        x.gathered.shape[1],
        pointer(x.a),
        x.a.shape[1],
        x.most,
        x.width,
    )


@part
def project(s, begin, end, x, extras, gates, keep):
    """Fills ``x.a`` for the steps from ``begin`` to ``end``."""
    n = time.own_row(s, end, begin)
    for t in range(begin, end):
        for r in range(time.count(s, t)):
            copy(x.rows, (time.row(s, t) + r) * x.size, x.gathered, (time.own_row(s, t, begin) + r) * x.step, x.size)
    product(x.gathered, x.step, x.weight, x.size, x.a, x.step_a, grains(n), x.width, False)
    if extras.normalised:
        gain, normed, factors, H = extras.gain_ih, extras.normed_ih, extras.factors_ih, x.width // gates
        for t in range(begin, end):
            for r in range(time.count(s, t)):
                at, row = (time.own_row(s, t, begin) + r) * x.step_a, time.row(s, t) + r
                normalise_gates(x.a, at, gain, normed, factors, row, gates, H, keep)


@part
def copy(source, at_source, target, at_target, size):
    """``size`` numbers from one place to another."""
    for j in range(0, size, lanes(source)):
        store(target, at_target + j, size - j, load(source, at_source + j, size - j))
