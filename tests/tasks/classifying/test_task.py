"""What text and sequence classification share, on a task of numbers that tells whether a mark stood early or late."""

import numpy as np
import pytest
import torch
from torch import nn

from gatelab.core.config import ModelConfig, TrainingConfig
from gatelab.core.errors import DataError
from gatelab.core.random import generator
from gatelab.data.ragged import Ragged
from gatelab.tasks.classifying.config import ClassificationConfig
from gatelab.tasks.classifying.task import Classification, Labelled
from gatelab.training import fit


class Marks(Classification):
    name = "marks"

    @classmethod
    def read(cls, source, config):
        rows, labels = source
        return Labelled(Ragged.of(rows, np.float32, (1,)), labels, [f"row {at}" for at in range(len(labels))])

    @classmethod
    def learn(cls, items, labels, config):
        return {"mean": float(np.mean([rows.mean() for rows in items]))}

    def encode(self, items):
        return items

    def front(self):
        return nn.Identity(), 1

    def predict(self, model, source, *, future=None):
        raise NotImplementedError


def marks(count=90, classes=("early", "late", "never")):
    rng = generator(0, "marks")
    labels = [classes[at] for at in rng.integers(len(classes), size=count)]
    rows = []
    for label in labels:
        row = rng.normal(0, 0.1, (int(rng.integers(4, 12)), 1))
        row[{"early": 0, "late": -1}.get(label, slice(0))] += 3
        rows.append(row)
    return rows, labels


@pytest.fixture(scope="module")
def task():
    return Marks.open(marks(), ClassificationConfig())


@pytest.fixture(scope="module")
def fitted(task, tmp_path_factory):
    training = TrainingConfig(epochs=15, batch_size=8, learning_rate=2e-2)
    folder = tmp_path_factory.mktemp("marks") / "run"
    return fit(task, ModelConfig("gru", hidden_size=8, bidirectional=True), training, folder=folder)


def test_it_learns(task, fitted):
    found = task.evaluate(fitted.model, "test")
    majority = task.baselines()["majority"]("test")
    assert found.metrics["accuracy"] > 0.85 > majority.metrics["accuracy"]
    assert found.items == majority.items == len(task.parts["test"])


def test_scores_stand_in_the_order_of_the_items(task, fitted):
    examples = task.parts["train"]
    one_by_one = np.concatenate([task.log_probabilities(fitted.model, examples.x[[at]]) for at in range(10)])
    np.testing.assert_allclose(task.log_probabilities(fitted.model, examples.x)[:10], one_by_one, atol=1e-5)


def test_the_temperature_is_that_of_the_validation_part_and_is_kept(task, fitted):
    examples = task.parts["validation"]
    items = np.arange(len(examples))

    def loss(temperature):
        fitted.model.temperature.fill_(temperature)
        return -task.log_probabilities(fitted.model, examples.x)[items, examples.y].mean()

    def cost(temperature):
        return len(examples) * loss(temperature) + (np.log(temperature) / 0.5) ** 2 / 2

    kept = float(fitted.model.temperature)
    assert kept != 1
    assert all(cost(kept) < cost(kept * factor) for factor in (0.97, 1.03))
    fitted.model.temperature.fill_(kept)


def test_balanced_classes_count_alike(task):
    rows, labels = marks(120)
    few = [at for at, label in enumerate(labels) if label != "late" or at % 8 == 0]
    unequal = [rows[at] for at in few], [labels[at] for at in few]
    balanced = Marks.open(unequal, ClassificationConfig(class_weights="balanced"))
    model = balanced.build(ModelConfig())
    total = np.zeros(3)
    for batch in balanced.batches("train", 4):
        for at in range(batch.size):
            total[int(batch.y[at])] += balanced.loss(model, batch.take(slice(at, at + 1))).weight
    np.testing.assert_allclose(total, total.mean())
    assert float(model.head.bias.detach().std()) < 1e-6


def test_an_untrained_network_knows_how_frequent_classes_are(task):
    model = task.build(ModelConfig())
    with torch.no_grad():
        model.head.weight.zero_()
    found = task.evaluate(model, "test").metrics["log loss"]
    assert found == pytest.approx(task.baselines()["majority"]("test").metrics["log loss"])


def test_one_class_alone_is_refused():
    rows, _ = marks(10)
    with pytest.raises(DataError, match="only one class"):
        Marks.open((rows, ["same"] * 10), ClassificationConfig())


def test_labels_unseen_in_training_are_refused_by_name(task):
    rows, labels = marks(10)
    with pytest.raises(DataError, match=r"item 4 .*'new'") as caught:
        task.reopen((rows, [*labels[:3], "new", *labels[4:]]), "evaluate")
    assert "early, late, never" in caught.value.expected


def test_too_few_items_say_which_part_has_none():
    rows, _ = marks(3)
    with pytest.raises(DataError, match="none for the validation part"):
        Marks.open((rows, ["a", "b", "a"]), ClassificationConfig())
