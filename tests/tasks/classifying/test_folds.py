"""Cross-validation."""

import numpy as np
import pytest

from gatelab.core.config import ModelConfig
from gatelab.core.errors import DataError, InputError
from gatelab.tasks.classifying.folds import folded
from gatelab.tasks.text_classification.config import TextConfig
from gatelab.tasks.text_classification.task import TextClassification

LABELS = ["a"] * 30 + ["b"] * 15
TEXTS = [f"{label} film {at}" for at, label in enumerate(LABELS)]


def test_every_item_is_tested_on_once_and_never_trained_on_there():
    found = list(folded(LABELS, 5, (0.8, 0.1, 0.1)))
    assert sorted(np.concatenate([parts["test"] for parts in found])) == list(range(45))
    for parts in found:
        assert sorted(np.concatenate(list(parts.values()))) == list(range(45))
        assert [sum(LABELS[at] == name for at in parts["test"]) for name in "ab"] == [6, 3]
        assert len(parts["validation"]) == 4


def test_folds_follow_the_number_of_the_draw():
    first, again, other = ([parts["test"].tolist() for parts in folded(LABELS, 3, (9, 1), draw)] for draw in (1, 1, 2))
    assert first == again != other


def test_every_fold_scores_network_and_baselines(tmp_path):
    config = TextConfig(embedding=4, min_count=1)
    model = ModelConfig(hidden_size=4)
    found = TextClassification.backtest((TEXTS, LABELS), config, model, {"epochs": 1}, folds=2, folder=tmp_path, seed=0)
    assert found["method"].tolist() == ["gru", "majority", "TF-IDF + logistic regression", "naive Bayes"] * 2
    assert found.groupby("fold")["test_rows"].first().sum() == 45
    assert found.loc[found["method"] == "majority", "accuracy"].mean() == pytest.approx(2 / 3, abs=0.02)


def test_what_cannot_be_folded():
    with pytest.raises(DataError, match="'b' has 15 items") as caught:
        list(folded(LABELS, 20, (0.8, 0.1, 0.1)))
    assert "--folds" in caught.value.fix
    with pytest.raises(InputError, match="folds"):
        TextClassification.backtest((TEXTS, LABELS), TextConfig(), ModelConfig(), {}, folds=1, folder=None)
