"""The memory that passes work in."""

import ctypes
import threading

import numpy as np
import pytest

from gatelab.kernels import room as module
from gatelab.kernels.room import Room, fresh, own_room, whole
from gatelab.kernels.simd import BYTES, GRAIN, PANEL


def at(place, size):
    """The bytes at an address."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(place))


@pytest.mark.parametrize("size", [1, 63, 64, 65, 10_000])
def test_a_piece_begins_with_a_cache_line(size):
    room = Room()
    for _ in range(2):
        with room:
            assert all(room.take(size) % BYTES == 0 for _ in range(3))


def test_pieces_of_one_pass_do_not_overlap():
    room, sizes = Room(), (7, 700, 1, 64, 3000)
    for _ in range(3):
        with room:
            pieces = [at(room.take(size), size) for size in sizes]
            for value, piece in enumerate(pieces):
                piece[...] = value
            assert all((piece == value).all() for value, piece in enumerate(pieces))


def test_a_second_pass_has_the_memory_of_the_first():
    room, sizes, places = Room(), (60, 25_000, 4), []
    for _ in range(3):
        with room:
            places.append([room.take(size) for size in sizes])
    assert places[1] == places[2]


def test_a_pass_too_large_to_keep_gets_memory_of_its_own(monkeypatch):
    monkeypatch.setattr(module, "_MOST", 1000)
    room = Room()
    for _ in range(3):
        with room:
            at(room.take(400), 400)[...] = 1
            at(room.take(40_000), 40_000)[...] = 2
        assert room._size == 0
        assert not room._more


def test_memory_is_given_back_after_an_error():
    room = Room()

    def fail():
        with room:
            room.take(100)
            raise ValueError("anything")

    with pytest.raises(ValueError, match="anything"):
        fail()
    assert not room._more


@pytest.mark.parametrize("itemsize", [4, 8])
def test_rows_of_a_matrix_are_an_odd_number_of_lines_apart(itemsize):
    room, line = Room(), BYTES // itemsize
    with room:
        room.take(10**6)  # enough for all that follows
    for columns in (1, line, line + 1, 8 * line, 9 * line, 1024):
        with room:
            place, step = room.matrix(5, columns, itemsize)
            behind = room.take(1)
        assert step == columns <= line or (step >= columns and step % line == 0 and step // line % 2 == 1)
        size = -(-5 // GRAIN) * GRAIN * step * itemsize
        assert behind - place == -(-size // BYTES) * BYTES


@pytest.mark.parametrize("itemsize", [4, 8])
def test_columns_in_whole_blocks(itemsize):
    width = PANEL * BYTES // itemsize
    assert [whole(n, itemsize) for n in (0, 1, width, width + 1)] == [0, width, width, 2 * width]


@pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64)], ids=str)
@pytest.mark.parametrize("shape", [(3, 70, 32), (1,), (0, 0)])
def test_a_fresh_array(dtype, shape):
    array = fresh(shape, dtype)
    assert array.shape == shape
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    assert array.ctypes.data % BYTES == 0 or not array.size


def test_every_thread_has_its_own():
    found = []
    thread = threading.Thread(target=lambda: found.append(own_room("a")))
    thread.start()
    thread.join()
    assert found[0] is not own_room("a")
    assert own_room("a") is own_room("a")
    assert own_room("a") is not own_room("b")
