"""``gatelab.TextClassifier``: text classification with scikit-learn's manners."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from gatelab.core.task import Task
from gatelab.data.labelled_texts import read_texts
from gatelab.data.ragged import Ragged
from gatelab.data.texts import Texts
from gatelab.tasks.classifying.estimator import ClassifyingEstimator
from gatelab.tasks.text_classification.config import TextConfig
from gatelab.tasks.text_classification.predict import explain
from gatelab.tasks.text_classification.task import TextClassification


class TextClassifier(ClassifyingEstimator):
    """Says which of K classes a text is of, with an RNN, LSTM or GRU.

    Texts come as a list beside their labels, or together in whatever ``gatelab fit text-classification`` reads: a CSV,
    TSV or JSONL file, a folder, the name of a data set. Every parameter is a setting of ``TextConfig``, ``ModelConfig``
    or ``TrainingConfig`` under the same name, and explained there; a tenth of the texts validates, none is held back.

    >>> classifier = TextClassifier(epochs=5)
    >>> classifier.fit(texts, labels).predict(["a dull film"])  # doctest: +SKIP

    Attributes:
        classes_: the labels as they were given, in the order of the columns of ``predict_proba``.
        task_: vocabulary, labels and data.
        model_: the trained network, best validation weights.
        history_: one record per epoch.
        notes_: what was decided about the data.
        folder_: the run folder; ``TextClassifier.load`` opens it again.
    """

    kind: ClassVar[type[Task]] = TextClassification

    def __init__(
        self,
        text: str | None = None,
        label: str | None = None,
        *,
        encoding: str | None = None,
        split: tuple[float, ...] = (0.9, 0.1, 0.0),
        draw: int = 0,
        tokens: str = "words",
        lower: bool = True,
        vocabulary: int | None = None,
        min_count: int = 2,
        embedding: int = TextConfig.embedding,
        vectors: str | None = None,
        pooling: str = TextConfig.pooling,
        class_weights: str = "none",
        word_dropout: float = TextConfig.word_dropout,
        embedding_dropout: float = TextConfig.embedding_dropout,
        label_smoothing: float = 0.0,
        cell: str = "gru",
        hidden_size: int = 64,
        num_layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.5,
        epochs: int | None = None,
        max_seconds: float | None = None,
        batch_size: int | None = None,
        learning_rate: float = 1e-3,
        patience: int | None = 4,
        device: str = "cpu",
        threads: int = 1,
        seed: int = 0,
        folder: str | Path | None = None,
    ):
        self.text = text
        self.label = label
        self.encoding = encoding
        self.split = split
        self.draw = draw
        self.tokens = tokens
        self.lower = lower
        self.vocabulary = vocabulary
        self.min_count = min_count
        self.embedding = embedding
        self.vectors = vectors
        self.pooling = pooling
        self.class_weights = class_weights
        self.word_dropout = word_dropout
        self.embedding_dropout = embedding_dropout
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

    def explain(self, X: Any, label: Any = None) -> pd.DataFrame:
        """What each token contributed to the log-odds of a class, in nats, by integrated gradients.

        Args:
            X: texts, or whatever holds some.
            label: the class asked about; none: the one that each text is given.

        Returns:
            A row for each token: ``text`` (its number, from 0), ``token``, ``start`` and ``end`` in the text, ``nats``.
        """
        check_is_fitted(self, "model_")
        texts = self._read(X)
        if label is None:
            classes = self.predict_proba(X).argmax(axis=1)  # (N,)
        else:
            classes = np.repeat(self.task_.labels.encode([str(label)]), len(texts))  # (N,)
        return explain(self.task_, self.model_, texts, classes)

    def _read(self, X: Any) -> Texts:
        config = self.task_.config
        columns = {"text": config.text, "label": config.label}
        return read_texts(X, **columns, encoding=config.encoding, labelled=False).texts

    def _encoded(self, X: Any) -> Ragged:
        return self.task_.encode(self._read(X))
