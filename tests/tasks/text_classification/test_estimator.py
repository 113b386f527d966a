"""``TextClassifier``: scikit-learn's manners."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from gatelab import TextClassifier
from gatelab.core.errors import DataError, InputError, RunError

TEXTS = ["a lovely film", "so funny", "fine", "dull as ever", "a stale joke", "sad"] * 6
LABELS = [1, 1, 1, 0, 0, 0] * 6
SETTINGS = {"embedding": 8, "hidden_size": 8, "epochs": 12, "learning_rate": 2e-2, "batch_size": 8, "dropout": 0.0,
            "word_dropout": 0.0, "embedding_dropout": 0.0}  # fmt: skip


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier") / "run"
    return TextClassifier(**SETTINGS, folder=folder).fit(TEXTS, LABELS)


def test_labels_come_back_as_they_were_given(classifier):
    said = classifier.predict(["a funny film", "a dull joke"])
    assert said.tolist() == [1, 0]
    assert said.dtype == np.array(LABELS).dtype
    assert classifier.score(TEXTS, LABELS) == 1
    assert classifier.evaluate(TEXTS, LABELS)["accuracy"] == 1
    chances = classifier.predict_proba(["a funny film", ""])
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert classifier.classes_[chances[0].argmax()] == 1


FRAMES = {
    "int": lambda labels: pd.Series(labels),
    "bool": lambda labels: pd.Series(labels) == 1,
    "float": lambda labels: pd.Series(labels, dtype=float),
    "text": lambda labels: pd.Series(labels).map({0: "dull", 1: "fine"}),
    "category": lambda labels: pd.Series(labels).map({0: "dull", 1: "fine"}).astype("category"),
    "category of int": lambda labels: pd.Series(labels).astype("category"),
    "nullable": lambda labels: pd.Series(labels, dtype="Int64"),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_labels_of_a_frame_keep_their_type_everywhere(kind, tmp_path):
    labels = FRAMES[kind](LABELS)
    frame = pd.DataFrame({"text": TEXTS, "label": labels})
    once = {**SETTINGS, "epochs": 1}
    fitted = TextClassifier(**once, folder=tmp_path).fit(frame)
    beside = TextClassifier(**once).fit(frame["text"], frame["label"])
    for classifier in (fitted, beside, TextClassifier.load(tmp_path)):
        assert classifier.classes_.tolist() == sorted(set(labels))
        assert classifier.classes_.dtype.kind == {"i": "i", "b": "b", "f": "f"}.get(
            np.array(list(labels)).dtype.kind, "U"
        )
        assert (classifier.predict(frame) == np.array(list(labels))).mean() >= 0.3  # 0 where types differ
    predicted = fitted.task_.predict(fitted.model_, frame)
    assert predicted["truth"].tolist() == labels.tolist()
    assert set(predicted["class"]) <= set(labels)
    assert fitted.evaluate(frame) == fitted.evaluate(TEXTS, list(labels))


def test_labels_that_are_no_class_are_refused_in_words():
    for labels in ([0, 1, np.nan] * 12, [None, "a", "b"] * 12):
        with pytest.raises(DataError, match=r"item [13] has no label, and 11 others have none"):
            TextClassifier(**SETTINGS).fit(TEXTS, labels)
    with pytest.raises(DataError, match="different types: 0 in item 1, 'b' in item 2"):
        TextClassifier(**SETTINGS).fit(TEXTS, [0, "b"] * 18)
    with pytest.raises(InputError, match="not as many labels"):
        TextClassifier(**SETTINGS).fit(TEXTS, [0, 1])


def test_words_are_explained_for_any_class(classifier):
    towards, away = (classifier.explain(["a funny film"], label=label) for label in (1, 0))
    assert towards["token"].tolist() == ["a", "funny", "film"]
    assert towards["nats"].idxmax() == away["nats"].idxmin() == 1
    assert classifier.explain(["a funny film"]).equals(towards)


def test_a_run_folder_gives_it_back(classifier):
    loaded = TextClassifier.load(classifier.folder_)
    assert loaded.get_params()["hidden_size"] == 8
    assert loaded.classes_.tolist() == [0, 1]
    assert loaded.score(TEXTS, LABELS) == 1
    np.testing.assert_array_equal(loaded.predict_proba(TEXTS), classifier.predict_proba(TEXTS))


def test_it_goes_on_with_more_texts(classifier, tmp_path):
    longer = TextClassifier.load(classifier.folder_).update(TEXTS[:12], LABELS[:12], epochs=1, folder=tmp_path / "more")
    assert longer.score(TEXTS, LABELS) > 0.9


def test_what_cannot_be(classifier, tmp_path):
    with pytest.raises(NotFittedError):
        TextClassifier().predict(["a"])
    with pytest.raises(DataError, match="only one class"):
        TextClassifier(**SETTINGS).fit(["a", "b"], [1, 1])
    with pytest.raises(DataError, match="not there in training"):
        classifier.evaluate(["a"], [7])
    with pytest.raises(RunError):
        TextClassifier.load(tmp_path)
    assert clone(classifier).get_params() == classifier.get_params()
