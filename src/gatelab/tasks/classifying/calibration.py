"""Probabilities that are as sure as they are right."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

Array = np.ndarray
_SPREAD = 0.5  # of the logarithm of a temperature, before any item is seen
_REACH = 3.0  # the furthest that it may be from 0: temperatures from 0.05 to 20


def fit_temperature(logits: Array, truth: Array) -> float:
    """The temperature by which logits are divided so that their log loss is least (Guo et al. 2017, sec. 4.2).

    It changes no answer, only how sure each is. Where a few items are all answered rightly, the least loss would be at
    temperature 0, and any doubt be gone; so the logarithm of the temperature is taken to be about 0 ± ½ beforehand (the
    estimate is the mode of its posterior under that normal prior), which some hundred items outweigh.

    Args:
        logits: of items that the network was not trained on, ``(N, K)``.
        truth: the class of each, ``(N,)``.
    """

    def cost(log_temperature: float) -> float:
        loss = log_loss(logits / np.exp(log_temperature), truth)
        return len(truth) * loss + (log_temperature / _SPREAD) ** 2 / 2

    found = minimize_scalar(cost, bounds=(-_REACH, _REACH), method="bounded", options={"xatol": 1e-5})
    return float(np.exp(found.x))


def log_loss(logits: Array, truth: Array) -> float:
    """Mean negative log-probability of the right class, in nats, from logits ``(N, K)``."""
    return -float(log_softmax(logits, axis=1)[np.arange(len(truth)), truth].mean())
