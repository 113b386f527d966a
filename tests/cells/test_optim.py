import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gatelab.cells import OPTIMIZERS
from gatelab.cells.optim import Momentum, clip_by_norm, clip_by_value, global_norm
from gatelab.core.errors import InputError, TrainingError

TWINS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.05),
    "adam": lambda p: torch.optim.Adam(p, lr=0.05),
}


def follow(optimizer, twin, params, tensors, steps=20):
    rng = np.random.default_rng(1)
    for _ in range(steps):
        gradients = {name: rng.normal(size=p.shape) for name, p in params.items()}
        for name, tensor in tensors.items():
            tensor.grad = torch.from_numpy(gradients[name].copy())
        optimizer.step(gradients)
        twin.step()
    for name, tensor in tensors.items():
        np.testing.assert_allclose(params[name], tensor.detach(), rtol=1e-12)


def pair():
    rng = np.random.default_rng(0)
    params = {"weight": rng.normal(size=(3, 4)), "bias": rng.normal(size=3)}
    return params, {name: torch.tensor(p, requires_grad=True) for name, p in params.items()}


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_twenty_steps_are_those_of_torch(name):
    params, tensors = pair()
    follow(OPTIMIZERS[name](params, learning_rate=0.05), TWINS[name](tensors.values()), params, tensors)


def test_nesterov_is_torchs():
    params, tensors = pair()
    twin = torch.optim.SGD(tensors.values(), lr=0.05, momentum=0.8, nesterov=True)
    follow(Momentum(params, 0.05, momentum=0.8, nesterov=True), twin, params, tensors)


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_float32_stays_float32_and_the_array_stays_the_same(name):
    array = np.ones(3, np.float32)
    optimizer = OPTIMIZERS[name]({"w": array}, 0.1)
    optimizer.step({"w": np.ones(3, np.float32)})
    assert optimizer.params["w"] is array
    assert array.dtype == np.float32
    assert (array < 1).all()


def test_other_names_are_refused():
    with pytest.raises(InputError, match="on one side only: b, w"):
        OPTIMIZERS["sgd"]({"w": np.ones(1)}).step({"b": np.ones(1)})


@given(st.floats(1e-3, 1e3), st.integers(0, 99))
def test_clipping_by_norm_is_torchs_and_keeps_the_direction(limit, seed):
    rng = np.random.default_rng(seed)
    gradients = {"a": rng.normal(size=(2, 3)), "b": rng.normal(size=4)}
    before = np.concatenate([g.ravel() for g in gradients.values()])
    norm = clip_by_norm(gradients, limit)
    after = np.concatenate([g.ravel() for g in gradients.values()])
    np.testing.assert_allclose(norm, np.linalg.norm(before))
    np.testing.assert_allclose(after, before * min(1, limit / norm), rtol=1e-12)
    assert global_norm(gradients) <= limit * (1 + 1e-12) or norm <= limit


def test_a_norm_beyond_float32_is_clipped_all_the_same():
    gradients = {"a": np.full(4, 1e30, np.float32)}
    clip_by_norm(gradients, 1.0)
    np.testing.assert_allclose(gradients["a"], 0.5, rtol=1e-6)


def test_a_gradient_that_is_not_finite_is_named():
    with pytest.raises(TrainingError, match="in b"):
        clip_by_norm({"a": np.ones(2), "b": np.array([np.nan])}, 1.0)


def test_clipping_by_value_cuts_each_entry():
    gradients = {"a": np.array([-3.0, 0.2, 9.0])}
    clip_by_value(gradients, 0.5)
    np.testing.assert_array_equal(gradients["a"], [-0.5, 0.2, 0.5])
