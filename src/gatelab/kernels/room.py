"""Memory that passes work in, one after the other: kept by each thread, for fresh memory costs as much as a small pass.

The system gives fresh memory page by page, at about a microsecond each, and takes large pieces back as soon as they are
free. Passes ask for it by the byte and get addresses, since a NumPy array for each piece takes as long as a small
kernel.
"""

from __future__ import annotations

import math
import threading

import numpy as np

from gatelab.kernels.simd import BYTES, GRAIN, PANEL

Array = np.ndarray
_MOST = 2**26  # bytes that a thread keeps


class Room:
    """The memory of one pass, in a ``with`` statement, and of the next one in the next."""

    def __init__(self) -> None:
        self._keep(aligned(0))
        self._asked = 0
        self._more: list[Array] = []

    def _keep(self, memory: Array) -> None:
        self._memory, self._begin, self._size = memory, memory.ctypes.data, len(memory)

    def __enter__(self) -> Room:
        self._asked = 0
        return self

    def __exit__(self, *exception: object) -> None:
        """If it was too little, there will be enough the next time."""
        self._more.clear()
        if self._size < self._asked <= _MOST:
            self._keep(aligned(self._asked))

    def take(self, size: int) -> int:
        """The address of ``size`` bytes of anything, until the ``with`` statement ends.

        They begin with a cache line: a vector over two lines takes twice as long.
        """
        begin = self._asked
        self._asked += -(-size // BYTES) * BYTES
        if self._asked <= self._size:
            return self._begin + begin
        self._more.append(aligned(size))
        return self._more[-1].ctypes.data

    def matrix(self, rows: int, columns: int, itemsize: int) -> tuple[int, int]:
        """For rows that are read side by side, and for as many more as make whole grains: address, and their distance.

        The distance, in numbers, is an odd number of cache lines: a power of two apart, rows would share a few places
        of the cache.
        """
        line = BYTES // itemsize
        step = columns if columns <= line else (-(-columns // line) | 1) * line
        return self.take(-(-rows // GRAIN) * GRAIN * step * itemsize), step

    def panels(self, rows: int, columns: int, itemsize: int) -> int:
        """For rows in blocks of columns, as ``gatelab.kernels.product`` reads them."""
        return self.take(rows * whole(columns, itemsize) * itemsize)


def whole(columns: int, itemsize: int) -> int:
    """Columns in whole blocks: what a product rounds its columns up to."""
    width = PANEL * BYTES // itemsize
    return -(-columns // width) * width


def fresh(shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """An array of anything that begins with a cache line, and is the caller's."""
    return np.ndarray(shape, dtype, aligned(math.prod(shape) * dtype.itemsize))


def aligned(size: int) -> Array:
    """Bytes of anything that begin with a cache line."""
    room = np.empty(size + BYTES, np.uint8)
    start = -room.ctypes.data % BYTES
    return room[start : start + size]


_own = threading.local()


def own_room(purpose: str) -> Room:
    """This thread's for that purpose."""
    rooms = vars(_own)
    if purpose not in rooms:
        rooms[purpose] = Room()
    return rooms[purpose]
