"""A new cell is a record of functions, a variant is a function from cell to cell: the loop, the check and the state
dicts take both as they are."""

import dataclasses
from typing import NamedTuple

import numpy as np

from gatelab.cells import CELLS, Cell, Quantity, forward, from_state_dict, gradcheck, initial_parameters, to_state_dict
from gatelab.cells.activations import sigmoid, sigmoid_slope


class MinGRUParams(NamedTuple):
    weight_ih: np.ndarray
    bias_ih: np.ndarray


class MinGRUState(NamedTuple):
    h: np.ndarray


class MinGRUGates(NamedTuple):
    z: np.ndarray
    n: np.ndarray
    pre: np.ndarray


def min_gru_step(params, x, state):
    pre = x @ params.weight_ih.T + params.bias_ih
    zz, n = np.split(pre, 2, axis=1)
    z = sigmoid(zz)
    return MinGRUState((1 - z) * n + z * state.h), MinGRUGates(z, n, pre)


def min_gru_step_backward(params, x, state, gates, dstate):
    z, n, _ = gates
    dpre = np.concatenate([dstate.h * (state.h - n) * sigmoid_slope(z), dstate.h * (1 - z)], axis=1)
    return dpre @ params.weight_ih, MinGRUState(dstate.h * z), MinGRUParams(dpre.T @ x, dpre.sum(0))


MIN_GRU = Cell(
    name="min_gru",
    title="minGRU",
    family="gru",
    gates=("z", "n"),
    Params=MinGRUParams,
    State=MinGRUState,
    Gates=MinGRUGates,
    step=min_gru_step,
    step_backward=min_gru_step_backward,
    quantities={name: Quantity(name, name) for name in ("z", "n", "h")},
    keeps="z",
)


def scaled_peephole(cell):
    """A variant with a parameter of its own: the state before the step is scaled unit by unit."""
    Params = NamedTuple("Params", [(name, np.ndarray) for name in (*cell.Params._fields, "scale")])

    def plain(params):
        return cell.Params(*params[:-1])

    def step(params, x, state):
        return cell.step(plain(params), x, state._replace(h=state.h * params.scale))

    def step_backward(params, x, state, gates, dstate):
        scaled = state._replace(h=state.h * params.scale)
        dx, dbefore, dparams = cell.step_backward(plain(params), x, scaled, gates, dstate)
        dscale = (dbefore.h * state.h).sum(0)
        return dx, dbefore._replace(h=dbefore.h * params.scale), Params(*dparams, dscale)

    return dataclasses.replace(
        cell,
        Params=Params,
        step=step,
        step_backward=step_backward,
        own_shapes=lambda input_size, hidden_size: {"scale": (hidden_size,)},
    )


def test_a_cell_without_recurrent_weights_runs_stacked_and_both_ways():
    errors = gradcheck.check_sequence(MIN_GRU, (5, 2), 2, 3, num_layers=2, bidirectional=True)
    assert max(errors.values()) <= gradcheck.TOLERANCE
    params = initial_parameters(MIN_GRU, 3, 4, np.random.default_rng(0), init="orthogonal+chrono")
    assert set(to_state_dict(params)) == {"weight_ih_l0", "bias_ih_l0"}
    again = from_state_dict(MIN_GRU, to_state_dict(params))
    np.testing.assert_array_equal(again["l0"].bias_ih, params["l0"].bias_ih)


def test_a_variant_of_any_cell_passes_the_check_and_combines():
    for name in CELLS:
        variant = scaled_peephole(CELLS[name])
        errors = gradcheck.check_step(variant)
        assert "dscale" in errors
        assert max(errors.values()) <= gradcheck.TOLERANCE


def test_a_variant_that_does_nothing_changes_nothing():
    variant, x = scaled_peephole(CELLS["lstm"]), np.random.default_rng(1).normal(size=(5, 2, 3))
    plain = initial_parameters(CELLS["lstm"], 3, 4, np.random.default_rng(0))
    params = {"l0": variant.Params(*plain["l0"], np.ones(4))}
    np.testing.assert_array_equal(forward(variant, params, x)[0].output, forward(CELLS["lstm"], plain, x)[0].output)
