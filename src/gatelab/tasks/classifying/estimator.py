"""What the classifiers with scikit-learn's manners have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from gatelab.core.errors import InputError
from gatelab.data.label_types import names_of, typed
from gatelab.data.ragged import Ragged
from gatelab.tasks.estimating import Estimator

Array = np.ndarray


class ClassifyingEstimator(ClassifierMixin, Estimator):
    """``fit``, ``predict``, ``predict_proba`` and ``score`` around a classification.

    Attributes:
        classes_: the labels as they were given, ``(K,)``, in the order of the columns of ``predict_proba``.
    """

    classes_: Array

    @abstractmethod
    def _encoded(self, X: Any) -> Ragged:
        """New items as the network reads them."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Trains on ``X`` and keeps the best validation weights.

        Args:
            X: items, with their labels in ``y``; or a source that holds both, such as a path or a data set's name.
            y: a label for each item.

        Raises:
            DataError: the data cannot be used, or there is only one class.
            InputError: a parameter that cannot be.
            TrainingError: the loss stopped being finite.
        """
        return self._train(X if y is None else (X, as_labels(y)))

    def _adopt(self, task: Any, model: Any, history: Sequence[Mapping[str, Any]], folder: Path) -> None:
        super()._adopt(task, model, history, folder)
        self.classes_ = np.array(task.labels.values)

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class for each item, ``(N, K)``; the columns are ``classes_``."""
        check_is_fitted(self, "model_")
        return np.exp(self.task_.log_probabilities(self.model_, self._encoded(X)))

    def predict(self, X: Any) -> Array:
        """The likeliest class of each item, ``(N,)``."""
        likeliest = self.predict_proba(X).argmax(axis=1)  # (N,); first, for without a training there are no classes
        return self.classes_[likeliest]

    def evaluate(self, X: Any = None, y: Any = None) -> dict[str, float]:
        """All metrics: on the test part, or on labelled items.

        Raises:
            InputError: without ``X``, where there is no test part.
            DataError: a label that was not there in training.
        """
        check_is_fitted(self, "model_")
        if X is None and "test" not in self.task_.parts:
            raise InputError("there is no test part to evaluate on", fix="give items: evaluate(X, y)")
        source = X if y is None else (X, as_labels(y))
        task = self.task_ if X is None else self.task_.reopen(source, "evaluate")
        return dict(task.evaluate(self.model_, "test").metrics)

    def update(
        self,
        X: Any,
        y: Any = None,
        *,
        epochs: int = 5,
        learning_rate: float | None = None,
        folder: str | Path | None = None,
    ) -> Self:
        """Goes on training with more items of the same classes, from the present weights.

        Args:
            X: as in ``fit``.
            y: as in ``fit``.
            epochs: passes over them, at most.
            learning_rate: step size; a tenth of the first training's by default.
            folder: run folder of the updated model; a temporary one by default.
        """
        source = X if y is None else (X, as_labels(y))
        return self._update(source, epochs, learning_rate, folder)


def as_labels(y: Any) -> list[Any]:
    """The labels ``y`` as objects of their own types.

    Raises:
        InputError: ``y`` is no list of labels.
        DataError: one is missing, or they are of types that do not go together.
    """
    if isinstance(y, str) or not (isinstance(y, Sequence) or hasattr(y, "__array__")):
        raise InputError("these are no labels", expected="a label for each item", got=type(y).__name__, fix="fit(X, y)")
    return typed(*names_of(y, "item"))
