import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from gatelab.cells.activations import sigmoid, sigmoid_slope, tanh_slope


@given(st.floats(-1e6, 1e6))
def test_sigmoid_is_exact_in_both_tails(z):
    np.testing.assert_allclose(sigmoid(np.array([z])), scipy.special.expit(np.array([z])), rtol=1e-14, atol=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_at_the_ends(dtype):
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        ends = sigmoid(np.array([-np.inf, -1000, -50, 0, 1000, np.inf], dtype))
    assert ends.dtype == dtype
    np.testing.assert_allclose(ends, [0, 0, np.exp(-50.0), 0.5, 1, 1], rtol=1e-6)


def test_sigmoid_hands_nan_on():
    assert np.isnan(sigmoid(np.array([np.nan]))).all()


def test_slopes_are_those_of_central_differences():
    z, e = np.linspace(-4, 4, 33), 1e-6
    np.testing.assert_allclose(sigmoid_slope(sigmoid(z)), (sigmoid(z + e) - sigmoid(z - e)) / (2 * e), atol=1e-9)
    np.testing.assert_allclose(tanh_slope(np.tanh(z)), (np.tanh(z + e) - np.tanh(z - e)) / (2 * e), atol=1e-9)
