"""Text classification: words in, classes and reasons out."""

import numpy as np
import pandas as pd
import pytest
import torch

import gatelab.nn
from gatelab.core.config import ModelConfig, TrainingConfig
from gatelab.core.errors import DataError
from gatelab.core.random import generator
from gatelab.data.texts import Texts
from gatelab.nn.attribution import class_log_odds
from gatelab.tasks.classifying.batches import ClassBatch
from gatelab.tasks.text_classification.config import TextConfig
from gatelab.tasks.text_classification.predict import explain
from gatelab.tasks.text_classification.task import TextClassification
from gatelab.training import fit

GOOD, BAD = ("fine", "lovely", "funny"), ("dull", "stale", "sad")
SMALL = {"embedding": 8, "word_dropout": 0.1, "embedding_dropout": 0.0, "min_count": 1}


def reviews(count=120):
    rng = generator(0, "reviews")
    texts = []
    for at in range(count):
        words = [*rng.choice(["the", "film", "is", "a"], rng.integers(0, 6)), rng.choice((GOOD, BAD)[at % 2])]
        texts.append(" ".join(rng.permutation(words)))
    return texts, ["good", "bad"] * (count // 2)


@pytest.fixture(scope="module")
def task():
    return TextClassification.open(reviews(), TextConfig(**SMALL))


@pytest.fixture(scope="module")
def fitted(task, tmp_path_factory):
    training = TrainingConfig(epochs=10, batch_size=8, learning_rate=1e-2)
    folder = tmp_path_factory.mktemp("texts") / "run"
    return fit(task, ModelConfig("gru", hidden_size=8, bidirectional=True), training, folder=folder)


def test_it_learns_which_words_tell(task, fitted):
    assert task.evaluate(fitted.model, "test").metrics["accuracy"] == 1
    told = explain(task, fitted.model, Texts.of(["the film is lovely", "a dull film"]), np.array([1, 0]))
    strongest = told.loc[told.groupby("text")["nats"].idxmax(), "token"]
    assert strongest.tolist() == ["lovely", "dull"]
    assert [("the film is lovely", "a dull film")[row.text][row.start : row.end] for row in told.itertuples()] == (
        told["token"].tolist()
    )


def test_contributions_are_complete(task, fitted):
    texts = ["the film is lovely", "sad", "", "fine fine dull a film is the"]
    x = task.encode(Texts.of(texts))
    classes = np.array([1, 0, 1, 1])
    sums = [values.sum() for values in task.contributions(fitted.model, x, classes)]
    unknown = [np.zeros_like(rows) for rows in x]
    changes = []
    for at, (rows, none) in enumerate(zip(x, unknown, strict=True)):
        odds = [
            class_log_odds(fitted.model(ClassBatch.of([ids], classes[[at]], np.array([0]))) / fitted.model.temperature,
                           torch.from_numpy(classes[[at]]))
            for ids in (rows, none)
        ]  # fmt: skip
        changes.append(float((odds[0] - odds[1]).detach()))
    np.testing.assert_allclose(sums, changes, atol=0.011)
    assert np.abs(changes).max() > 0.5


def test_what_lies_under_the_padding_changes_nothing(task, fitted):
    x = task.encode(Texts.of(["a fine film", "sad"]))
    batch = ClassBatch.of(x, np.array([0, 0]), np.arange(2))
    other = batch.x.clone()
    other[1:, 1] = 3
    with torch.no_grad():
        found = fitted.model(ClassBatch(other, batch.lengths, batch.y))
        assert torch.equal(found, fitted.model(batch))
    assert not torch.equal(other, batch.x)


def test_predictions_say_what_was_read_and_why(task, fitted, tmp_path):
    path = tmp_path / "new.csv"
    pd.DataFrame({"text": ["a lovely film", "so it goes"], "label": ["good", "bad"]}).to_csv(path, index=False)
    found = task.predict(fitted.model, path)
    assert found["truth"].tolist() == ["good", "bad"]
    assert found["class"][0] == "good"
    assert "lovely +" in found["because of"][0]
    np.testing.assert_allclose(found[["p(bad)", "p(good)"]].sum(axis=1), 1)
    (tmp_path / "lines").write_text("a lovely film\n\nsad\n", encoding="utf-8")
    assert task.predict(fitted.model, tmp_path / "lines")["text"].tolist() == ["a lovely film", "", "sad"]


def test_every_gate_of_every_word_can_be_read(task, fitted):
    x = task.encode(Texts.of(["the film is lovely", "sad"]))
    batch = ClassBatch.of(x, np.array([1, 0]), np.arange(2))
    with gatelab.nn.trace(fitted.model) as trace:
        traced = fitted.model(batch)
    update = trace["encoder"]["l0"]["z"]  # (T, B, H)
    assert update.shape == (4, 2, 8)
    assert torch.isnan(update[1:, 1]).all()
    assert ((update[:, 0] > 0) & (update[:, 0] < 1)).all()
    torch.testing.assert_close(traced, fitted.model(batch), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tokens", ["characters", "subwords"])
def test_characters_and_subwords(tokens):
    task = TextClassification.open(reviews(40), TextConfig(tokens=tokens, vocabulary=40, **SMALL))
    assert 2 < len(task.tokenizer) <= 40
    assert task.predict(task.build(ModelConfig()), ["lovely"])["class"][0] in ("good", "bad")


def test_word_dropout_hides_words_in_training_alone():
    task = TextClassification.open(reviews(40), TextConfig(**{**SMALL, "word_dropout": 0.5}))
    front, _ = task.front()
    ids = torch.full((2_000,), 5)
    hidden = (front(ids) == front.table.weight[0]).all(dim=1).float().mean()
    assert 0.4 < float(hidden) < 0.6
    assert (front.eval()(ids) == front.table.weight[5]).all()


def test_vectors_start_the_words_they_are_for(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("lovely 1 2 3\ndull -1 -2 -3\nunused 0 0 0\n", encoding="utf-8")
    task = TextClassification.open(reviews(40), TextConfig(vectors=str(path), **SMALL))
    model = task.build(ModelConfig())
    number = int(task.tokenizer.encode("lovely")[0])
    assert model.front.table.weight[number].tolist() == [1, 2, 3]
    path.unlink()  # a trained model needs the file no more
    restored = TextClassification.restore(task.config, task.state())
    restored.build(ModelConfig()).load_state_dict(model.state_dict())


def test_baselines_know_the_words_too(task):
    scored = {name: evaluate("test").metrics["accuracy"] for name, evaluate in task.baselines().items()}
    assert scored["TF-IDF + logistic regression"] == scored["naive Bayes"] == 1
    assert scored["majority"] == 0.5


def test_numbers_over_time_are_no_labels(tmp_path):
    frame = pd.DataFrame({"t": pd.date_range("2024-01-01", periods=60), "y": np.sin(np.arange(60.0))})
    frame.to_csv(tmp_path / "a.csv", index=False)
    for label in ("t", "y"):
        with pytest.raises(DataError, match=r"(?s)no labels: 60 different ones in 60 items.*--label.*fit forecasting"):
            TextClassification.open(tmp_path / "a.csv", TextConfig(label=label))
