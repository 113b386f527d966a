"""What is reached without a network: the nearest neighbour under time warping, and a linear model over a few numbers.

N sequences, T steps of one, C channels.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gatelab.core.random import generator
from gatelab.kernels.dtw import nearest

Array = np.ndarray
LONGEST = 512
"""Steps that are compared one by one; longer sequences are averaged down to as many."""
_COMPARISONS = 2e10  # of two numbers, for all queries: half a minute at most
_INVERSE_PENALTIES = (0.03, 0.3, 3.0, 30.0)


def shortened(rows: Array, longest: int = LONGEST) -> Array:
    """``(T, C)``, or the means of ``longest`` stretches of it (PAA, Keogh et al. 2001)."""
    if len(rows) <= longest:
        return rows
    edges = np.linspace(0, len(rows), longest + 1).astype(np.int64)  # (longest + 1,)
    return np.add.reduceat(rows, edges[:-1], axis=0) / np.diff(edges)[:, None]


class Neighbour:
    """One nearest neighbour under dynamic time warping over all channels together, without a band.

    Args:
        references: sequences ``(T_i, C)`` whose classes are known.
        classes: of each, ``(R,)``.
    """

    def __init__(self, references: Sequence[Array], classes: Array):
        self._references, self._classes = [shortened(rows) for rows in references], classes

    def answers(self, queries: Sequence[Array]) -> tuple[Array, int]:
        """The class of each query, ``(Q,)``; and to how many references each was compared.

        Where comparing all would take long, it is to some of the references, drawn once.
        """
        taken = [shortened(rows) for rows in queries]
        cells = sum(map(len, taken)) * float(sum(map(len, self._references))) * self._references[0].shape[1]
        count = max(int(len(self._references) * min(_COMPARISONS / cells, 1.0)), 1)
        chosen = np.sort(generator(0, "neighbour").permutation(len(self._references))[:count])  # (R',)
        references = [self._references[at] for at in chosen]
        places, _ = nearest(*_flat(taken), *_flat(references))
        return self._classes[chosen][places], count


def _flat(sequences: Sequence[Array]) -> tuple[Array, Array]:
    """All steps end to end ``(N, C)`` float32, and how many each has."""
    return np.concatenate(sequences).astype(np.float32), np.array([len(rows) for rows in sequences])


def features(rows: Array) -> Array:
    """What a few numbers say of a sequence ``(T, C)``: its length, and eleven for each channel, ``(1 + 11·C,)``.

    Mean, deviation, least, greatest, quartiles and median; first and last value; slope; mean size of a step's change.
    """
    T = len(rows)
    clock = np.linspace(-1, 1, T) if T > 1 else np.zeros(1)  # (T,)
    slope = clock @ rows / max(float(clock @ clock), 1e-12)  # (C,)
    change = np.abs(np.diff(rows, axis=0)).mean(axis=0) if T > 1 else np.zeros(rows.shape[1])  # (C,)
    quantiles = np.quantile(rows, (0.0, 0.25, 0.5, 0.75, 1.0), axis=0)  # (5, C)
    parts = [rows.mean(axis=0), rows.std(axis=0), *quantiles, rows[0], rows[-1], slope, change]
    return np.concatenate([[np.log(T)], *parts])


def logistic(x: Array, y: Array, validation: Array, y_validation: Array) -> Any:
    """Logistic regression over ``features``; the penalty is that of the least log loss on the validation part.

    Args:
        x: features ``(N, F)`` of the training part.
        y: classes ``(N,)``.
        validation: features of the validation part.
        y_validation: its classes.
    """
    found = []
    for C in _INVERSE_PENALTIES:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1_000))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x, y)
        loss = (
            log_loss(y_validation, model.predict_proba(validation), labels=model.classes_) if len(y_validation) else C
        )
        found.append((loss, -C, model))
    return min(found, key=lambda entry: entry[:2])[2]
