"""How good a classification is."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import f1_score

from gatelab.core.task import Evaluation, Metric

Array = np.ndarray
BINS = 15
"""Of equal width, over which the calibration error is taken: as many as Guo et al. 2017 have."""

METRICS = (
    Metric("accuracy", "max", text="share of items whose class is given rightly"),
    Metric("macro F1", "max", text="F1 of each class, the mean over classes: rare ones count like frequent ones"),
    Metric("log loss", unit="nats", text="negative log-probability of the right class, mean over items"),
    Metric("calibration error", text="how far confidence and accuracy lie apart, over 15 bins (Guo et al. 2017)"),
)


def score(truth: Array, log_probabilities: Array) -> Evaluation:
    """All metrics over N items, in order.

    Args:
        truth: the class of each, ``(N,)``.
        log_probabilities: of every class, ``(N, K)``.
    """
    said = log_probabilities.argmax(axis=1)  # (N,)
    losses = -log_probabilities[np.arange(len(truth)), truth]  # (N,)
    confidence = np.exp(log_probabilities.max(axis=1))  # (N,)
    numbers = {"log loss": float(losses.mean()), "calibration error": calibration_error(said == truth, confidence)}
    return _evaluation(truth, said, numbers, confidence)


def score_answers(truth: Array, said: Array) -> Evaluation:
    """The metrics of a method that names a class ``(N,)`` and no probability; the others are NaN."""
    numbers = {"log loss": float("nan"), "calibration error": float("nan")}
    return _evaluation(truth, said, numbers, np.full(len(truth), np.nan))


def surest_errors(evaluation: Evaluation, count: int = 12) -> Array:
    """Which items are given a wrong class with the most confidence, ``(E,)``, the surest first."""
    wrong = np.flatnonzero(evaluation.arrays["error_by_item"])
    return wrong[np.argsort(-evaluation.arrays["confidence"][wrong], kind="stable")][:count]


def _evaluation(truth: Array, said: Array, numbers: dict[str, float], confidence: Array) -> Evaluation:
    metrics = {
        "accuracy": float((said == truth).mean()),
        "macro F1": float(f1_score(truth, said, average="macro", zero_division=0)),
        **numbers,
    }
    arrays = {
        "error_by_item": (said != truth).astype(float),  # (N,)
        "truth": truth,  # (N,)
        "said": said,  # (N,)
        "confidence": confidence,  # (N,) probability of what is said
    }
    return Evaluation(metrics, arrays, len(truth))


def calibration_error(right: Array, confidence: Array) -> float:
    """Expected calibration error: ``Σ_b n_b / N |accuracy_b − confidence_b|`` (Guo et al. 2017, equation 3).

    Args:
        right: whether each of N answers is right, bool ``(N,)``.
        confidence: the probability that was given to each, ``(N,)``.
    """
    count, accuracy, mean = reliability(right, confidence)
    return float(np.nansum(count * np.abs(accuracy - mean)) / len(right))


def reliability(right: Array, confidence: Array) -> tuple[Array, Array, Array]:
    """Items, accuracy and mean confidence of each bin, ``(15,)`` each; NaN where a bin is empty."""
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)  # (N,) bin b holds (b/15, (b+1)/15]
    count = np.bincount(bins, minlength=BINS)  # (15,)
    safe = np.where(count > 0, count, np.nan)
    sums = [np.bincount(bins, weights=values, minlength=BINS) for values in (right.astype(float), confidence)]
    return count, sums[0] / safe, sums[1] / safe
