"""Matrix products: of rows with weights that are packed once, and of rows with rows, summed up.

A step multiplies a state ``(rows, K)`` by the same weights ``(K, N)`` again and again. Packed into column blocks of
``PANEL`` vectors, ``(blocks, K, width)``, the weights are read from front to back, and a block of up to twelve rows
stays in registers while it meets them. The weights' gradients are sums over rows of what one row was times what another
has to become: the same, with the rows in K's place. Measured on one core against MKL on the same matrices: about as
fast, and faster for few rows (``docs/log.md``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from gatelab.kernels.compiling import ADDRESS, FLAG, SIZE, apart, inlined, kernel, part
from gatelab.kernels.room import fresh, whole
from gatelab.kernels.simd import GRAIN, PANEL, ROWS, lanes, load, pointer, store
from gatelab.kernels.tiles import multiply, transpose

CHUNK = 256
"""Rows that are summed up at once: what they need besides stays in the cache."""

_MOST, _MORE, _SOME = ROWS[:3]
_most, _more, _some, _two, _one = (multiply(rows) for rows in (_MOST, _MORE, _SOME, 2, 1))
_most_turned, _some_turned, _one_turned = (multiply(rows, True) for rows in (_MOST, _SOME, 1))


# ---- weights, packed -----------------------------------------------------------------------------------------------


def packed(weight: np.ndarray) -> np.ndarray:
    """The weights ``(K, N)``, any strides, as column blocks ``(⌈N / width⌉, K, width)``; zeros fill the last block."""
    (K, N), itemsize = weight.shape, weight.dtype.itemsize
    width = whole(1, itemsize)
    blocks = fresh((whole(N, itemsize) // width, K, width), weight.dtype)
    if weight.size:
        _pack_array(np.ascontiguousarray(weight), blocks)
    return blocks


@kernel
def _pack_array(weight, blocks):
    pack(pointer(weight), *weight.shape, pointer(blocks))


@part
def pack(weight, K, N, blocks):
    """``weight (K, N)`` as column blocks ``(⌈N / width⌉, K, width)``; zeros fill the last block."""
    wide = PANEL * lanes(weight)
    for first in range(0, N, wide):
        for k in range(K):
            for j in range(0, wide, lanes(weight)):
                at = first + j
                store(blocks, first * K + k * wide + j, wide, load(weight, k * N + at, N - at))


@part
def pack_turned(weight, N, K, blocks):
    """The same of ``weight (N, K)``, whose rows become columns."""
    side, wide = lanes(weight), PANEL * lanes(weight)
    for block in range(0, N, wide):
        for k in range(0, K, side):
            for first in range(block, block + wide, side):
                here = block * K + k * wide + first - block
                if first + side <= N and k + side <= K:  # where LLVM sees that all is there, it needs no masks
                    transpose(weight, first * K + k, K, side, side, blocks, here, wide)
                else:
                    transpose(weight, first * K + k, K, N - first, K - k, blocks, here, wide)


# ---- rows times weights --------------------------------------------------------------------------------------------


@inlined
def grains(rows):
    """``rows`` and as many more as make whole grains: a row is then computed in one way, whatever its neighbours."""
    return -(-rows // GRAIN) * GRAIN


@apart(ADDRESS, SIZE, ADDRESS, SIZE, ADDRESS, SIZE, SIZE, SIZE, FLAG)
def product(a, step_a, b, K, c, step_c, rows, columns, add):
    """``c (+)= a @ b``: ``a (rows, K)`` and ``c (rows, columns)`` lie ``step`` apart, ``b`` is ``packed``.

    All are addresses (``simd.pointer``), so that rows of larger matrices will do.
    """
    for first in range(0, columns, PANEL * lanes(a)):
        here, left = first * K, columns - first
        row = 0
        while row < rows:
            more, x, y = rows - row, row * step_a, row * step_c + first
            # Four more than a block: two halves are better than a whole and a rest.
            if more >= _MOST and more != _MOST + _SOME:
                _most(a, x, step_a, b, here, K, c, y, step_c, left, add)
                row += _MOST
            elif more >= _MORE:
                _more(a, x, step_a, b, here, K, c, y, step_c, left, add)
                row += _MORE
            elif more >= _SOME:
                _some(a, x, step_a, b, here, K, c, y, step_c, left, add)
                row += _SOME
            elif more >= 2:
                _two(a, x, step_a, b, here, K, c, y, step_c, left, add)
                row += 2
            else:
                _one(a, x, step_a, b, here, K, c, y, step_c, left, add)
                row += 1


# ---- sums over rows ------------------------------------------------------------------------------------------------


@part
def pack_row(row, columns, panels, index, n):
    """Writes the row at ``row``, number ``index`` of ``n``, to its place among ``panels``.

    Chunk after chunk of rows, within a chunk block after block of columns, ``(size, width)`` each.
    """
    wide = PANEL * lanes(row)
    chunk = index // CHUNK * CHUNK
    size = min(CHUNK, n - chunk)
    here = chunk * (-(-columns // wide) * wide) + (index - chunk) * wide
    for first in range(0, columns, wide):
        for j in range(0, wide, lanes(row)):
            store(panels, here + first * size + j, wide, load(row, first + j, columns - first - j))


@part
def _pack_columns(d, at, step, K, room):
    """``_MOST`` neighbouring columns, side by side in ``room (K, _MOST)``."""
    for k in range(K):
        for j in range(0, _MOST, lanes(d)):
            store(room, k * _MOST + j, _MOST - j, load(d, at + k * step + j, _MOST - j))


class Right(NamedTuple):
    """What rows are multiplied by, packed, and what the sum is added to: ``c (rows, columns)``, ``step`` apart."""

    panels: Any
    columns: int
    c: Any
    step: int


def _right(dtype: types.Float) -> types.Type:
    return types.NamedTuple((ADDRESS(dtype), types.intp, ADDRESS(dtype), types.intp), Right)


@apart(ADDRESS, SIZE, SIZE, SIZE, _right, _right, ADDRESS)
def add_outer(d, step_d, rows, n, x, y, room):
    """``c += dᵀ @ x`` for two right sides, x and y, which have ``d (n, rows)`` in common, ``step_d`` apart.

    All are addresses, the right sides ``Right``. ``room`` is for ``CHUNK`` times as many numbers as a block has rows,
    and one vector.
    """
    wide = PANEL * lanes(d)
    for k in range(0, n, CHUNK):
        K, row = min(CHUNK, n - k), 0
        while row < rows:
            more, here = rows - row, k * step_d + row
            block = _MOST if more >= _MOST else _SOME if more >= _SOME else 1
            if block == _MOST:
                _pack_columns(d, here, step_d, K, room)
            for right in (x, y):
                first, to, step = k * (-(-right.columns // wide) * wide), row * right.step, right.step
                for j in range(0, right.columns, wide):
                    at, left = first + j * K, right.columns - j
                    if block == _MOST:
                        _most_turned(room, 0, _MOST, right.panels, at, K, right.c, to + j, step, left, True)
                    elif block == _SOME:
                        _some_turned(d, here, step_d, right.panels, at, K, right.c, to + j, step, left, True)
                    else:
                        _one_turned(d, here, step_d, right.panels, at, K, right.c, to + j, step, left, True)
            row += block
