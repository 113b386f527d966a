"""``gatelab.SequenceClassifier``: sequence classification with scikit-learn's manners."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data  # type: ignore[missing-module-attribute]

from gatelab.core.errors import InputError
from gatelab.core.task import Task
from gatelab.data.ragged import Ragged
from gatelab.data.sequences import Sequences
from gatelab.tasks.classifying.estimator import ClassifyingEstimator, as_labels
from gatelab.tasks.sequence_classification.config import SequenceConfig
from gatelab.tasks.sequence_classification.task import SequenceClassification

Array = np.ndarray


class SequenceClassifier(ClassifyingEstimator):
    """Says which of K classes a numeric sequence is of, with an RNN, LSTM or GRU.

    Sequences come as an array ``(N, T)`` or ``(N, T, C)`` or as a list of arrays ``(T_i,)`` or ``(T_i, C)`` beside
    their labels, or together in whatever ``gatelab fit sequence-classification`` reads: a table with a row for each
    step, a ``.ts`` file, a folder of recordings, the name of a data set. Every parameter is a setting of
    ``SequenceConfig``, its ``Layout``, ``ModelConfig`` or ``TrainingConfig`` under the same name, and explained there;
    a tenth of the sequences validates, none is held back.

    >>> classifier = SequenceClassifier(epochs=5)
    >>> classifier.fit(sequences, labels).predict(others)  # doctest: +SKIP

    Attributes:
        classes_: the labels as they were given, in the order of the columns of ``predict_proba``.
        task_: scales, labels and data.
        model_: the trained network, best validation weights.
        history_: one record per epoch.
        notes_: what was decided about the data.
        folder_: the run folder; ``SequenceClassifier.load`` opens it again.
        n_features_in_: steps of a sequence, where they came as an array ``(N, T)``.
    """

    kind: ClassVar[type[Task]] = SequenceClassification

    def __init__(
        self,
        *,
        id: str | None = None,
        label: str | None = None,
        time: str | None = None,
        channels: tuple[str, ...] = (),
        per_step: int | None = None,
        gaps: bool = False,
        split: tuple[float, ...] = (0.9, 0.1, 0.0),
        draw: int = 0,
        scale: str = "channel",
        join: int | None = None,
        noise: float = SequenceConfig.noise,
        pooling: str = SequenceConfig.pooling,
        class_weights: str = "none",
        label_smoothing: float = 0.0,
        cell: str = "gru",
        hidden_size: int = 32,
        num_layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.3,
        epochs: int | None = None,
        max_seconds: float | None = None,
        batch_size: int | None = None,
        learning_rate: float = 3e-3,
        patience: int | None = 20,
        device: str = "cpu",
        threads: int = 1,
        seed: int = 0,
        folder: str | Path | None = None,
    ):
        self.id = id
        self.label = label
        self.time = time
        self.channels = channels
        self.per_step = per_step
        self.gaps = gaps
        self.split = split
        self.draw = draw
        self.scale = scale
        self.join = join
        self.noise = noise
        self.pooling = pooling
        self.class_weights = class_weights
        self.label_smoothing = label_smoothing
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.epochs = epochs
        self.max_seconds = max_seconds
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.patience = patience
        self.device = device
        self.threads = threads
        self.seed = seed
        self.folder = folder

    def fit(self, X: Any, y: Any = None) -> Self:
        """As ``ClassifyingEstimator.fit``; an array is looked at as scikit-learn does.

        Raises:
            InputError: an array without labels.
        """
        if y is None and hasattr(X, "shape") and not hasattr(X, "columns"):
            raise InputError(
                "SequenceClassifier requires y to be passed, but the target y is None",
                expected="a label for each sequence of an array",
                fix="fit(X, y)",
            )
        if y is not None:
            labels = np.array(as_labels(y))  # (N,) refused in words, before scikit-learn looks at them
            y = labels if getattr(y, "ndim", 1) == 1 else labels[:, None]  # it warns of a column itself
            if _is_matrix(X):
                X, y = validate_data(self, X, y, dtype=np.float64, ensure_all_finite=self._finite)
            check_classification_targets(y)
        return super().fit(X, y)

    def explain(self, X: Any, label: Any = None) -> list[Array]:
        """What each channel of each step contributed to the log-odds of a class, in nats: ``(T_i, C)`` a sequence.

        By integrated gradients (Sundararajan et al. 2017), against a sequence that stands still at the training mean.

        Args:
            X: sequences, or whatever holds some.
            label: the class asked about; none: the one that each sequence is given.
        """
        check_is_fitted(self, "model_")
        sequences = self._read(X)
        if label is None:
            classes = self.task_.log_probabilities(self.model_, self.task_.encode(sequences)).argmax(axis=1)  # (N,)
        else:
            classes = np.repeat(self.task_.labels.encode([str(label)]), len(sequences))  # (N,)
        return self.task_.contributions_of(self.model_, sequences, classes)

    @property
    def _finite(self) -> bool | str:
        return "allow-nan" if self.gaps else True

    def _read(self, X: Any) -> Sequences:
        if hasattr(self, "n_features_in_") and _is_matrix(X):
            X = validate_data(self, X, dtype=np.float64, reset=False, ensure_all_finite=self._finite)
        return self.task_.read_like(X).sequences

    def _encoded(self, X: Any) -> Ragged:
        return self.task_.encode(self._read(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[missing-attribute]
        tags.input_tags.allow_nan = self.gaps
        tags.input_tags.three_d_array = True
        return tags


def _is_matrix(X: Any) -> bool:
    """Whether scikit-learn is to look at ``X``: an array or frame that is not of several channels; no list, no path."""
    return (hasattr(X, "ndim") or hasattr(X, "__array__")) and getattr(X, "ndim", 2) != 3
