"""Which part of an input made a model say what it says: integrated gradients.

T time, B batch, I input, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gatelab.core.errors import InputError

FEWEST, MOST = 16, 256
"""Points of the path at first, and at most."""


class Attribution(NamedTuple):
    """What each number of the input contributed."""

    contributions: Tensor  # (T, B, …) as the input
    change: Tensor  # (B,) score of the input less that of the baseline
    gap: Tensor  # (B,) how far the sum of an item's contributions is from its change


def integrated_gradients(
    score: Callable[[Tensor], Tensor], x: Tensor, baseline: Tensor, tolerance: float = 0.01
) -> Attribution:
    """How much each number of ``x`` moved the score away from that of ``baseline``.

    ``(x − x') ⊙ ∫₀¹ ∇score(x' + α (x − x')) dα`` (Sundararajan, Taly & Yan 2017, eq. 1), the integral by Gauss and
    Legendre's rule. The contributions of an item add up to the change of its score (their proposition 1,
    "completeness"): how well they do says whether there were enough points, so points are doubled, from 16 up to 256,
    until the largest gap is within ``tolerance``.

    Args:
        score: from inputs like ``x`` to a number for each item, ``(B,)``; an item's number depends on its input alone.
        x: inputs ``(T, B, …)``; what ``score`` does not read, such as padding, contributes nothing.
        baseline: the input that says nothing, of a shape that broadcasts to ``x``.
        tolerance: in units of the score.

    Raises:
        InputError: the score does not depend on its input, or is not finite.
    """
    start = baseline.to(x).expand_as(x)
    with torch.no_grad():
        change = score(x) - score(start)  # (B,)
    points = FEWEST
    while True:
        contributions = (x - start) * _mean_gradient(score, x, start, points)  # (T, B, …)
        gap = contributions.transpose(0, 1).flatten(1).sum(dim=1) - change  # (B,)
        if not bool(gap.isfinite().all()):
            raise InputError("the score is not finite, so nothing can be said of its parts", fix="look at the input")
        if points >= MOST or float(gap.abs().max()) <= tolerance:
            return Attribution(contributions, change, gap)
        points *= 2


def class_log_odds(logits: Tensor, which: Tensor) -> Tensor:
    """``ln p_k − ln(1 − p_k)`` for ``p = softmax(logits (B, K))`` and class ``which (B,)``, ``(B,)``.

    A score to attribute, the evidence for a class in nats: 0 where it is as likely as all others together.
    """
    own = logits.gather(1, which.unsqueeze(1))  # (B, 1)
    others = logits.scatter(1, which.unsqueeze(1), float("-inf"))  # (B, K)
    return own.squeeze(1) - others.logsumexp(dim=1)


def _mean_gradient(score: Callable[[Tensor], Tensor], x: Tensor, start: Tensor, points: int) -> Tensor:
    """``∫₀¹ ∇score(x' + α (x − x')) dα`` by so many points."""
    places, weights = np.polynomial.legendre.leggauss(points)  # over [-1, 1]
    total = torch.zeros_like(x)
    # cuDNN's recurrent layers have no backward pass in evaluation mode, and the model is in that mode.
    quiet = torch.backends.cudnn.flags(enabled=False) if x.is_cuda else nullcontext()
    with quiet, torch.enable_grad():
        for place, weight in zip(((places + 1) / 2).tolist(), (weights / 2).tolist(), strict=True):
            at = (start + place * (x - start)).detach().requires_grad_()
            found = score(at)
            if not found.requires_grad:
                raise InputError("the score does not depend on its input", fix="compute it from the argument given")
            total += weight * torch.autograd.grad(found.sum(), at)[0]
    return total
