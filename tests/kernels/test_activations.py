"""Sigmoid and tanh over everything that float32 can hold."""

import numpy as np
import pytest
from numba import njit

from gatelab.kernels import activations
from gatelab.kernels.simd import lanes, load, pointer, store

TINY = np.finfo(np.float32).tiny  # 2^−126, the least normal number
BOUND = 3e-7  # what the module promises


@njit(error_model="numpy")
def _sigmoid(x, out, n):
    for j in range(0, n, lanes(pointer(x))):
        store(pointer(out), j, n - j, activations.sigmoid(load(pointer(x), j, n - j)))


@njit(error_model="numpy")
def _tanh(x, out, n):
    for j in range(0, n, lanes(pointer(x))):
        store(pointer(out), j, n - j, activations.tanh(load(pointer(x), j, n - j)))


def sigmoid(x):
    out = np.empty_like(x)
    _sigmoid(x, out, len(x))
    return out


def tanh(x):
    out = np.empty_like(x)
    _tanh(x, out, len(x))
    return out


@pytest.fixture(scope="module")
def everything():
    """Finite float32 in order: of both signs and every exponent, subnormals too, 4096 numbers and both ends."""
    exponents = np.arange(255, dtype=np.uint32)[:, None] << 23  # 255 are ∞ and NaN
    inner = np.random.default_rng(0).integers(1, 2**23 - 1, (255, 4096), dtype=np.uint32)
    ends = np.broadcast_to(np.array([0, 1, 2**23 - 1], np.uint32), (255, 3))
    positive = np.sort((exponents | np.concatenate([inner, ends], 1)).ravel()).view(np.float32)
    return np.concatenate([-positive[::-1], positive])


def exact_sigmoid(x):
    x = x.astype(np.float64)
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_relative_error_wherever_the_result_is_normal(everything, name):
    mine = {"sigmoid": sigmoid, "tanh": tanh}[name](everything)
    truth = exact_sigmoid(everything) if name == "sigmoid" else np.tanh(everything.astype(np.float64))
    normal = np.abs(truth) >= TINY
    error = np.abs(mine[normal] - truth[normal]) / np.abs(truth[normal])
    assert normal.mean() > 0.7  # σ is subnormal or 0 below −87.3: a quarter of all floats
    assert error.max() < BOUND


def test_sigmoid_shuts_where_it_would_be_subnormal(everything):
    """A gate that lets through 10⁻³⁸ of an input of 10³⁶ is not shut."""
    mine, truth = sigmoid(everything), exact_sigmoid(everything)
    below = truth < TINY
    assert np.abs(mine[below] - truth[below]).max() <= TINY * 1.00001
    assert (mine[truth < 0.999 * TINY] == 0).all()
    assert mine[mine > 0].min() >= TINY * 0.999


def test_tanh_of_what_is_below_normal_is_exact(everything):
    small = everything[np.abs(everything) < TINY]
    assert len(small) > 8000
    np.testing.assert_array_equal(tanh(small), small)


def test_neither_falls_by_more_than_its_error(everything):
    for y in (sigmoid(everything).astype(np.float64), tanh(everything).astype(np.float64)):
        assert (np.diff(y) >= -2 * BOUND * np.abs(y[1:])).all()


def test_values_that_have_to_be_exact():
    x = np.array([0, -0.0, np.inf, -np.inf, np.nan, 3e38, -3e38], np.float32)
    np.testing.assert_array_equal(tanh(x), np.array([0, 0, 1, -1, np.nan, 1, -1], np.float32))
    np.testing.assert_array_equal(np.signbit(tanh(x[:2])), [False, True])
    np.testing.assert_allclose(sigmoid(x), np.array([0.5, 0.5, 1, 0, np.nan, 1, 0]), rtol=0, atol=1.0001 * TINY)


def test_neither_leaves_its_bounds(everything):
    assert np.abs(tanh(everything)).max() == 1
    y = sigmoid(everything)
    assert y.min() == 0
    assert y.max() == 1


def test_double_precision():
    rng = np.random.default_rng(1)
    magnitudes = 10.0 ** rng.uniform(-300, 2.8, 20_000)
    x = np.concatenate([magnitudes, -magnitudes, [0.0, np.inf, -np.inf, np.nan, 1e308, -1e308]])
    np.testing.assert_allclose(tanh(x), np.tanh(x), rtol=1e-15)
    np.testing.assert_allclose(sigmoid(x), exact_sigmoid(x), rtol=1e-15, atol=np.finfo(np.float64).tiny)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_rest_that_fills_no_vector(dtype):
    for n in range(36):
        x = np.linspace(-3, 3, 40).astype(dtype)
        for function, truth in ((_sigmoid, exact_sigmoid(x)), (_tanh, np.tanh(x))):
            out = np.full(40, 7, dtype)
            function(x, out, n)
            np.testing.assert_allclose(out[:n], truth[:n], rtol=BOUND)
            assert (out[n:] == 7).all()
