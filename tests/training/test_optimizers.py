"""Optimizers by name: each learns, and its step is what its paper says."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from gatelab.core.errors import InputError
from gatelab.nn import LSTM
from gatelab.training.optimizers import OPTIMIZERS, Objective, optimizer

RATES = {"sgd": 0.5, "momentum": 0.3, "muon": 0.1, "lbfgs": 1.0, "hessian_free": 1.0}
"""Muon's steps are a fifth of the rate (root mean square), Adam's early ones the whole of it: five times Adam's."""


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = LSTM(2, 6), nn.Linear(6, 1)

    def forward(self, x):
        return self.head(self.layer(x)[0][-1])  # (B, 1)


@pytest.fixture
def net() -> Net:
    torch.manual_seed(3)
    return Net()


def summing(net: Net) -> Objective:
    """The sum of the first feature over five steps."""
    x = torch.randn(5, 16, 2, generator=torch.Generator().manual_seed(1))
    return Objective(lambda: net(x), lambda out: functional.mse_loss(out[:, 0], x[..., 0].sum(0)))


def weights(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in net.named_parameters()}


def gradients(net: Net, objective: Objective) -> dict[str, torch.Tensor]:
    loss = objective.loss_of(objective.outputs())
    return dict(zip(weights(net), torch.autograd.grad(loss, list(net.parameters())), strict=True))


def norm_of(tensors) -> float:
    return math.sqrt(sum(float((tensor**2).sum()) for tensor in tensors))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_learns(name, net):
    objective = summing(net)
    before = float(objective.loss_of(objective.outputs()).detach())
    method = optimizer(name, net, RATES.get(name, 0.02), None if name in ("lbfgs", "hessian_free") else 1.0)
    losses = [method.step(objective).loss for _ in range(40)]
    assert losses[0] == pytest.approx(before, rel=1e-5), "the loss where the step began"
    assert losses[-1] < 0.2 * before


@pytest.mark.parametrize("clip", [None, 0.01])
def test_plain_descent_goes_down_the_clipped_gradient(clip, net):
    objective, before = summing(net), weights(net)
    slope = gradients(net, objective)
    norm = norm_of(slope.values())
    seen = optimizer("sgd", net, 0.1, clip).step(objective)
    assert seen.norm == pytest.approx(norm, rel=1e-5), "as it was before clipping"
    scale = 1.0 if clip is None else clip / norm
    for name, after in weights(net).items():
        torch.testing.assert_close(after, before[name] - 0.1 * scale * slope[name], rtol=1e-4, atol=1e-7)


def test_muon_turns_the_recurrent_matrices_by_orthogonal_steps(net):
    objective, before = summing(net), weights(net)
    optimizer("muon", net, 1e-2).step(objective)
    after = weights(net)
    for name in ("layer.weight_ih_l0", "layer.weight_hh_l0"):
        step = before[name] * (1 - 1e-2 * 0.01) - after[name]  # (4H, I) or (4H, H), decay taken out
        sizes = torch.linalg.svdvals(step) / (1e-2 * 0.2 * math.sqrt(max(step.shape)))
        assert ((sizes > 0.6) & (sizes < 1.3)).all(), "Newton–Schulz: all singular values near 1"
    step = (before["head.weight"] * (1 - 1e-2 * 0.01) - after["head.weight"]).abs()
    torch.testing.assert_close(step, torch.full_like(step, 1e-2), rtol=1e-3, atol=0)  # Adam's first: the rate


def test_adamw_decays_and_adam_does_not(net):
    still = Objective(lambda: net.head.bias, lambda out: 0 * out.sum())
    before = weights(net)
    optimizer("adam", net, 0.1).step(still)
    torch.testing.assert_close(weights(net)["head.bias"], before["head.bias"])
    optimizer("adamw", net, 0.1).step(still)
    torch.testing.assert_close(weights(net)["head.bias"], before["head.bias"] * (1 - 0.1 * 0.01))


def test_lbfgs_solves_a_quadratic_in_one_step():
    torch.manual_seed(0)
    line, x = nn.Linear(3, 1), torch.randn(12, 3)
    y = x @ torch.tensor([1.0, -2.0, 3.0]) + 0.5
    objective = Objective(lambda: line(x), lambda out: functional.mse_loss(out[:, 0], y))
    seen = optimizer("lbfgs", line, 1.0).step(objective)
    assert seen.loss > 1
    assert float(objective.loss_of(objective.outputs()).detach()) < 1e-6


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_is_not_finite_is_told(name, net):
    with torch.no_grad():
        net.head.weight.fill_(math.inf)
    seen = optimizer(name, net, 0.1).step(summing(net))
    assert not math.isfinite(seen.loss)


def test_an_unknown_name_is_refused(net):
    with pytest.raises(InputError, match="optimizer"):
        optimizer("adamm", net, 0.1)
