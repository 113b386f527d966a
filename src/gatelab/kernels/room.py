"""Memory that passes work in, one after the other: kept by each thread, for fresh memory costs as much as a small pass.

The system gives fresh memory page by page, at about a microsecond each, and takes large pieces back as soon as they are
free.
"""

from __future__ import annotations

import math
import threading

import numpy as np

from gatelab.kernels.simd import BYTES, GRAIN, PANEL

Array = np.ndarray
_MOST = 2**26  # bytes that a thread keeps


class Room:
    """Arrays for one pass; all of them are gone when ``emptied``."""

    def __init__(self) -> None:
        self._bytes, self._used, self._asked = aligned(0), 0, 0

    def emptied(self) -> Room:
        """The same memory for the next pass, and more of it if it was too little."""
        if self._asked > len(self._bytes) and self._asked <= _MOST:
            self._bytes = aligned(self._asked)
        self._used = self._asked = 0
        return self

    def take(self, shape: tuple[int, ...], dtype: np.dtype) -> Array:
        """An array of anything. It begins with a cache line: a vector over two lines takes twice as long."""
        size = math.prod(shape) * dtype.itemsize
        padded = -(-size // BYTES) * BYTES
        self._asked += padded
        if self._used + padded > len(self._bytes):
            return np.ndarray(shape, dtype, aligned(padded))
        self._used += padded
        return np.ndarray(shape, dtype, self._bytes, self._used - padded)

    def matrix(self, rows: int, columns: int, dtype: np.dtype) -> Array:
        """For rows that are read side by side, and for as many more as make whole grains of them.

        An odd number of cache lines apart: a power of two apart, rows would share a few places of the cache.
        """
        line = BYTES // dtype.itemsize
        step = columns if columns <= line else (-(-columns // line) | 1) * line
        return self.take((-(-rows // GRAIN) * GRAIN, step), dtype)

    def panels(self, rows: int, columns: int, dtype: np.dtype) -> Array:
        """For the rows that ``product.add_outer`` multiplies by."""
        return self.take((rows, -(-columns // width(dtype)) * width(dtype)), dtype)


def width(dtype: np.dtype) -> int:
    """Columns in a packed block: what a product of ``dtype`` rounds its columns up to."""
    return PANEL * BYTES // np.dtype(dtype).itemsize


def aligned(size: int) -> Array:
    """Bytes of anything that begin with a cache line."""
    room = np.empty(size + BYTES, np.uint8)
    start = -room.ctypes.data % BYTES
    return room[start : start + size]


_own = threading.local()


def own_room(purpose: str) -> Room:
    """This thread's for that purpose, emptied."""
    rooms = vars(_own)
    if purpose not in rooms:
        rooms[purpose] = Room()
    return rooms[purpose].emptied()
