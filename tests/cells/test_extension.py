"""A new cell is a record of functions, a variant is a function from cell to cell: the loop, the check and the state
dicts take both as they are."""

import dataclasses
from typing import NamedTuple

import numpy as np

from gatelab.cells import CELLS, Cell, Quantity, forward, from_state_dict, gradcheck, initial_parameters, to_state_dict
from gatelab.cells.activations import sigmoid, sigmoid_slope


class LeakyParams(NamedTuple):
    weight_ih: np.ndarray
    bias_ih: np.ndarray
    leak: np.ndarray


class LeakyState(NamedTuple):
    h: np.ndarray


class LeakyGates(NamedTuple):
    n: np.ndarray
    pre: np.ndarray


def leaky_step(params, x, state):
    n, keep = x @ params.weight_ih.T + params.bias_ih, sigmoid(params.leak)
    return LeakyState(keep * state.h + (1 - keep) * n), LeakyGates(n, n)


def leaky_step_backward(params, x, state, gates, dstate):
    keep = sigmoid(params.leak)
    dn = dstate.h * (1 - keep)
    dleak = (dstate.h * (state.h - gates.n)).sum(0) * sigmoid_slope(keep)
    return dn @ params.weight_ih, LeakyState(dstate.h * keep), LeakyParams(dn.T @ x, dn.sum(0), dleak)


LEAKY = Cell(
    name="leaky",
    title="leaky integrator",
    family="leaky",
    gates=("n",),
    Params=LeakyParams,
    State=LeakyState,
    Gates=LeakyGates,
    step=leaky_step,
    step_backward=leaky_step_backward,
    quantities={name: Quantity(name, name) for name in ("n", "h")},
    own_shapes=lambda input_size, hidden_size: {"leak": (hidden_size,)},
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


def test_a_cell_with_parameters_of_its_own_alone_runs_stacked_and_both_ways():
    errors = gradcheck.check_sequence(LEAKY, (5, 2), 2, 3, num_layers=2, bidirectional=True)
    assert "dleak_l1_reverse" in errors
    assert max(errors.values()) <= gradcheck.TOLERANCE
    params = initial_parameters(LEAKY, 3, 4, np.random.default_rng(0), init="orthogonal+chrono")
    assert set(to_state_dict(params)) == {"weight_ih_l0", "bias_ih_l0", "leak_l0"}
    again = from_state_dict(LEAKY, to_state_dict(params))
    np.testing.assert_array_equal(again["l0"].leak, params["l0"].leak)


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
