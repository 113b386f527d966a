"""Methods that a network has to beat: constants, the last step alone, and linear functions of all steps."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge

from gatelab.tasks.problems.definition import Array, Examples, Outputs

_PENALTIES = (1.0, 10.0, 100.0, 1000.0)
"""What linear functions choose from, by their error on the validation part."""
_ITERATIONS = 2_000
_LEAST = 1e-12
"""A probability that is rounded to zero would cost infinitely much."""


def constant(answer: Array) -> Outputs:
    """The same answer ``(O,)`` whatever was read."""
    return lambda examples: np.broadcast_to(answer, (*examples.y.shape, len(answer)))


def log_frequencies(y: Array, classes: int) -> Array:
    """Logarithms of the classes' shares of ``y``, each counted once more than it occurs: ``(K,)``."""
    counts = np.bincount(y.ravel(), minlength=classes) + 1
    return np.log(counts / counts.sum())


def last_summand(examples: Examples) -> Array:
    """The adding problem from its last step alone: ``(1, N, 1)``.

    A marked number is one of the two summands and the other has the mean 1/2; else the mean of both together is 1.
    """
    number, mark = np.moveaxis(examples.x[-1], 1, 0)  # (N,)
    return np.where(mark > 0, number + 0.5, 1.0)[None, :, None]


def blank_then_any(examples: Examples, symbols: int) -> Array:
    """Copy memory without a memory, but for when it is asked: blanks, then any symbol: ``(A, N, K + 1)``."""
    alphabet = examples.x.shape[2] - 2
    out = np.full((*examples.y.shape, alphabet + 1), -np.inf)  # (A, N, K + 1)
    out[:-symbols, :, alphabet] = 0
    out[-symbols:, :, :alphabet] = -np.log(alphabet)
    return out


def linear(train: Examples, validation: Examples) -> Outputs:
    """Ridge regression on all inputs of all steps."""
    fitted = [Ridge(alpha=penalty).fit(_features(train), train.y[-1]) for penalty in _PENALTIES]
    errors = [np.square(model.predict(_features(validation)) - validation.y[-1]).mean() for model in fitted]
    best = fitted[int(np.argmin(errors))]
    return lambda examples: best.predict(_features(examples))[None, :, None]


def logistic(train: Examples, validation: Examples, steps: int = 0) -> Outputs:
    """Logistic regression on all inputs of the last ``steps`` steps; 0: of all."""

    def log_probabilities(model: LogisticRegression, examples: Examples) -> Array:
        return np.log(np.maximum(model.predict_proba(_features(examples, steps)), _LEAST))  # (N, K)

    def error(model: LogisticRegression) -> float:
        said = log_probabilities(model, validation)  # (N, K)
        return -float(np.take_along_axis(said, validation.y[-1][:, None], axis=1).mean())

    makers = [LogisticRegression(C=1 / penalty, max_iter=_ITERATIONS) for penalty in _PENALTIES]
    best = min((maker.fit(_features(train, steps), train.y[-1]) for maker in makers), key=error)
    return lambda examples: log_probabilities(best, examples)[None]


def _features(examples: Examples, steps: int = 0) -> Array:
    return examples.x[-steps:].swapaxes(0, 1).reshape(examples.y.shape[1], -1)  # (N, T·I)
