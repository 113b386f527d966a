"""How good a prediction of music is."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from gatelab.core.task import Evaluation, Metric

Array = np.ndarray

METRICS = (
    Metric("NLL", unit="nats/step", text="negative log-likelihood of a step, its 88 keys' summed, mean over all steps"),
    Metric("accuracy", "max", text="keys rightly expected (p ≥ 0.5), of those expected or played (Bay et al. 2009)"),
    Metric("precision", "max", text="of the keys expected, the share that is played"),
    Metric("recall", "max", text="of the keys played, the share that was expected"),
)


def key_losses(logits: Array, truth: Array) -> Array:
    """Negative log-likelihood of each key at each step in nats, ``(N, 88)``, from log-odds and 0 or 1."""
    return np.logaddexp(0.0, logits) - logits * truth


def score(logits: Array, truth: Array, shown: int) -> Evaluation:
    """All metrics over N steps of all pieces, in order; the first ``shown`` are kept for a picture.

    Args:
        logits: log-odds ``(N, 88)``.
        truth: ``(N, 88)`` of 0 and 1.
        shown: steps.
    """
    losses = key_losses(logits, truth)  # (N, 88)
    expected, played = logits >= 0, truth.astype(bool)  # (N, 88)
    right = int((expected & played).sum())
    metrics = {
        "NLL": float(losses.sum() / len(losses)),
        "accuracy": _share(right, int((expected | played).sum())),
        "precision": _share(right, int(expected.sum())),
        "recall": _share(right, int(played.sum())),
    }
    arrays = {
        "error_by_item": losses.sum(axis=1),
        "nll_by_key": losses.mean(axis=0),
        "shown_probability": expit(logits[:shown]),
        "shown_truth": truth[:shown],
    }
    return Evaluation(metrics, arrays, len(losses))


def _share(part: int, whole: int) -> float:
    """A share of nothing is 1: where no key is expected, none is expected wrongly."""
    return part / whole if whole else 1.0
