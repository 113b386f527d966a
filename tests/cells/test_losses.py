import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatelab.cells.losses import LinearParams, cross_entropy, linear, linear_backward, mean_squared_error, softmax
from gatelab.core.errors import InputError

T, B, K = 4, 3, 5
MASKS = st.lists(st.booleans(), min_size=T * B, max_size=T * B).map(lambda bits: np.array(bits).reshape(T, B))


@settings(max_examples=40, deadline=None)
@given(observed=MASKS, seed=st.integers(0, 99), under=st.sampled_from([np.nan, np.inf, -1e300]))
def test_mean_squared_error_is_torchs_over_what_is_observed(observed, seed, under):
    rng = np.random.default_rng(seed)
    prediction, target = rng.normal(size=(2, T, B, K))
    p = torch.tensor(prediction, requires_grad=True)
    keep = torch.from_numpy(observed)
    expected = torch.nn.functional.mse_loss(p[keep], torch.from_numpy(target)[keep]) if observed.any() else p.sum() * 0
    expected.backward()
    hidden = np.where(observed[..., None], prediction, under), np.where(observed[..., None], target, under)
    loss, gradient = mean_squared_error(*hidden, observed)
    np.testing.assert_allclose(loss, float(expected.detach()), rtol=1e-13)
    np.testing.assert_allclose(gradient, p.grad, rtol=1e-13)


@settings(max_examples=40, deadline=None)
@given(observed=MASKS, seed=st.integers(0, 99), scale=st.sampled_from([1.0, 1000.0]))
def test_cross_entropy_is_torchs_over_what_is_observed(observed, seed, scale):
    rng = np.random.default_rng(seed)
    logits, target = rng.normal(size=(T, B, K)) * scale, rng.integers(0, K, size=(T, B))
    tensor = torch.tensor(logits, requires_grad=True)
    labels = torch.from_numpy(np.where(observed, target, -100))
    summed = torch.nn.functional.cross_entropy(tensor.reshape(-1, K), labels.reshape(-1), reduction="sum")
    expected = summed / max(observed.sum(), 1)
    expected.backward()
    hidden = np.where(observed[..., None], logits, np.nan), np.where(observed, target, -100)
    loss, gradient = cross_entropy(*hidden, observed)
    np.testing.assert_allclose(loss, float(expected.detach()), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(gradient, tensor.grad, rtol=1e-12, atol=1e-15)


def test_float32_stays_float32():
    ones = np.ones((T, B, K), np.float32)
    assert mean_squared_error(ones, ones + 1.0)[1].dtype == np.float32
    assert cross_entropy(ones, np.zeros((T, B), int))[1].dtype == np.float32


def test_softmax_adds_up_to_one_whatever_comes():
    p = softmax(np.array([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(p, [[1, 0, 0], [1 / 3] * 3])


def test_linear_is_torchs():
    rng = np.random.default_rng(0)
    module = torch.nn.Linear(4, 2, dtype=torch.float64)
    params = LinearParams(module.weight.detach().numpy(), module.bias.detach().numpy())
    h, d = rng.normal(size=(T, B, 4)), rng.normal(size=(T, B, 2))
    tensor = torch.tensor(h, requires_grad=True)
    output = module(tensor)
    output.backward(torch.from_numpy(d))
    np.testing.assert_allclose(linear(params, h), output.detach(), rtol=1e-13)
    dh, dparams = linear_backward(params, h, d)
    np.testing.assert_allclose(dh, tensor.grad, rtol=1e-13)
    np.testing.assert_allclose(dparams.weight, module.weight.grad, rtol=1e-13)
    np.testing.assert_allclose(dparams.bias, module.bias.grad, rtol=1e-13)


def test_what_does_not_fit_is_said():
    ones = np.ones((T, B))
    with pytest.raises(InputError, match="shape of the target"):
        mean_squared_error(ones, np.ones((T, 1)))  # NumPy would spread it and train on nonsense
    with pytest.raises(InputError, match="mask does not fit"):
        mean_squared_error(ones, ones, np.ones((B, T), bool))
    with pytest.raises(InputError, match="mask does not fit"):
        mean_squared_error(ones, ones, np.ones((T, B)))
    with pytest.raises(InputError, match="not a class"):
        cross_entropy(np.ones((T, K)), np.full(T, K))
    with pytest.raises(InputError, match="not a class"):
        cross_entropy(np.ones((T, K)), np.full(T, 0.5))
    with pytest.raises(InputError, match="shape of the target"):
        cross_entropy(np.ones((T, K)), np.zeros((T, K), int))
