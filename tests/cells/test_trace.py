import numpy as np
import pytest
import torch

from gatelab.cells import CELLS, backward, forward, initial_parameters, sigmoid, to_state_dict, trace_of
from gatelab.core.errors import InputError

T, B, I, H = 7, 3, 2, 4  # noqa: E741
LENGTHS = np.array([7, 3, 5])


def traced(name, **size):
    rng = np.random.default_rng(0)
    params = initial_parameters(CELLS[name], I, H, rng, **size)
    (output, _), cache = forward(CELLS[name], params, rng.normal(size=(T, B, I)), lengths=LENGTHS)
    return trace_of(cache, backward(output, cache)), params, output


def test_pre_activations_are_what_the_gates_squash():
    trace, _, _ = traced("lstm", num_layers=2, bidirectional=True)
    for layer in trace.layers.values():
        for gate in "ifo":
            np.testing.assert_array_equal(layer[gate], sigmoid(layer[f"z{gate}"]))
        np.testing.assert_array_equal(layer["g"], np.tanh(layer["zg"]))
        np.testing.assert_array_equal(layer["h"], layer["o"] * layer["tanh_c"])


@pytest.mark.parametrize("name", ["gru", "gru_reset_before"])
def test_a_grus_gates_explain_its_states(name):
    trace, params, _ = traced(name)
    a = trace["l0"]
    before = np.concatenate([np.zeros((1, B, H)), a["h"][:-1]])  # (T, B, H)
    np.testing.assert_allclose(a["h"], (1 - a["z"]) * a["n"] + a["z"] * before, atol=1e-15)
    weight, bias = params["l0"].weight_hh[2 * H :], params["l0"].bias_hh[2 * H :]
    if name == "gru":
        expected = before @ weight.T + bias  # (T, B, H)
        np.testing.assert_allclose(a["hn"][trace.observed], expected[trace.observed], atol=1e-15)
    else:
        np.testing.assert_allclose(a["rh"], a["r"] * before, atol=1e-15)


def test_time_runs_as_in_the_data_in_both_directions():
    trace, _, output = traced("rnn", bidirectional=True)
    np.testing.assert_array_equal(np.nan_to_num(trace["l0_reverse"]["h"]), output[:, :, H:])


def test_a_backward_readers_first_step_is_touched_by_its_own_output_alone():
    rng = np.random.default_rng(0)
    params = initial_parameters(CELLS["gru"], I, H, rng, bidirectional=True)
    (output, _), cache = forward(CELLS["gru"], params, rng.normal(size=(T, B, I)))
    doutput = np.zeros_like(output)  # (T, B, 2H)
    doutput[-1] = 1.0
    trace = trace_of(cache, backward(doutput, cache))
    touched = {layer: np.flatnonzero(trace.gradient_norm(layer).any(axis=1)) for layer in trace.layers}
    np.testing.assert_array_equal(touched["l0"], np.arange(T))  # it came to the last step through all the others
    np.testing.assert_array_equal(touched["l0_reverse"], [T - 1])  # it began there


def test_gradient_norms_are_those_of_torch():
    trace, params, _ = traced("gru")
    rng = np.random.default_rng(0)
    initial_parameters(CELLS["gru"], I, H, rng)
    x = torch.from_numpy(rng.normal(size=(T, B, I)))
    cell = torch.nn.GRUCell(I, H, dtype=torch.float64)
    cell.load_state_dict({k.removesuffix("_l0"): torch.from_numpy(v) for k, v in to_state_dict(params).items()})
    norms = np.full((T, B), np.nan)
    for item, length in enumerate(LENGTHS):
        h, states = torch.zeros(H, dtype=torch.float64), []
        for t in range(length):
            h = cell(x[t, item], h)
            h.retain_grad()
            states.append(h)
        (0.5 * sum((h**2).sum() for h in states)).backward()
        norms[:length, item] = [float(h.grad.norm()) for h in states]
    np.testing.assert_allclose(trace.gradient_norm("l0", "h"), norms, rtol=1e-12)


def test_a_trace_without_a_backward_pass_has_no_gradients():
    params = initial_parameters(CELLS["gru"], I, H, np.random.default_rng(0))
    _, cache = forward(CELLS["gru"], params, np.zeros((T, B, I)))
    trace = trace_of(cache)
    assert "dh" not in trace["l0"]
    with pytest.raises(InputError, match="no gradient of 'h'"):
        trace.gradient_norm()
    with pytest.raises(InputError, match="no layer 'l1'"):
        trace["l1"]
    with pytest.raises(InputError, match="has no 'c'"):
        trace.quantity("c")
