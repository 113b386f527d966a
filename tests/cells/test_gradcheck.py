"""The check itself is checked: it must find the mistakes that people make, and say where they are."""

import dataclasses

import numpy as np
import pytest

from gatelab.cells import CELLS, gradcheck
from gatelab.cells.lstm import LSTM, LSTMState, lstm_step_backward
from gatelab.core.errors import InputError


def wrong(errors):
    return {name for name, error in errors.items() if error > gradcheck.TOLERANCE}


def with_mistake(alter):
    """The LSTM, whose backward step sees altered gates or gradients."""

    def step_backward(params, x, state, gates, dstate):
        gates, dstate = alter(gates, dstate)
        return lstm_step_backward(params, x, state, gates, dstate)

    return dataclasses.replace(LSTM, step_backward=step_backward)


def test_a_slope_taken_of_the_wrong_value_is_found_in_its_gate():
    found = wrong(gradcheck.check_step(with_mistake(lambda g, d: (g._replace(g=g.g * (1 - 1e-4)), d))))
    assert {"dweight_ih[g]", "dweight_ih[i]"} <= found  # the candidate's slope, and what the input gate multiplies
    assert not {"dweight_ih[f]", "dweight_ih[o]", "dc"} & found


def test_a_forgotten_path_through_the_cell_is_found():
    forgotten = with_mistake(lambda g, d: (g, LSTMState(h=d.h, c=np.zeros_like(d.c))))
    found = wrong(gradcheck.check_step(forgotten))
    assert {"dc", "dweight_ih[f]"} <= found
    assert "dweight_ih[o]" not in found  # the output gate does not see the cell's own gradient


def test_a_forgotten_sum_over_the_batch_is_found():
    def step_backward(*given):
        dx, dbefore, dparams = lstm_step_backward(*given)
        return dx, dbefore, dparams._replace(bias_hh=dparams.bias_hh / len(dx))

    found = wrong(gradcheck.check_sequence(dataclasses.replace(LSTM, step_backward=step_backward), hidden_size=2))
    assert found == {f"dbias_hh_l0[{gate}]" for gate in "ifgo"}


def test_an_array_is_put_back():
    a = np.array([1.0, 2.0])
    slope = gradcheck.numerical_gradient(lambda: float((a**3).sum()), a)
    np.testing.assert_allclose(slope, [3, 12], rtol=1e-9)
    np.testing.assert_array_equal(a, [1, 2])


def test_float32_is_refused():
    with pytest.raises(InputError, match="needs float64"):
        gradcheck.numerical_gradient(lambda: 0.0, np.zeros(1, np.float32))


def test_a_gradient_of_another_shape_is_named():
    with pytest.raises(InputError, match="gradient of w"):
        gradcheck.check({"w": np.zeros(2)}, {"w": np.zeros(3)}, lambda: 0.0)


def test_errors_are_relative_to_the_largest_entry():
    assert gradcheck.relative_error(np.zeros(2), np.zeros(2)) == 0
    assert gradcheck.relative_error(np.array([1.0, 100.0]), np.array([2.0, 100.0])) == 0.01


def test_all_cells_are_far_inside_the_tolerance():
    for cell in CELLS.values():
        assert max(gradcheck.check_step(cell, seed=1).values()) < gradcheck.TOLERANCE / 10
