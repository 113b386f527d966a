"""The memory that passes work in."""

import threading

import numpy as np
import pytest

from gatelab.kernels import room as module
from gatelab.kernels.room import Room, own_room
from gatelab.kernels.simd import BYTES, GRAIN

DTYPES = pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64)], ids=str)


@DTYPES
@pytest.mark.parametrize("shape", [(3, 70, 32), (1, 1, 1), (0, 0)])
def test_an_array_begins_with_a_cache_line(dtype, shape):
    room = Room()
    for _ in range(2):
        for _ in range(3):
            array = room.take(shape, dtype)
            assert array.shape == shape
            assert array.dtype == dtype
            assert array.flags.c_contiguous
            assert array.ctypes.data % BYTES == 0 or not array.size
        room.emptied()


@DTYPES
def test_arrays_of_one_pass_do_not_overlap(dtype):
    room = Room()
    for _ in range(3):
        arrays = [room.take((rows, 7), dtype) for rows in (1, 90, 4, 300)]
        for value, array in enumerate(arrays):
            array[...] = value
        assert all((array == value).all() for value, array in enumerate(arrays))
        room.emptied()


def test_a_second_pass_has_the_memory_of_the_first():
    room, dtype = Room(), np.dtype(np.float32)
    sizes = [(3, 5), (100, 64), (1, 1)]
    for size in sizes:
        room.take(size, dtype)
    places = [[room.take(size, dtype).ctypes.data for size in sizes] for _ in range(2) if room.emptied()]
    assert places[0] == places[1]


def test_a_pass_too_large_to_keep_gets_memory_of_its_own(monkeypatch):
    monkeypatch.setattr(module, "_MOST", 1000)
    room, dtype = Room(), np.dtype(np.float32)
    for _ in range(3):
        room.take((10, 10), dtype)[...] = 1
        room.take((1000, 10), dtype)[...] = 2
        room.emptied()
        assert len(room._bytes) == 0


@DTYPES
def test_rows_of_a_matrix_are_an_odd_number_of_lines_apart(dtype):
    room, line = Room(), BYTES // dtype.itemsize
    for columns in (1, line, line + 1, 8 * line, 9 * line, 1024):
        array = room.matrix(5, columns, dtype)
        assert len(array) % GRAIN == 0
        assert array.shape[1] >= columns
        assert array.shape[1] == columns <= line or (array.shape[1] % line == 0 and array.shape[1] // line % 2 == 1)


def test_every_thread_has_its_own():
    found = []
    thread = threading.Thread(target=lambda: found.append(own_room("a")))
    thread.start()
    thread.join()
    assert found[0] is not own_room("a")
    assert own_room("a") is own_room("a")
    assert own_room("a") is not own_room("b")
