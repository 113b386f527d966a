"""What a layer gives is the caller's own: changed in place, detached, zeroed, as of torch.nn, at any length."""

import pytest
import torch
from torch.nn.functional import dropout
from torch.nn.utils.rnn import pack_padded_sequence

from gatelab import nn as gnn

I, H, B = 3, 5, 4  # noqa: E741
LAYERS = {
    "RNN": lambda **o: gnn.RNN(I, H, **o),
    "RNN, relu": lambda **o: gnn.RNN(I, H, nonlinearity="relu", **o),
    "LSTM": lambda **o: gnn.LSTM(I, H, **o),
    "LSTM, two layers": lambda **o: gnn.LSTM(I, H, 2, **o),
    "LSTM, projection": lambda **o: gnn.LSTM(I, H, proj_size=2, **o),
    "GRU": lambda **o: gnn.GRU(I, H, **o),
    "GRU, both directions": lambda **o: gnn.GRU(I, H, bidirectional=True, **o),
    "GRU, extras": lambda **o: gnn.GRU(I, H, layer_norm=True, recurrent_dropout=0.2, learn_initial_state=True, **o),
    "GRU, reset before": lambda **o: gnn.GRU(I, H, reset_after=False, **o),
    "GRU, in pieces": lambda **o: gnn.GRU(I, H, checkpoint_every=7, **o),
    "MinGRU": lambda **o: gnn.MinGRU(I, H, **o),
    "MinLSTM": lambda **o: gnn.MinLSTM(I, H, **o),
    "Stack": lambda **o: gnn.Stack(gnn.GRU(I, I, **o), gnn.LSTM(I, H, **o), residual=True),
}


def tensors(states):
    return [states] if isinstance(states, torch.Tensor) else [t for part in states for t in tensors(part)]


def relu(o, h):
    return o.relu_(), h


def drop(o, h):
    torch.manual_seed(1)
    return dropout(o, 0.5, training=True, inplace=True), h


def add(o, h):
    o += 1.5
    return o, h


def zero_step(o, h):
    o[0] = 0
    return o, h


def zero_items(o, h):
    for state in h:
        state[..., 0, :] = 0
    return o, h


def detach(o, h):
    return o, [state.detach_() for state in h]


IN_PLACE = {
    relu: lambda o, h: (o.relu(), h),
    drop: lambda o, h: drop(o.clone(), h),
    add: lambda o, h: (o + 1.5, h),
    zero_step: lambda o, h: (torch.cat([torch.zeros_like(o[:1]), o[1:]]), h),
    zero_items: lambda o, h: (o, [torch.cat([0 * s[..., :1, :], s[..., 1:, :]], dim=-2) for s in h]),
    detach: lambda o, h: (o, [state.detach() for state in h]),
}


def gradients(layer, x, change, hold):
    """Of a loss over what ``change`` makes of outputs and states; ``hold``: masks are drawn alike."""
    torch.manual_seed(hold)
    x = x.clone().requires_grad_()
    output, states = layer(x)
    output, states = change(output, tensors(states))
    loss = (output * output.detach().cos()).sum() + sum((s * s.detach().sin()).sum() for s in states)
    return torch.autograd.grad(loss, [x, *layer.parameters()], allow_unused=True)


@pytest.mark.parametrize("T", [2, 60])
@pytest.mark.parametrize("name", LAYERS)
def test_changed_in_place_the_gradients_are_those_of_a_copy(name, T):
    torch.manual_seed(0)
    layer = LAYERS[name](dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64)
    for change, copied in IN_PLACE.items():
        for one, other in zip(gradients(layer, x, change, 2), gradients(layer, x, copied, 2), strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("T", [2, 60])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_outputs_and_states_are_no_views_of_anything(name, batch_first, T):
    layer = LAYERS[name](batch_first=batch_first)
    x = torch.randn((B, T, I) if batch_first else (T, B, I))
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            output, states = layer(x)
        with torch.no_grad():
            output.relu_()
            for state in tensors(states):
                state[..., 0] = 0
        for tensor in (output, *tensors(states)):
            assert not tensor.detach_().requires_grad


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "GRU, extras", "MinGRU"])
def test_packed_data_are_the_callers_own(name):
    torch.manual_seed(0)
    layer = LAYERS[name](dtype=torch.float64)
    x = torch.randn(30, B, I, dtype=torch.float64)
    found = []
    for in_place in (True, False):
        torch.manual_seed(3)
        output, _ = layer(pack_padded_sequence(x, torch.tensor([30, 5, 20, 1]), enforce_sorted=False))
        data = output.data.mul_(2) if in_place else output.data * 2
        found.append(torch.autograd.grad(data.square().sum(), list(layer.parameters()), allow_unused=True))
    for one, other in zip(*found, strict=True):
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
