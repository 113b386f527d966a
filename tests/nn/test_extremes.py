"""Numbers that are none, or beyond all measure, go through kernels as through torch.nn; operations are counted."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gatelab import nn as gnn
from gatelab.nn import fused

PAIRS = {
    "RNN": (gnn.RNN, torch.nn.RNN, {}),
    "RNN, relu": (gnn.RNN, torch.nn.RNN, {"nonlinearity": "relu"}),
    "LSTM": (gnn.LSTM, torch.nn.LSTM, {}),
    "GRU": (gnn.GRU, torch.nn.GRU, {}),
}


@pytest.mark.parametrize("where", ["input", "state"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e36, -1e36])
@pytest.mark.parametrize("name", PAIRS)
def test_an_extreme_number_does_what_it_does_in_torch(name, value, where):
    ours, theirs, options = PAIRS[name]
    torch.manual_seed(0)
    layer, other = ours(3, 20, **options), theirs(3, 20, **options)
    other.load_state_dict(layer.state_dict())
    x, h = torch.randn(60, 4, 3), torch.zeros(1, 4, 20)
    (x[30] if where == "input" else h[0])[1, 0] = value
    assert fused.supports(layer, x)
    found = []
    for each in (layer, other):
        given = x.clone().requires_grad_()
        output, _ = each(given, (h, torch.zeros_like(h)) if name == "LSTM" else h)
        found.append((output, *torch.autograd.grad(output.sum(), [given, *each.parameters()])))
    for a, b in zip(*found, strict=True):
        assert torch.equal(a.isnan(), b.isnan())
        torch.testing.assert_close(a.nan_to_num(), b.nan_to_num(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", PAIRS)
def test_operations_are_counted_as_torch_counts_its_own(name):
    ours, theirs, options = PAIRS[name]
    layer, other = (kind(8, 20, 2, bidirectional=True, **options) for kind in (ours, theirs))
    x = torch.randn(50, 4, 8, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        output, _ = layer(x)
        forward = counter.get_total_flops()
        output.sum().backward()
    with FlopCounterMode(display=False) as theirs_counter:
        other.double()(x.double())  # step by step: what oneDNN does in float32 torch does not count
    assert forward == theirs_counter.get_total_flops() > 0
    assert counter.get_total_flops() == 3 * forward
