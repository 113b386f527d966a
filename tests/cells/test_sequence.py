import numpy as np
import pytest
import torch

from gatelab.cells import CELLS, backward, forward, initial_parameters, to_state_dict, truncated
from gatelab.cells.sequence import observed_from_lengths
from gatelab.core.errors import InputError

LSTM = CELLS["lstm"]
T, B, I, H = 5, 2, 3, 4  # noqa: E741


@pytest.fixture
def params():
    return initial_parameters(LSTM, I, H, np.random.default_rng(0))


@pytest.fixture
def x():
    return np.random.default_rng(1).normal(size=(T, B, I))


def test_an_item_without_steps_keeps_its_state_and_shows_nothing(params, x):
    state = LSTM.State(*np.random.default_rng(2).normal(size=(2, 1, B, H)))
    (output, final), cache = forward(LSTM, params, x, state, lengths=np.array([0, T]))
    assert not output[:, 0].any()
    np.testing.assert_array_equal(final.c[:, 0], state.c[:, 0])
    gradients = backward(np.ones_like(output), cache, state)
    assert not gradients.x[:, 0].any()
    np.testing.assert_array_equal(gradients.state.c[:, 0], state.c[:, 0])


def test_reversal_starts_at_each_items_own_last_step(x):
    both = initial_parameters(LSTM, I, H, np.random.default_rng(0), bidirectional=True)
    lengths = np.array([2, 5])
    (output, _), _ = forward(LSTM, both, x, lengths=lengths)
    for item, length in enumerate(lengths):
        (alone, _), _ = forward(LSTM, {"l0": both["l0_reverse"]}, x[:length, [item]][::-1])
        np.testing.assert_allclose(output[:length, item, H:], alone[::-1, 0], atol=1e-15)


@pytest.mark.parametrize("window", [2, 3])
def test_truncated_windows_are_those_of_a_detached_state_in_torch(params, x, window):
    module = torch.nn.LSTM(I, H, dtype=torch.float64)
    module.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in to_state_dict(params).items()})
    summed = dict.fromkeys(to_state_dict(params), 0.0)
    for w in truncated(LSTM, params, x, lambda output, steps: (0.5 * (output**2).sum(), output), window):
        for key, gradient in to_state_dict(w.gradients.params).items():
            summed[key] = summed[key] + gradient
    state = None
    for start in range(0, T, window):
        output, state = module(torch.from_numpy(x[start : start + window]), state)
        (0.5 * (output**2).sum()).backward()
        state = tuple(s.detach() for s in state)
    for key, parameter in module.named_parameters():
        np.testing.assert_allclose(summed[key], parameter.grad, rtol=1e-12, atol=1e-13)


def test_parameters_may_change_between_windows(params, x):
    seen = []
    for window in truncated(LSTM, params, x, lambda output, steps: ((output**2).sum(), 2 * output), 1):
        seen.append(window.loss)
        for array in to_state_dict(params).values():
            array *= 0
    assert seen[0] > 0
    assert not np.any(window.gradients.x)  # with every weight at zero nothing reaches the input


def test_the_gradient_of_a_state_counts_every_later_use(params, x):
    """∂loss/∂h_k by restarting the sequence at k from a state that is moved."""
    (output, _), cache = forward(LSTM, params, x)
    steps = backward(2 * output, cache).steps["l0"]
    record = cache.scans["l0"].states
    k, e = 2, 1e-6
    for field in ("h", "c"):
        for index in [(0, 1), (1, 3)]:

            def loss(shift, field=field, index=index):
                state = record[k + 1]._asdict()
                state[field] = state[field].copy()
                state[field][index] += shift
                moved = LSTM.State(*(value[None] for value in state.values()))
                (rest, _), _ = forward(LSTM, params, x[k + 1 :], moved)
                return (moved.h**2).sum() + (rest**2).sum()

            slope = (loss(e) - loss(-e)) / (2 * e)
            np.testing.assert_allclose(getattr(steps, field)[(k, *index)], slope, rtol=1e-7, atol=1e-9)


BAD = {
    "two axes": ({"x": np.zeros((T, I))}, "the input does not fit"),
    "no steps": ({"x": np.zeros((0, B, I))}, "the input does not fit"),
    "other width": ({"x": np.zeros((T, B, I + 1))}, "the input does not fit"),
    "too long": ({"lengths": np.array([1, T + 1])}, "lengths do not fit"),
    "negative": ({"lengths": np.array([1, -1])}, "lengths do not fit"),
    "fractions": ({"lengths": np.array([1.5, 2.0])}, "lengths do not fit"),
    "too many lengths": ({"lengths": np.array([1, 2, 3])}, "mask does not fit"),
    "mask of numbers": ({"observed": np.ones((T, B))}, "mask does not fit"),
    "mask of another shape": ({"observed": np.ones((B, T), bool)}, "mask does not fit"),
    "both": ({"lengths": np.array([1, 2]), "observed": np.ones((T, B), bool)}, "same thing twice"),
    "state": ({"state": LSTM.zero_state(2, B, H)}, "initial state h"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_what_does_not_fit_is_said(params, x, change, message):
    arguments = {"x": x} | change
    with pytest.raises(InputError, match=message):
        forward(LSTM, params, **arguments)


def test_layers_that_make_no_stack_are_refused(params, x):
    with pytest.raises(InputError, match="do not make a stack"):
        forward(LSTM, {}, x)
    with pytest.raises(InputError, match="do not make a stack"):
        forward(LSTM, params | {"l7": params["l0"]}, x)


def test_gradients_of_another_shape_are_refused(params, x):
    _, cache = forward(LSTM, params, x)
    with pytest.raises(InputError, match="∂loss/∂output"):
        backward(np.zeros((T, B, H + 1)), cache)
    with pytest.raises(InputError, match="∂loss/∂h"):
        backward(np.zeros((T, B, H)), cache, LSTM.zero_state(B, H))


def test_windows_that_cannot_be_are_refused(params, x):
    both = initial_parameters(LSTM, I, H, np.random.default_rng(0), bidirectional=True)
    with pytest.raises(InputError, match="bidirectional"):
        next(truncated(LSTM, both, x, lambda output, steps: (0.0, output), 2))
    with pytest.raises(InputError, match="0 steps"):
        next(truncated(LSTM, params, x, lambda output, steps: (0.0, output), 0))


def test_lengths_become_a_mask():
    expected = np.array([[True, True], [False, True], [False, False]])
    np.testing.assert_array_equal(observed_from_lengths(np.array([1, 2]), 3), expected)
