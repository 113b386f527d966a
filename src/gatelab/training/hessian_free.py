"""Hessian-free optimization: steps of Gauss–Newton found by conjugate gradients, without a matrix ever being made.

For outputs z of the network with Jacobian J = ∂z/∂θ, and a loss convex in z with Hessian H_L = ∂²L/∂z², the
Gauss–Newton matrix is G = Jᵀ H_L J (Schraudolph 2002, "Fast curvature matrix-vector products", section 3). It is the
Hessian without the network's own curvature, and never indefinite. A step δ makes the quadratic model

    q(δ) = gᵀδ + ½ δᵀ (G + λ I) δ

least, as far as some rounds of conjugate gradients get, which need G v alone. Martens 2010, "Deep learning via
Hessian-free optimization", ICML; for recurrent networks Martens & Sutskever 2011, "Learning recurrent neural networks
with Hessian-free optimization", ICML. Here: one batch for gradient and curvature, no preconditioner, no structural
damping. Sections below are those of Martens 2010.

P numbers to learn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

Outputs = Callable[[], Tensor]
"""What the network says with its present weights, a tensor of any shape."""
LossOf = Callable[[Tensor], Tensor]
"""The loss of such outputs: one number, convex in them and twice differentiable."""
Product = Callable[[Tensor], Tensor]
"""A symmetric matrix ``(P, P)`` as what it makes of a vector ``(P,)``."""

_SPACING = 1.3  # between iterates that are kept: Martens 2010, section 4.6
_PROGRESS = 5e-4  # of q in a round, below which conjugate gradients end: section 4.4


def gauss_newton(outputs: Tensor, loss_of: LossOf, parameters: Sequence[Tensor]) -> Product:
    """v ↦ Jᵀ H_L J v for ``v (P,)``, at the weights that made ``outputs``.

    J v needs no forward mode: Jᵀu is linear in u, so that its derivative by u, multiplied by v from the left, is J v.
    The network must therefore be differentiable twice, as the layers of ``gatelab.nn`` are.

    Args:
        outputs: made by the network, with its graph.
        loss_of: the loss as a function of them.
        parameters: the weights, P numbers in all.
    """
    said = outputs.detach().requires_grad_()
    (slope,) = torch.autograd.grad(loss_of(said), said, create_graph=True)  # ∂L/∂z, shaped as z
    u = torch.zeros_like(outputs, requires_grad=True)  # shaped as z; what it holds does not matter
    pulled = _flat(torch.autograd.grad(outputs, parameters, u, create_graph=True))  # (P,) Jᵀu

    def product(v: Tensor) -> Tensor:
        (pushed,) = torch.autograd.grad(pulled, u, v, retain_graph=True)  # J v, shaped as z
        (curved,) = torch.autograd.grad(slope, said, pushed, retain_graph=True)  # H_L J v, shaped as z
        return _flat(torch.autograd.grad(outputs, parameters, curved, retain_graph=True))  # (P,)

    return product


def conjugate_gradients(product: Product, b: Tensor, start: Tensor, rounds: int) -> list[tuple[Tensor, float]]:
    """Least of q(x) = ½ xᵀA x − bᵀx for a positive definite A, by rounds (Hestenes & Stiefel 1952).

    Ends when q has fallen by less than a small part over the last rounds: what counts is q, not the residual
    (Martens 2010, section 4.4).

    Args:
        product: x ↦ A x.
        b: ``(P,)``.
        start: ``(P,)`` where the first round begins.
        rounds: how many at most.

    Returns:
        Some of the iterates with their q, further and further apart; the last one is where it ended.
    """
    x, r = start, b - product(start)  # (P,) each
    p, square = r, r @ r  # (P,), ()
    kept: list[tuple[Tensor, float]] = []
    values = [float(-0.5 * x @ (r + b))]
    while len(values) <= rounds and float(square) > 0 and not _settled(values):
        curved = product(p)  # (P,)
        length = square / (p @ curved)
        x, r = x + length * p, r - length * curved  # (P,) each
        values.append(float(-0.5 * x @ (r + b)))
        if len(values) > _SPACING ** len(kept):
            kept.append((x, values[-1]))
        before, square = square, r @ r
        p = r + square / before * p  # (P,)
    return kept if kept and kept[-1][0] is x else [*kept, (x, values[-1])]


def _settled(values: Sequence[float]) -> bool:
    """Whether q fell by less than ``_PROGRESS`` a round, on average of the last tenth of the rounds."""
    window = max(10, len(values) // 10)
    if len(values) <= window or values[-1] >= 0:
        return False
    return (values[-1] - values[-1 - window]) / values[-1] < window * _PROGRESS


class HessianFree:
    """Gauss–Newton steps with damping that follows how well the quadratic model foretells the loss.

    Args:
        parameters: what is learned.
        damping: λ to begin with (Levenberg–Marquardt).
        rounds: of conjugate gradients in a step, at most.
    """

    def __init__(self, parameters: Iterable[Tensor], damping: float = 1.0, rounds: int = 50):
        self.parameters = list(parameters)
        self.damping, self.rounds = damping, rounds
        self._direction = torch.zeros_like(parameters_to_vector(self.parameters))  # (P,) where the last step ended

    def step(self, outputs: Outputs, loss_of: LossOf) -> tuple[float, float]:
        """One step on one batch.

        Returns:
            The loss before the step and the Euclidean norm of its gradient. Where one is not finite, nothing is done.
        """
        said = outputs()
        loss = loss_of(said)
        gradient = _flat(torch.autograd.grad(loss, self.parameters, retain_graph=True))  # (P,)
        before, norm = float(loss.detach()), float(gradient.norm())
        if math.isfinite(before) and math.isfinite(norm):
            curvature = gauss_newton(said, loss_of, self.parameters)
            found = conjugate_gradients(lambda v: curvature(v) + self.damping * v, -gradient,
                                        0.95 * self._direction, self.rounds)  # fmt: skip
            self._move(found, before, gradient, lambda: float(loss_of(outputs())))
        return before, norm

    @torch.no_grad()
    def _move(
        self, found: Sequence[tuple[Tensor, float]], before: float, gradient: Tensor, loss: Callable[[], float]
    ) -> None:
        """Goes to the best of the iterates ``found``, no further than the loss allows, and sets the damping anew."""
        here = parameters_to_vector(self.parameters).clone()  # (P,)

        def reached(step: Tensor) -> float:
            vector_to_parameters(here + step, self.parameters)
            value = loss()
            return value if math.isfinite(value) else math.inf

        last = found[-1][0]  # (P,) the next search begins near where this one ended, wherever the weights go
        self._direction = last if last.isfinite().all() else torch.zeros_like(last)  # (P,)
        step, foretold, value = _least(reached, found)
        self._damp((value - before) / foretold if foretold < 0 else -math.inf)
        slope = min(float(gradient @ step), 0.0)
        for length in (0.8**k for k in range(60)):  # Armijo's rule: section 4.6
            if reached(length * step) <= before + 1e-2 * length * slope:
                return
        vector_to_parameters(here, self.parameters)

    def _damp(self, ratio: float) -> None:
        """Less where the model foretold the loss's fall, more where it did not: section 4.1."""
        if ratio > 0.75:
            self.damping *= 2 / 3
        elif not ratio >= 0.25:  # also where it is no number
            self.damping *= 3 / 2


def _least(reached: Callable[[Tensor], float], found: Sequence[tuple[Tensor, float]]) -> tuple[Tensor, float, float]:
    """The iterate before which the loss rises again, going back from the last (section 4.6); its q, and its loss."""
    best, least = found[-1], reached(found[-1][0])
    for each in reversed(found[:-1]):
        value = reached(each[0])
        if value > least:
            break
        best, least = each, value
    return *best, least


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    """All of them one after the other: ``(P,)``."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
