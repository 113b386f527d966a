"""Matrix products of a few rows with weights that are packed once and used at every step of a sequence.

A step multiplies a state ``(rows, K)`` by the same weights ``(K, N)`` again and again. Packed into column blocks of
``PANEL`` vectors, ``(blocks, K, width)``, the weights are read from front to back, and a block of up to twelve rows
stays in registers while it meets them. Measured on one core against MKL on the same matrices: about as fast from
B = 8 on, and faster below (``docs/log.md``).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from gatelab.kernels.simd import BYTES, PANEL, ROWS, lanes, multiply

_MOST, _MORE, _SOME = ROWS[:3]
_most, _more, _some, _two, _one = (multiply(rows) for rows in (_MOST, _MORE, _SOME, 2, 1))


def width(dtype: np.dtype) -> int:
    """Columns in a packed block: what a product of ``dtype`` rounds its columns up to."""
    return PANEL * BYTES // np.dtype(dtype).itemsize


def aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Zeros that begin where a cache line begins; a vector that straddles two lines takes twice as long to load."""
    size = math.prod(shape)
    room = np.zeros(size + BYTES // dtype.itemsize, dtype)
    start = -room.ctypes.data % BYTES // dtype.itemsize
    return room[start : start + size].reshape(shape)


def packed(weight: np.ndarray) -> np.ndarray:
    """The weights ``(K, N)``, any strides, as column blocks ``(⌈N / width⌉, K, width)``; zeros fill the last block."""
    K, N = weight.shape
    columns = width(weight.dtype)
    whole = N // columns
    blocks = aligned((-(-N // columns), K, columns), weight.dtype)
    blocks[:whole] = weight[:, : whole * columns].reshape(K, whole, columns).transpose(1, 0, 2)
    if whole < len(blocks):
        blocks[whole, :, : N - whole * columns] = weight[:, whole * columns :]
    return blocks


@njit(nogil=True, error_model="numpy")
def product(a, at_a, step_a, b, blocks, K, c, at_c, step_c, rows, add):
    """``c (+)= a @ b``: ``a (rows, K)`` and ``c (rows, blocks · width)`` lie ``step`` apart, ``b`` is ``packed``.

    All are addresses (``simd.pointer``), so that rows of larger matrices will do.
    """
    columns = PANEL * lanes(a)
    for block in range(blocks):
        here, there = block * K * columns, at_c + block * columns
        row = 0
        while row < rows:
            left = rows - row
            x, y = at_a + row * step_a, there + row * step_c
            # Four more than a block: two halves are better than a whole and a rest.
            if left >= _MOST and left != _MOST + _SOME:
                _most(a, x, step_a, b, here, K, c, y, step_c, add)
                row += _MOST
            elif left >= _MORE:
                _more(a, x, step_a, b, here, K, c, y, step_c, add)
                row += _MORE
            elif left >= _SOME:
                _some(a, x, step_a, b, here, K, c, y, step_c, add)
                row += _SOME
            elif left >= 2:
                _two(a, x, step_a, b, here, K, c, y, step_c, add)
                row += 2
            else:
                _one(a, x, step_a, b, here, K, c, y, step_c, add)
                row += 1
