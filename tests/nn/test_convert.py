"""torch.nn's layers made ours."""

import pytest
import torch
from torch import nn

import gatelab.nn as gnn
from gatelab.core.errors import InputError

MAKERS = {
    "rnn": lambda: nn.RNN(3, 4, 2, nonlinearity="relu", batch_first=True),
    "lstm": lambda: nn.LSTM(3, 4, 2, proj_size=2, bidirectional=True, dropout=0.3),
    "gru": lambda: nn.GRU(3, 4, bias=False, dtype=torch.float64),
}


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("kind", MAKERS)
def test_a_layer_computes_the_same_with_the_same_tensors(kind):
    layer = MAKERS[kind]().eval()
    stream = torch.get_rng_state()
    twin = gnn.from_torch(layer)
    assert torch.equal(torch.get_rng_state(), stream)
    assert isinstance(twin, gnn.Recurrent)
    assert repr(twin) == repr(layer)
    assert not twin.training
    assert all(a is b for a, b in zip(twin.parameters(), layer.parameters(), strict=True))
    x = torch.randn(5, 2, 3, dtype=layer.weight_ih_l0.dtype)
    torch.testing.assert_close(twin(x)[0], layer(x)[0])
    with torch.no_grad():
        layer.weight_hh_l0.mul_(2)
    torch.testing.assert_close(twin(x)[0], layer(x)[0])


def test_the_layers_of_a_model_are_replaced_and_training_goes_on():
    shared = nn.GRU(3, 3)
    model = nn.ModuleDict({"a": shared, "deep": nn.Sequential(nn.LSTM(3, 3)), "b": shared, "head": nn.Linear(3, 1)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    keys, x = list(model.state_dict()), torch.randn(4, 2, 3)
    before = model["a"](model["deep"][0](x)[0])[0]
    assert gnn.from_torch(model) is model
    assert list(model.state_dict()) == keys
    assert isinstance(model["a"], gnn.GRU)
    assert model["a"] is model["b"]
    assert isinstance(model["deep"][0], gnn.LSTM)
    after = model["a"](model["deep"][0](x)[0])[0]
    torch.testing.assert_close(after, before)
    after.sum().backward()
    optimizer.step()
    assert not torch.equal(model["a"](model["deep"][0](x)[0])[0], before)


def test_derived_classes_are_left_alone():
    class Other(nn.GRU):
        pass

    model = nn.ModuleList([Other(2, 2), nn.GRU(2, 2)])
    gnn.from_torch(model)
    assert type(model[0]) is Other
    assert type(model[1]) is gnn.GRU
    with pytest.raises(InputError, match="Other"):
        gnn.from_torch(nn.Sequential(Other(2, 2)))


def test_no_warning_about_dropout_is_repeated():
    with pytest.warns(UserWarning, match="dropout"):
        layer = nn.GRU(2, 2, dropout=0.5)
    assert gnn.from_torch(layer).dropout == 0.5


def test_nothing_to_convert_is_said():
    with pytest.raises(InputError, match="no layer to convert"):
        gnn.from_torch(nn.Linear(2, 2))
