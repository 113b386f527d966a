"""Hessian-free optimization: products beside matrices that are written out, and steps whose end is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.linalg import cg
from torch import nn
from torch.nn import functional

from gatelab.core.random import generator
from gatelab.nn import GRU, LSTM, RNN
from gatelab.training.hessian_free import HessianFree, conjugate_gradients, gauss_newton

T, B, H, O = 4, 3, 3, 4  # noqa: E741


class Net(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer, self.head = layer(2, H), nn.Linear(H, O)

    def forward(self, x):
        return self.head(self.layer(x)[0][-1])  # (B, O)


def network(layer) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(4)
    return Net(layer).double(), torch.randn(T, B, 2, dtype=torch.float64)


def squared(out):
    return functional.mse_loss(out, torch.linspace(-1, 1, out.numel()).double().reshape(out.shape))


def entropy(out):
    return functional.cross_entropy(out, torch.arange(len(out)) % O)


def written_out(outputs, loss_of, parameters) -> np.ndarray:
    """Jᵀ H_L J with J row by row, H_L by torch's Hessian."""
    rows = [torch.autograd.grad(value, parameters, retain_graph=True) for value in outputs.flatten()]
    J = torch.stack([torch.cat([gradient.flatten() for gradient in row]) for row in rows])  # (Z, P)
    flat = outputs.detach().flatten()  # (Z,)
    H_L = torch.autograd.functional.hessian(lambda z: loss_of(z.reshape(outputs.shape)), flat)  # (Z, Z)
    return (J.T @ H_L @ J).numpy()


@pytest.mark.parametrize("loss_of", [squared, entropy])
@pytest.mark.parametrize("layer", [RNN, LSTM, GRU])
def test_the_product_is_that_of_the_matrix(layer, loss_of):
    net, x = network(layer)
    parameters, outputs = list(net.parameters()), net(x)
    G = written_out(outputs, loss_of, parameters)  # (P, P)
    product = gauss_newton(outputs, loss_of, parameters)
    found = np.stack([product(row).numpy() for row in torch.eye(len(G), dtype=torch.float64)])  # (P, P)
    np.testing.assert_allclose(found, G, atol=1e-12)
    assert np.linalg.eigvalsh(G)[0] > -1e-12, "never indefinite"


def test_for_a_linear_network_and_squared_error_it_is_the_hessian():
    torch.manual_seed(1)
    x, y = torch.randn(6, 3).double(), torch.randn(6, 2).double()
    weight = torch.randn(2, 3).double().requires_grad_()
    product = gauss_newton(x @ weight.T, lambda z: functional.mse_loss(z, y), [weight])
    hessian = torch.autograd.functional.hessian(lambda w: functional.mse_loss(x @ w.reshape(2, 3).T, y),
                                                weight.detach().flatten())  # fmt: skip
    v = torch.randn(6).double()
    torch.testing.assert_close(product(v), hessian @ v)


# ---- conjugate gradients -----------------------------------------------------------------------------------------


def system(size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = generator(seed, "system")
    M = rng.normal(size=(size, size))
    A = M @ M.T + np.eye(size)
    return torch.from_numpy(A), torch.from_numpy(rng.normal(size=size)), torch.from_numpy(rng.normal(size=size))


@given(st.integers(1, 8), st.integers(0, 10**6))
def test_as_many_rounds_as_unknowns_solve_the_system(size, seed):
    A, b, start = system(size, seed)
    x, q = conjugate_gradients(lambda v: A @ v, b, start, size + 2)[-1]
    solution = np.linalg.solve(A.numpy(), b.numpy())
    np.testing.assert_allclose(x.numpy(), solution, rtol=1e-6, atol=1e-8)
    assert q == pytest.approx(-0.5 * b.numpy() @ solution, rel=1e-6)


@pytest.mark.parametrize("rounds", [1, 2, 5, 9])
def test_iterates_are_those_of_scipy(rounds):
    A, b, start = system(30, 7)
    found = conjugate_gradients(lambda v: A @ v, b, start, rounds)[-1][0]
    expected, _ = cg(A.numpy(), b.numpy(), x0=start.numpy(), maxiter=rounds, rtol=0)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-8, atol=1e-10)


def test_kept_iterates_lie_further_and_further_apart_and_q_falls():
    A, b, start = system(60, 3)
    seen = []
    kept = conjugate_gradients(lambda v: (seen.append(v), A @ v)[1], b, start, 40)
    values = [q for _, q in kept]
    assert values == sorted(values, reverse=True)
    assert len(kept) < len(seen) / 2
    assert all(q == pytest.approx(float(0.5 * x @ A @ x - b @ x)) for x, q in kept)


def test_rounds_end_where_they_no_longer_pay():
    easy = torch.eye(50, dtype=torch.float64) + torch.diag(torch.linspace(0, 1e-3, 50).double())
    seen = []
    conjugate_gradients(lambda v: (seen.append(v), easy @ v)[1], torch.ones(50).double(), torch.zeros(50).double(), 50)
    assert len(seen) <= 12


def test_where_nothing_is_to_be_done_the_start_is_the_end():
    ((x, q),) = conjugate_gradients(lambda v: v, torch.zeros(3), torch.zeros(3), 5)
    assert (x.tolist(), q) == ([0, 0, 0], 0)


# ---- steps -------------------------------------------------------------------------------------------------------


def test_without_damping_one_step_solves_linear_least_squares():
    torch.manual_seed(2)
    x, y = torch.randn(20, 4).double(), torch.randn(20, 1).double()
    weight = torch.zeros(1, 4).double().requires_grad_()
    method = HessianFree([weight], damping=1e-12)
    loss, norm = method.step(lambda: x @ weight.T, lambda z: functional.mse_loss(z, y))
    expected = np.linalg.lstsq(x.numpy(), y.numpy(), rcond=None)[0]
    np.testing.assert_allclose(weight.detach().numpy(), expected.T, atol=1e-8)
    assert loss == pytest.approx(float((y**2).mean()))
    assert norm == pytest.approx(float(np.linalg.norm(2 * x.numpy().T @ y.numpy() / 20)))
    assert method.damping == pytest.approx(2e-12 / 3), "the model was exact, so that less damping will do"


@pytest.mark.parametrize("loss_of", [squared, entropy])
@pytest.mark.parametrize("layer", [RNN, LSTM, GRU])
def test_on_one_batch_the_loss_only_falls(layer, loss_of):
    net, x = network(layer)
    method = HessianFree(net.parameters())
    losses = [method.step(lambda: net(x), loss_of)[0] for _ in range(25)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.01 * losses[0]


def test_a_model_that_foretold_wrongly_is_damped_more():
    method = HessianFree([torch.zeros(2, requires_grad=True)], damping=1.0)
    for ratio, expected in ((0.9, 2 / 3), (0.5, 2 / 3), (0.1, 1.0), (-3.0, 1.5), (math.nan, 2.25)):
        method._damp(ratio)
        assert method.damping == pytest.approx(expected)


def test_a_step_that_only_climbs_is_not_taken():
    """At the top of a hill in z the Gauss–Newton matrix, of a loss that is not convex, points nowhere useful."""
    weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    HessianFree([weight]).step(lambda: weight, lambda z: -(z**2).sum())
    assert weight.item() == 0.0


def test_what_is_not_finite_changes_nothing():
    weight = torch.ones(2, requires_grad=True)
    loss, _ = HessianFree([weight]).step(lambda: weight, lambda z: (z / 0).sum())
    assert math.isinf(loss)
    assert weight.tolist() == [1, 1]
