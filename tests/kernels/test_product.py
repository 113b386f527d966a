"""The product of a step beside NumPy's."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import njit

from gatelab.kernels import product as module
from gatelab.kernels.room import whole
from gatelab.kernels.simd import BYTES, GRAIN, PANEL, ROWS, pointer, shifted


@njit(error_model="numpy")
def _product(a, at, step, packed, K, c, at_c, step_c, rows, columns, add):
    x, y = shifted(pointer(a), at), shifted(pointer(c), at_c)
    module_product(x, step, pointer(packed), K, y, step_c, rows, columns, add)


module_product = module.product


def product(a, at, step, weight, rows, add, start):
    """``start (+)= a @ weight`` for rows of a that begin at ``at``, ``step`` apart; what surrounds the result, too."""
    packed = module.packed(weight)
    width = packed.shape[0] * packed.shape[2]
    room = np.full((rows + 2, width), start, weight.dtype)
    _product(a, at, step, packed, len(weight), room, width, width, rows, weight.shape[1], add)
    return room


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([np.float32, np.float64]),
    st.integers(1, 30),
    st.integers(1, 70),
    st.integers(1, 100),
    st.integers(0, 9),
    st.booleans(),
    st.integers(0, 99),
)
@example(np.float32, 16, 70, 64, 0, True, 0)  # four rows more than a block
@example(np.float64, 13, 1, 1, 3, False, 0)
def test_a_product_is_numpys(dtype, rows, K, N, gap, add, seed):
    rng = np.random.default_rng(seed)
    step, at = K + gap, gap
    a = rng.normal(size=at + rows * step).astype(dtype)
    weight, start = rng.normal(size=(K, N)).astype(dtype), dtype(rng.normal())
    room = product(a, at, step, weight, rows, add, start)
    seen = a[at:].reshape(rows, step)[:, :K].astype(np.float64)  # (rows, K)
    truth = seen @ weight.astype(np.float64) + (start if add else 0)
    bound = (K + 2) * np.finfo(dtype).eps * (np.abs(seen) @ np.abs(weight) + abs(start))  # of any order of a sum
    assert (np.abs(room[1:-1, :N] - truth) <= bound).all()
    assert (room[1:-1, N:] == start).all()  # columns beyond
    assert (room[[0, -1]] == start).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_strides_can_be_packed(dtype):
    weight = np.arange(60, dtype=dtype).reshape(10, 6)
    plain = module.packed(weight[::2, 1:5].copy())
    np.testing.assert_array_equal(module.packed(weight[::2, 1:5]), plain)
    np.testing.assert_array_equal(module.packed(np.asfortranarray(weight[::2, 1:5])), plain)
    assert (plain[0, :, :4] == weight[::2, 1:5]).all()
    assert not plain[0, :, 4:].any()


@njit(error_model="numpy")
def _pack(weight, turned, K, N, blocks):
    if turned:
        module.pack_turned(pointer(weight), N, K, pointer(blocks))
    else:
        module.pack(pointer(weight), K, N, pointer(blocks))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([np.float32, np.float64]), st.integers(1, 70), st.integers(1, 70), st.booleans())
def test_weights_are_packed_block_by_block(dtype, K, N, turned):
    """Into memory that held something else, whole squares and edges."""
    weight = np.random.default_rng(K * N).normal(size=(K, N)).astype(dtype)
    width = PANEL * BYTES // weight.itemsize
    blocks = np.full((-(-N // width) + 1, K, width), np.nan, dtype)
    _pack(np.ascontiguousarray(weight.T) if turned else weight, turned, K, N, blocks)
    packed, behind = blocks[:-1], blocks[-1]  # (blocks, K, width), (K, width)
    whole = packed.transpose(1, 0, 2).reshape(K, -1)  # (K, blocks · width)
    assert (whole[:, :N] == weight).all()
    assert not whole[:, N:].any()
    assert np.isnan(behind).all()
    assert np.array_equal(module.packed(weight), packed)


def test_a_row_does_not_depend_on_the_rows_after_a_cut():
    """The items may be cut among threads at multiples of the grain without a bit changing."""
    rng = np.random.default_rng(0)
    K, a = 33, rng.normal(size=(40, 33)).astype(np.float32)
    weight = rng.normal(size=(K, 40)).astype(np.float32)
    for rows in range(1, 41):
        whole = product(a, 0, K, weight, rows, False, np.float32(0))[1:-1]
        for cut in range(GRAIN, rows, GRAIN):
            parts = [
                product(a[i:j], 0, K, weight, j - i, False, np.float32(0))[1:-1] for i, j in ((0, cut), (cut, rows))
            ]
            assert np.array_equal(np.concatenate(parts), whole), (rows, cut)


@njit(error_model="numpy")
def _outer(d, at, step, rows, x, y, panels, sums, room):
    n = len(x)
    for index in range(n):
        module.pack_row(shifted(pointer(x), index * x.shape[1]), x.shape[1], pointer(panels[0]), index, n)
        module.pack_row(shifted(pointer(y), index * y.shape[1]), y.shape[1], pointer(panels[1]), index, n)
    left = module.Right(pointer(panels[0]), x.shape[1], shifted(pointer(sums[0]), 1), sums[0].shape[1])
    right = module.Right(pointer(panels[1]), y.shape[1], shifted(pointer(sums[1]), 1), sums[1].shape[1])
    module.add_outer(shifted(pointer(d), at), step, rows, n, left, right, pointer(room))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([np.float32, np.float64]),
    st.integers(1, 600),
    st.integers(1, 60),
    st.tuples(st.integers(1, 70), st.integers(0, 70)),
    st.integers(0, 9),
    st.integers(0, 99),
)
@example(np.float32, module.CHUNK, 16, (32, 32), 0, 0)
@example(np.float32, module.CHUNK + 1, 31, (1, 33), 3, 0)
def test_a_sum_over_rows_is_numpys(dtype, n, rows, columns, gap, seed):
    rng = np.random.default_rng(seed)
    step, at = rows + gap, gap
    d = rng.normal(size=at + n * step).astype(dtype)
    right = [rng.normal(size=(n, count)).astype(dtype) for count in columns]
    before = [rng.normal(size=(rows, count + 3)).astype(dtype) for count in columns]
    sums = tuple(array.copy() for array in before)
    panels = tuple(np.full((n, whole(count, d.itemsize)), np.nan, dtype) for count in columns)
    _outer(d, at, step, rows, *right, panels, sums, np.empty(ROWS[0] * module.CHUNK + BYTES, dtype))
    seen = d[at:].reshape(n, step)[:, :rows].astype(np.float64)  # (n, rows)
    for x, start, c in zip(right, before, sums, strict=True):
        truth = start[:, 1:-2] + seen.T @ x.astype(np.float64)
        bound = (n + 2) * np.finfo(dtype).eps * (np.abs(seen).T @ np.abs(x) + np.abs(start[:, 1:-2]))  # of any order
        assert (np.abs(c[:, 1:-2] - truth) <= bound).all()
        assert (c[:, [0, -2, -1]] == start[:, [0, -2, -1]]).all()  # columns around
