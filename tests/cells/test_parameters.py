import numpy as np
import pytest
import torch

from gatelab.cells import CELLS, forward, from_state_dict, initial_parameters, parameter_count, to_state_dict
from gatelab.core.errors import InputError

LSTM = CELLS["lstm"]


def arrays(**size):
    return to_state_dict(initial_parameters(LSTM, 3, 4, np.random.default_rng(0), **size))


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_count_is_torchs(name, bidirectional):
    module = getattr(torch.nn, CELLS[name].torch_twin)(3, 4, num_layers=3, bidirectional=bidirectional)
    expected = sum(p.numel() for p in module.parameters())
    assert parameter_count(CELLS[name], 3, 4, 3, bidirectional) == expected


def test_a_state_dict_holds_the_very_arrays_and_loading_copies_them():
    params = initial_parameters(LSTM, 3, 4, np.random.default_rng(0))
    shared = to_state_dict(params)
    assert shared["weight_hh_l0"] is params["l0"].weight_hh
    assert not np.shares_memory(from_state_dict(LSTM, shared)["l0"].weight_hh, shared["weight_hh_l0"])


def test_torchs_bias_false_is_a_bias_of_zero():
    module = torch.nn.LSTM(3, 4, num_layers=2, bias=False, dtype=torch.float64)
    x = np.random.default_rng(0).normal(size=(5, 2, 3))
    (output, _), _ = forward(LSTM, from_state_dict(LSTM, module.state_dict()), x)
    np.testing.assert_allclose(output, module(torch.from_numpy(x))[0].detach(), atol=1e-14)


def test_keys_under_other_prefixes_are_left_alone():
    mixed = {"head.weight": np.zeros(3)} | {f"encoder.{key}": value for key, value in arrays().items()}
    assert list(from_state_dict(LSTM, mixed, "encoder.")) == ["l0"]


def without(key):
    return {name: array for name, array in arrays(num_layers=2, bidirectional=True).items() if name != key}


@pytest.mark.parametrize(
    ("state_dict", "message"),
    [
        ({}, "not the state dict"),
        ({"weight_ih_l0": np.zeros((7, 3))}, "not the state dict"),
        ({"weight_ih_l0": np.zeros(8)}, "not the state dict"),
        (without("weight_hh_l1_reverse"), "weight_hh_l1_reverse of the LSTM is missing"),
        (without("bias_hh_l1"), "bias_hh_l1 of the LSTM is missing"),
        (without("weight_ih_l1"), "weight_ih_l1 of the LSTM is missing"),
        (arrays() | {"weight_hh_l0": np.zeros((16, 5))}, "weight_hh_l0 of the LSTM does not fit"),
        (arrays() | {"weight_hr_l0": np.zeros((2, 4))}, "LSTM layers have no 'weight_hr_l0'"),
    ],
)
def test_what_does_not_fit_is_named(state_dict, message):
    with pytest.raises(InputError, match=message):
        from_state_dict(LSTM, state_dict)


def test_another_cells_weights_are_refused():
    gru = to_state_dict(initial_parameters(CELLS["gru"], 3, 4, np.random.default_rng(0)))
    with pytest.raises(InputError, match="weight_hh_l0 of the LSTM does not fit"):
        from_state_dict(LSTM, gru)
