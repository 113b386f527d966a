"""What is reached without a network: words counted, and a linear model over them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import Pipeline, make_pipeline

from gatelab.core.errors import DataError

Array = np.ndarray
_INVERSE_PENALTIES = (0.3, 1.0, 3.0, 10.0)
_PSEUDOCOUNTS = (0.1, 0.3, 1.0, 3.0)
_TOKEN = r"(?u)\w+|[^\w\s]"  # single letters and marks count as well


def logistic(train: Sequence[str], y: Array, validation: Sequence[str], y_validation: Array) -> Pipeline:
    """TF-IDF of words and logistic regression; the penalty is that of the least log loss on the validation part."""
    words = TfidfVectorizer(sublinear_tf=True, token_pattern=_TOKEN)
    models = [LogisticRegression(C=c, max_iter=1_000) for c in _INVERSE_PENALTIES]
    return _best(words, models, (train, y), (validation, y_validation))


def naive_bayes(train: Sequence[str], y: Array, validation: Sequence[str], y_validation: Array) -> Pipeline:
    """Multinomial naive Bayes on counts of words; the pseudocount is that of the least log loss on validation."""
    words = CountVectorizer(token_pattern=_TOKEN)
    return _best(words, [MultinomialNB(alpha=count) for count in _PSEUDOCOUNTS], (train, y), (validation, y_validation))


def _best(words: Any, models: Sequence[Any], train: tuple, validation: tuple) -> Pipeline:
    try:
        counts = words.fit_transform(train[0])  # (N, W) sparse
    except ValueError as error:
        raise DataError("the texts of the training part hold no words", fix="look at the texts") from error
    held_out = words.transform(validation[0])
    losses = []
    for model in models:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(counts, train[1])
        losses.append(float(log_loss(validation[1], model.predict_proba(held_out), labels=model.classes_)))
    return make_pipeline(words, models[int(np.argmin(losses))])
