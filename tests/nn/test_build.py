"""Layers from configurations, and their initialisations."""

import numpy as np
import pytest
import torch

import gatelab.nn as gnn
from gatelab.cells import INITS, initialise, layer_names
from gatelab.cells.cell import CELLS
from gatelab.core.config import ModelConfig
from gatelab.core.errors import InputError
from gatelab.nn import open_loop
from gatelab.nn.layers import LAYERS


def test_every_cell_has_a_step_and_a_layer():
    assert set(LAYERS) == {CELLS[name].family for name in CELLS}
    assert list(open_loop.STEPS) == [name for name in CELLS if issubclass(LAYERS[CELLS[name].family], gnn.Recurrent)]


@pytest.mark.parametrize("name", open_loop.STEPS)
def test_every_cell_can_be_built_and_knows_its_name(name):
    model = ModelConfig(cell=name, hidden_size=5, num_layers=2, dropout=0.25, bidirectional=True)
    layer = gnn.recurrent(model, 3)
    assert layer.cell == name
    assert layer.plain == (CELLS[name].torch_twin is not None)
    assert (layer.input_size, layer.hidden_size, layer.num_layers) == (3, 5, 2)
    assert (layer.dropout, layer.bidirectional, layer.batch_first) == (0.25, True, False)
    shapes = {key: tuple(value.shape) for key, value in layer.named_parameters() if key.endswith("_l0")}
    assert shapes == {f"{key}_l0": shape for key, shape in CELLS[name].shapes(3, 5).items()}


def test_reset_after_chooses_the_gru_alone():
    assert gnn.recurrent(ModelConfig(cell="gru", reset_after=False), 3).cell == "gru_reset_before"
    assert gnn.recurrent(ModelConfig(cell="lstm", reset_after=False), 3).cell == "lstm"


def test_dropout_in_one_layer_is_left_to_the_head():
    assert gnn.recurrent(ModelConfig(dropout=0.5), 3).dropout == 0.0  # and torch does not warn


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru_reset_before", "min_gru"])
def test_residual_layers_add_what_they_read(cell, bidirectional):
    model = ModelConfig(cell=cell, hidden_size=4, num_layers=3, residual=True, dropout=0.5, bidirectional=bidirectional)
    stack = gnn.recurrent(model, 3).eval()
    assert stack.residuals == [False, True, True]
    assert [layer.cell for layer in stack.layers] == [cell] * 3
    x = torch.randn(6, 2, 3)
    low = stack.layers[0](x)[0]
    middle = low + stack.layers[1](low)[0]
    torch.testing.assert_close(stack(x)[0], middle + stack.layers[2](middle)[0])
    plain = gnn.recurrent(ModelConfig(cell=cell, hidden_size=4, num_layers=3, bidirectional=bidirectional), 3)
    assert sum(p.numel() for p in stack.parameters()) == sum(p.numel() for p in plain.parameters())


def test_dropout_lies_between_residual_layers():
    stack = gnn.recurrent(ModelConfig(hidden_size=3, num_layers=2, residual=True, dropout=0.9), 3)
    x = torch.randn(4, 200, 3)
    kept = x + torch.nn.functional.dropout(stack.layers[0](x)[0], 0.0)
    assert (stack(x)[0] - (kept + stack.layers[1](kept)[0])).abs().mean() > 0.01  # something was dropped
    torch.testing.assert_close(stack.eval()(x)[0], kept + stack.layers[1](kept)[0])


def test_torchs_start_is_torchs():
    torch.manual_seed(4)
    layer = gnn.recurrent(ModelConfig(cell="lstm"), 3)
    torch.manual_seed(4)
    twin = torch.nn.LSTM(3, 32)
    assert all(torch.equal(a, b) for a, b in zip(layer.parameters(), twin.parameters(), strict=True))


@pytest.mark.parametrize("init", [*INITS, "orthogonal+chrono:50"])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru_reset_before"])
def test_the_start_is_a_function_of_torchs_seed(cell, init):
    model = ModelConfig(cell=cell, hidden_size=4, num_layers=2, bidirectional=True, init=init)
    layers = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        layers.append(torch.nn.utils.parameters_to_vector(gnn.recurrent(model, 3).parameters()))
    assert torch.equal(layers[0], layers[1])
    assert not torch.equal(layers[0], layers[2])


@pytest.mark.parametrize("init", INITS)
def test_the_weights_are_those_of_the_numpy_cells(init):
    layer = gnn.GRU(3, 4, 2, bidirectional=True, dtype=torch.float64)
    gnn.initialise(layer, init, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    for names in layer_names(2, True):
        for name in names:
            found = {
                k: p.detach().numpy() for k, p in open_loop.weights_of(layer, name)._asdict().items() if p is not None
            }
            arrays = {key: np.full(value.shape, np.nan) for key, value in found.items()}
            initialise(CELLS["gru"], arrays, rng, init)
            for key in arrays:
                np.testing.assert_array_equal(found[key], arrays[key])


def test_orthogonal_and_forget_bias_do_what_they_say():
    layer = gnn.recurrent(ModelConfig(cell="lstm", hidden_size=6, init="orthogonal+forget_bias:2"), 3)
    for block in layer.weight_hh_l0.detach().chunk(4):
        torch.testing.assert_close(block @ block.T, torch.eye(6), atol=1e-6, rtol=0)
    bias = (layer.bias_ih_l0 + layer.bias_hh_l0).detach().chunk(4)
    assert bias[1].tolist() == [2.0] * 6
    assert all(part.abs().sum() == 0 for part in (bias[0], bias[2], bias[3]))


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match="did you mean gru"):
        gnn.recurrent(ModelConfig(cell="grru"), 3)
    with pytest.raises(InputError, match="did you mean glorot"):
        gnn.recurrent(ModelConfig(init="gloort"), 3)
