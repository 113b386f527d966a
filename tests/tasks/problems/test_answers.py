"""Scores of answers against NumPy and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, mean_squared_error

from gatelab.core.random import generator
from gatelab.tasks.problems.answers import Classes, Number


def test_a_number_is_scored_by_its_error():
    rng = generator(0, "answers")
    out, y = rng.normal(size=(1, 50, 1)), rng.normal(size=(1, 50))
    found = Number().figures(torch.tensor(out), torch.tensor(y))
    assert float(found["MSE"].mean()) == pytest.approx(mean_squared_error(y[0], out[0, :, 0]))
    assert float(found["MAE"].mean()) == pytest.approx(mean_absolute_error(y[0], out[0, :, 0]))
    assert torch.equal(Number().loss(torch.tensor(out), torch.tensor(y)), found["MSE"])


def test_classes_are_scored_at_every_step_and_asked_for_at_the_last():
    rng = generator(1, "answers")
    out, y = rng.normal(size=(6, 30, 4)), rng.integers(4, size=(6, 30))
    kind = Classes(4, asked=2, by="cross-entropy")
    found = kind.figures(torch.tensor(out), torch.tensor(y))
    shares = np.exp(out) / np.exp(out).sum(axis=2, keepdims=True)
    assert float(found["cross-entropy"].mean()) == pytest.approx(log_loss(y.ravel(), shares.reshape(-1, 4)))
    assert float(found["accuracy"].mean()) == pytest.approx(accuracy_score(y[-2:].ravel(), out[-2:].argmax(2).ravel()))
    assert found["accuracy"].shape == found["cross-entropy"].shape == (30,)
    assert [metric.name for metric in kind.metrics] == ["cross-entropy", "accuracy"]
    assert Classes(4).metrics[0].name == "accuracy"
