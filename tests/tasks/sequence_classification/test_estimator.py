import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

import gatelab
from gatelab.core.errors import DataError, RunError
from gatelab.core.random import generator

QUICK = {"hidden_size": 8, "epochs": 25, "learning_rate": 2e-2, "seed": 3}


def waves(count=60, channels=2, longest=12):
    """Slow and fast waves of unequal length beside noise."""
    rng = generator(0, "waves")
    X, y = [], []
    for at in range(count):
        clock = np.arange(rng.integers(6, longest + 1))  # (T,)
        rows = rng.normal(0, 0.15, (len(clock), channels))
        rows[:, 0] += np.sin(clock * (0.4, 1.7)[at % 2] + rng.uniform(0, 6))
        X.append(rows)
        y.append(at % 2 == 1)
    return X, np.array(y)


@pytest.fixture(scope="module")
def data():
    return waves()


@pytest.fixture(scope="module")
def fitted(data):
    return gatelab.SequenceClassifier(**QUICK, split=(0.6, 0.2, 0.2)).fit(*data)


@pytest.mark.slow
def test_is_what_scikit_learn_expects_of_a_classifier():
    quick = {"hidden_size": 8, "epochs": 8, "learning_rate": 5e-2, "batch_size": 16, "patience": None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a check that is skipped says so in a warning
        check_estimator(gatelab.SequenceClassifier(**quick, noise=0.0, dropout=0.0))


def test_learns_sequences_of_unequal_length(fitted, data):
    X, y = data
    assert fitted.score(X, y) > 0.9
    assert fitted.evaluate().keys() >= {"accuracy", "macro F1", "log loss", "calibration error"}
    assert fitted.classes_.tolist() == [False, True], "labels come back as they were given"
    assert set(fitted.predict(X[:5]).tolist()) <= {False, True}
    probability = fitted.predict_proba(X)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    assert probability.shape == (len(X), 2)


@pytest.mark.parametrize("convert", [int, bool, float, str])
def test_labels_of_a_frame_keep_their_type(data, tmp_path, convert):
    X, y = data
    truth = [convert(int(label)) for label in y]
    parts = [pd.DataFrame(rows, columns=["a", "b"]).assign(id=at, label=truth[at]) for at, rows in enumerate(X)]
    frame = pd.concat(parts, ignore_index=True)
    fitted = gatelab.SequenceClassifier(hidden_size=4, epochs=1, folder=tmp_path).fit(frame)
    for classifier in (fitted, gatelab.SequenceClassifier.load(tmp_path)):
        assert classifier.classes_.tolist() == sorted(set(truth))
        assert (classifier.predict(frame) == np.array(truth)).any()
    predicted = fitted.task_.predict(fitted.model_, frame)
    assert predicted["truth"].tolist() == truth


def test_labels_that_are_missing_or_mixed_are_refused(data):
    X, _ = data
    with pytest.raises(DataError, match=r"item 2 has no label, and 29 others have none"):
        gatelab.SequenceClassifier(epochs=1).fit(X, [0.0, np.nan] * 30)
    with pytest.raises(DataError, match="different types"):
        gatelab.SequenceClassifier(epochs=1).fit(X, [0, "b"] * 30)


def test_an_item_does_not_depend_on_its_neighbours(fitted, data):
    X, _ = data
    together = fitted.predict_proba(X)
    alone = np.concatenate([fitted.predict_proba([rows]) for rows in X])
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_says_which_steps_mattered(fitted, data):
    """The class is in the first channel, and so are the reasons; and they add up to what the network says."""
    X, _ = data
    found = fitted.explain(X, label=True)
    assert [values.shape for values in found] == [rows.shape for rows in X]
    sizes = np.concatenate([np.abs(values) for values in found]).sum(axis=0)  # (C,)
    assert sizes[0] > 2 * sizes[1]
    still = [np.tile(fitted.task_.scaling.mean, (len(rows), 1)) for rows in X]
    odds = [np.log(p[:, 1] / p[:, 0]) for p in map(fitted.predict_proba, (X, still))]  # (N,) each
    np.testing.assert_allclose([values.sum() for values in found], odds[0] - odds[1], atol=0.05)


def test_comes_back_from_its_folder_and_through_a_pickle(fitted, data):
    X, _ = data
    wanted = fitted.predict_proba(X)
    loaded = gatelab.SequenceClassifier.load(fitted.folder_)
    np.testing.assert_array_equal(loaded.predict_proba(X), wanted)
    assert loaded.get_params()["hidden_size"] == QUICK["hidden_size"]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(X), wanted)
    with pytest.raises(RunError, match="text-classification"):
        gatelab.TextClassifier.load(fitted.folder_)


def test_takes_a_table_and_predicts_one_without_labels(data):
    X, y = data
    frames = [pd.DataFrame(rows, columns=["x", "y"]).assign(id=f"s{at}", label=("slow", "fast")[int(fast)])
              for at, (rows, fast) in enumerate(zip(X, y, strict=True))]  # fmt: skip
    table = pd.concat(frames, ignore_index=True)
    classifier = gatelab.SequenceClassifier(**QUICK).fit(table)
    assert classifier.classes_.tolist() == ["fast", "slow"]
    new = table.drop(columns="label")[["y", "x", "id"]]  # in another order
    assert (classifier.predict(new) == np.where(y, "fast", "slow")).mean() > 0.9
    with pytest.raises(ValueError, match="'x'"):
        classifier.predict(new.drop(columns="x"))


def test_more_items_refine_it(fitted, data):
    updated = pickle.loads(pickle.dumps(fitted)).update(*waves(40), epochs=2)
    assert updated.score(*data) > 0.9


def test_what_cannot_be_is_refused(fitted, data):
    X, y = data
    with pytest.raises(NotFittedError):
        gatelab.SequenceClassifier().predict(X)
    for refused, message in (
        (lambda: gatelab.SequenceClassifier().fit(X, y[:-1]), "as many labels"),
        (lambda: gatelab.SequenceClassifier().fit(X, np.zeros(len(X), int)), "one class"),
        (lambda: fitted.predict([rows[:, :1] for rows in X]), "channels"),
        (lambda: fitted.predict([X[0], X[1] * np.nan]), "sequence 2"),
        (lambda: fitted.evaluate(X, ["slow"] * len(X)), "not there in training"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            refused()
        assert caught.value.fix
