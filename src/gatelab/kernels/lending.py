"""Memory that outlives a pass: lent, and taken back as soon as nobody holds it any more.

A forward pass leaves its records to the backward pass, tens of megabytes each time. The system takes pieces of that
size back when they are freed, and gives fresh ones page by page, at about a microsecond each: of a layer with layer
normalisation, that was a third of a training step. So what comes back is kept for the next pass, up to a bound.
"""

from __future__ import annotations

import math
import weakref
from collections import defaultdict, deque
from typing import Any

import numpy as np

from gatelab.kernels.room import aligned

_LEAST = 2**17  # bytes from which malloc asks the system
_MOST = 2**27  # bytes that are kept while nobody has them
_free: defaultdict[int, deque[np.ndarray]] = defaultdict(deque)  # by size; one call each, so that threads may share it


def lend(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array of anything, C-contiguous; its memory is lent again when the array, and all that shows it, is gone."""
    size = math.prod(shape) * dtype.itemsize
    if size < _LEAST:
        return np.empty(shape, dtype)
    rounded = _rounded(size)
    try:
        piece = _free[rounded].pop()
    except IndexError:
        piece = aligned(rounded)
    array = np.ndarray(shape, dtype, piece)
    when_gone: Any = weakref.finalize(array, _take_back, piece)
    when_gone.atexit = False  # what is free at the end of the process need not be found
    return array


def _rounded(size: int) -> int:
    """Up to one of four sizes an octave, so that batches of about the same length share their memory."""
    unit = 2 ** (size.bit_length() - 3)
    return -(-size // unit) * unit


def _take_back(piece: np.ndarray) -> None:
    if len(piece) + sum(size * len(pieces) for size, pieces in list(_free.items())) > _MOST:
        _free.clear()  # of sizes that are perhaps not asked for any more
    if len(piece) <= _MOST:
        _free[len(piece)].append(piece)
