"""Simple ways to guess the next step from the one before, fitted in closed form or by a convex problem.

Each is a function from the steps before, ``(N, 88)``, to the log-odds of the steps after them, ``(N, 88)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from gatelab.tasks.music.scores import key_losses

Array = np.ndarray
Guess = Callable[[Array], Array]

_PENALTIES = (10.0, 3.0, 1.0, 0.3)
_SEARCH = {"maxiter": 300, "ftol": 1e-7}


class Pairs(NamedTuple):
    """Steps and what followed them, of all pieces together."""

    before: Array  # (N, 88)
    after: Array  # (N, 88)

    @classmethod
    def of(cls, rolls: Sequence[Array]) -> Pairs:
        """Every two neighbours in rolls ``(T_i + 1, 88)``."""
        return cls(np.concatenate([roll[:-1] for roll in rolls]), np.concatenate([roll[1:] for roll in rolls]))


def log_odds(ones: Array, total: Array | int) -> Array:
    """Log-odds of a key that sounded ``ones`` times in ``total``, each counted half a time more than it was.

    The estimate of Krichevsky & Trofimov 1981: a key that never sounded in training has a small probability, not none.
    """
    return np.log(ones + 0.5) - np.log(total - ones + 0.5)


def chance(before: Array) -> Array:
    """Every key sounds or not with equal probability: 88 ln 2 nats a step."""
    return np.zeros(before.shape)


def frequencies(train: Pairs) -> Guess:
    """How often each key sounds, whatever came before (memoryless)."""
    odds = log_odds(train.after.sum(axis=0, dtype=np.int64), len(train.after))  # (88,)
    return lambda before: np.broadcast_to(odds, before.shape)


def persistence(train: Pairs) -> Guess:
    """How often each key goes on sounding, and how often it begins: a Markov chain for each key by itself."""
    on = train.before.astype(bool)  # (N, 88)
    stays = log_odds((train.after * on).sum(axis=0, dtype=np.int64), on.sum(axis=0))  # (88,)
    begins = log_odds((train.after * ~on).sum(axis=0, dtype=np.int64), (~on).sum(axis=0))  # (88,)
    return lambda before: np.where(before, stays, begins)


def logistic(train: Pairs, validation: Pairs) -> Guess:
    """Logistic regression of each key on all keys of the step before; the penalty is chosen on validation."""
    counts = _Counts.of(train)
    start = np.zeros((counts.chords.shape[1] + 1, train.after.shape[1]))  # (89, 88) weights and, last, biases
    start[-1] = log_odds(train.after.sum(axis=0, dtype=np.int64), len(train.after))
    found = []
    for penalty in _PENALTIES:
        start = counts.fitted(penalty, start)  # each from the one before, which is near
        found.append((nll(start, validation), start))
    best = min(found, key=lambda entry: entry[0])[1]  # (89, 88)
    return lambda before: _logits(best, before)


def nll(weights: Array, pairs: Pairs) -> float:
    """Mean negative log-likelihood of a step, in nats, under logistic regression with ``weights (89, 88)``."""
    return float(key_losses(_logits(weights, pairs.before), pairs.after).sum() / len(pairs.after))


def _logits(weights: Array, before: Array) -> Array:
    return before @ weights[:-1] + weights[-1]


class _Counts(NamedTuple):
    """All that logistic regression needs of the training part: chords recur, so each is looked at once."""

    chords: Array  # (U, 88) different steps
    times: Array  # (U, 1) how often each occurred
    after: Array  # (U, 88) how often each key followed

    @classmethod
    def of(cls, pairs: Pairs) -> _Counts:
        chords, which = np.unique(pairs.before, axis=0, return_inverse=True)  # (U, 88), (N,)
        after = np.zeros(chords.shape)  # (U, 88)
        np.add.at(after, which.ravel(), pairs.after)
        return cls(chords.astype(float), np.bincount(which.ravel())[:, None].astype(float), after)

    def fitted(self, penalty: float, start: Array) -> Array:
        """Weights and biases ``(89, 88)`` of least loss plus ``penalty/2`` times the squared weights."""

        def objective(flat: Array) -> tuple[float, Array]:
            weights = flat.reshape(start.shape)  # (89, 88)
            logits = _logits(weights, self.chords)  # (U, 88)
            error = self.times * expit(logits) - self.after  # (U, 88)
            loss = (self.times * np.logaddexp(0, logits) - self.after * logits).sum()
            slope = np.vstack([self.chords.T @ error + penalty * weights[:-1], error.sum(axis=0)])  # (89, 88)
            return float(loss + penalty / 2 * (weights[:-1] ** 2).sum()), slope.ravel()

        found = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options=_SEARCH)
        return found.x.reshape(start.shape)
