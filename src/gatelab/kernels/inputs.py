"""The input's side of the pre-activations, for all steps of a piece at once.

A piece is a few hundred rows: enough for a fast product, and few enough that what it gives is still in the cache when
its steps are done.

N rows of all steps, n rows of a piece, I input, H hidden, G gates.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from gatelab.kernels import steps as time
from gatelab.kernels.norm import normalise_gates
from gatelab.kernels.product import grains, product
from gatelab.kernels.simd import lanes, load, pointer, store


class Inputs(NamedTuple):
    """What a forward pass reads, and room for a piece of it."""

    rows: np.ndarray  # (N, I)
    weight: np.ndarray  # W_ih transposed and packed
    bias: np.ndarray  # (G·H,) or empty
    gathered: np.ndarray  # (n, ≥ I) room
    a: np.ndarray  # (n, ≥ G·H) room
    most: int  # n
    width: int  # G·H


class Open(NamedTuple):
    """The same with addresses in the arrays' places."""

    rows: Any
    size: int
    weight: Any
    biased: bool
    bias: Any
    gathered: Any
    step: int
    a: Any
    step_a: int
    most: int
    width: int


@njit(inline="always")
def opened(x):
    """``Inputs`` for use inside a loop."""
    return Open(
        pointer(x.rows),
        x.rows.shape[1],
        pointer(x.weight),
        x.bias.size > 0,
        pointer(x.bias),
        pointer(x.gathered),
        x.gathered.shape[1],
        pointer(x.a),
        x.a.shape[1],
        x.most,
        x.width,
    )


@njit(error_model="numpy")
def project(s, begin, end, x, extras, gates, keep):
    """Fills ``x.a`` for the steps from ``begin`` to ``end``."""
    n = time.own_row(s, end, begin)
    for t in range(begin, end):
        for r in range(time.count(s, t)):
            copy(x.rows, (time.row(s, t) + r) * x.size, x.gathered, (time.own_row(s, t, begin) + r) * x.step, x.size)
    first = x.biased and not extras.normalised
    if first:
        for r in range(n):
            copy(x.bias, 0, x.a, r * x.step_a, x.width)
    product(x.gathered, 0, x.step, x.weight, x.size, x.a, 0, x.step_a, grains(n), x.width, first)
    if extras.normalised:
        for t in range(begin, end):
            for r in range(time.count(s, t)):
                _normalise(x, (time.own_row(s, t, begin) + r) * x.step_a, extras, time.row(s, t) + r, gates, keep)


@njit(error_model="numpy")
def _normalise(x, at, extras, row, gates, keep):
    normalise_gates(x.a, at, extras.gain_ih, extras.normed_ih, extras.factors_ih, row, gates, x.width // gates, keep)
    if x.biased:
        for j in range(0, x.width, lanes(x.a)):
            left = x.width - j
            store(x.a, at + j, left, load(x.a, at + j, left) + load(x.bias, j, left))


@njit(error_model="numpy")
def copy(source, at_source, target, at_target, size):
    """``size`` numbers from one place to another."""
    for j in range(0, size, lanes(source)):
        store(target, at_target + j, size - j, load(source, at_source + j, size - j))
