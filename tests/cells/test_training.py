"""A network trains with NumPy alone."""

import doctest

import numpy as np
import pytest

import gatelab.cells
from gatelab.cells import CELLS, backward, forward, initial_parameters, losses, optim, to_state_dict


def adding_problem(rng, steps, batch):
    """Two of the random numbers are marked: what is their sum? (Hochreiter & Schmidhuber 1997, experiment 4)

    Always answering 1 gives the variance of the sum of two uniform numbers, 1/6.
    """
    numbers, marks = rng.random((steps, batch)), np.zeros((steps, batch))
    half = steps // 2
    marks[rng.integers(0, half, batch), np.arange(batch)] = 1
    marks[rng.integers(half, steps, batch), np.arange(batch)] = 1
    return np.stack([numbers, marks], axis=2), (numbers * marks).sum(0)[:, None]  # (T, B, 2), (B, 1)


def run(cell, params, head, x):
    (output, _), cache = forward(cell, params, x)
    return losses.linear(head, output[-1]), output, cache


def train(name, steps=30, batch=32, updates=500, hidden_size=16):
    cell, rng = CELLS[name], np.random.default_rng(0)
    params = initial_parameters(cell, 2, hidden_size, rng, init="orthogonal+forget_bias")
    head = losses.LinearParams(weight=rng.normal(0, hidden_size**-0.5, (1, hidden_size)), bias=np.zeros(1))
    optimizer = optim.Adam(to_state_dict(params) | {f"head.{k}": v for k, v in head._asdict().items()}, 0.01)
    for _ in range(updates):
        x, y = adding_problem(rng, steps, batch)
        prediction, output, cache = run(cell, params, head, x)
        _, dprediction = losses.mean_squared_error(prediction, y)
        doutput = np.zeros_like(output)
        doutput[-1], dhead = losses.linear_backward(head, output[-1], dprediction)
        gradients = to_state_dict(backward(doutput, cache).params)
        gradients |= {f"head.{k}": v for k, v in dhead._asdict().items()}
        optim.clip_by_norm(gradients, 1.0)
        optimizer.step(gradients)
    x, y = adding_problem(np.random.default_rng(1), steps, 500)
    return losses.mean_squared_error(run(cell, params, head, x)[0], y)[0], losses.mean_squared_error(
        np.ones_like(y), y
    )[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_the_adding_problem_is_learnt(name):
    reached, chance = train(name)
    assert abs(chance - 1 / 6) < 0.02
    assert reached < chance / 10


def test_the_example_in_the_docstring_runs():
    result = doctest.testmod(gatelab.cells)
    assert result.attempted > 5
    assert result.failed == 0
