"""Each step against the equations at the head of its file, unit by unit, with no matrix and no shared code."""

from math import exp, tanh

import numpy as np
import pytest

from gatelab.cells import CELLS, initial_parameters

I, H = 3, 4  # noqa: E741


def sigma(z):
    return 1 / (1 + exp(-z))


def of(params, block, k, x, h):
    """x W + h W + b for unit k of a block."""
    return from_input(params, block, k, x) + from_state(params, block, k, h)


def from_input(params, block, k, x):
    row = block * H + k
    return sum(params.weight_ih[row, j] * x[j] for j in range(I)) + params.bias_ih[row]


def from_state(params, block, k, h):
    row = block * H + k
    return sum(params.weight_hh[row, j] * h[j] for j in range(H)) + params.bias_hh[row]


def rnn(p, x, h, c):
    return [tanh(of(p, 0, k, x, h)) for k in range(H)], c


def rnn_relu(p, x, h, c):
    return [max(of(p, 0, k, x, h), 0.0) for k in range(H)], c


def lstm(p, x, h, c):
    i, f, o = ([sigma(of(p, block, k, x, h)) for k in range(H)] for block in (0, 1, 3))
    g = [tanh(of(p, 2, k, x, h)) for k in range(H)]
    c = [f[k] * c[k] + i[k] * g[k] for k in range(H)]
    return [o[k] * tanh(c[k]) for k in range(H)], c


def lstm_coupled(p, x, h, c):
    f, o = ([sigma(of(p, block, k, x, h)) for k in range(H)] for block in (0, 2))
    g = [tanh(of(p, 1, k, x, h)) for k in range(H)]
    c = [f[k] * c[k] + (1 - f[k]) * g[k] for k in range(H)]
    return [o[k] * tanh(c[k]) for k in range(H)], c


def gru(p, x, h, c):
    r, z = ([sigma(of(p, block, k, x, h)) for k in range(H)] for block in (0, 1))
    n = [tanh(from_input(p, 2, k, x) + r[k] * from_state(p, 2, k, h)) for k in range(H)]
    return [(1 - z[k]) * n[k] + z[k] * h[k] for k in range(H)], c


def gru_reset_before(p, x, h, c):
    r, z = ([sigma(of(p, block, k, x, h)) for k in range(H)] for block in (0, 1))
    rh = [r[k] * h[k] for k in range(H)]
    n = [tanh(of(p, 2, k, x, rh)) for k in range(H)]
    return [(1 - z[k]) * n[k] + z[k] * h[k] for k in range(H)], c


def min_gru(p, x, h, c):
    z, n = (sigma(from_input(p, 0, k, x)) for k in range(H)), (from_input(p, 1, k, x) for k in range(H))
    return [(1 - zk) * nk + zk * hk for zk, nk, hk in zip(z, n, h, strict=True)], c


def min_lstm(p, x, h, c):
    i, f = ([sigma(from_input(p, block, k, x)) for k in range(H)] for block in (0, 1))
    g = [from_input(p, 2, k, x) for k in range(H)]
    return [(f[k] * h[k] + i[k] * g[k]) / (f[k] + i[k]) for k in range(H)], c


EQUATIONS = [rnn, rnn_relu, lstm, lstm_coupled, gru, gru_reset_before, min_gru, min_lstm]


def test_every_cell_stands_here():
    assert [equations.__name__ for equations in EQUATIONS] == list(CELLS)


@pytest.mark.parametrize("equations", EQUATIONS, ids=lambda f: f.__name__)
def test_a_step_is_its_equations(equations):
    cell, rng = CELLS[equations.__name__], np.random.default_rng(0)
    params = cell.Params(*(2 * array for array in initial_parameters(cell, I, H, rng)["l0"]))
    x = rng.normal(size=(2, I))  # (B, I)
    state = cell.State(*(rng.normal(size=(2, H)) for _ in cell.State._fields))  # (B, H) each
    after, _ = cell.step(params, x, state)
    for item in range(2):
        h, c = equations(params, x[item], state.h[item], getattr(state, "c", state.h)[item])
        np.testing.assert_allclose(after.h[item], h, rtol=1e-13)
        if "c" in cell.State._fields:
            np.testing.assert_allclose(after.c[item], c, rtol=1e-13)


def test_the_reset_placements_are_two_functions():
    rng = np.random.default_rng(0)
    params, x = initial_parameters(CELLS["gru"], I, H, rng)["l0"], rng.normal(size=(2, I))
    state = CELLS["gru"].State(rng.normal(size=(2, H)))
    after, before = (CELLS[name].step(params, x, state)[0].h for name in ("gru", "gru_reset_before"))
    assert np.abs(after - before).max() > 1e-3


def test_the_coupled_lstm_is_the_lstm_whose_input_gate_is_what_the_forget_gate_leaves():
    """σ(−z) = 1 − σ(z): negated rows of f make an input gate of 1 − f."""
    rng = np.random.default_rng(0)
    coupled = initial_parameters(CELLS["lstm_coupled"], I, H, rng)["l0"]
    whole = CELLS["lstm"].Params(*(np.concatenate([-array[:H], array]) for array in coupled))
    x, state = rng.normal(size=(2, I)), CELLS["lstm"].State(rng.normal(size=(2, H)), rng.normal(size=(2, H)))
    after, expected = CELLS["lstm_coupled"].step(coupled, x, state)[0], CELLS["lstm"].step(whole, x, state)[0]
    np.testing.assert_allclose(after, expected, rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_two_closed_gates_of_the_minimal_lstm_still_share(dtype):
    cell = CELLS["min_lstm"]
    bias = np.repeat(np.array([-2000, -2000, 3], dtype), H)  # both gates are 0 to the last digit
    params = cell.Params(weight_ih=np.zeros((3 * H, I), dtype), bias_ih=bias)
    state = cell.State(np.full((1, H), 5, dtype))
    x, after = np.zeros((1, I), dtype), cell.step(params, np.zeros((1, I), dtype), state)
    np.testing.assert_array_equal(after[0].h, 4)  # half of 5, half of 3
    assert np.isfinite(cell.step_backward(params, x, state, after[1], after[0])[2].bias_ih).all()
