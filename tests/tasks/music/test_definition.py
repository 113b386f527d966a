"""What "NLL per step" is: by hand, beside SciPy and scikit-learn, and with padding that must not matter."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bernoulli
from sklearn.metrics import jaccard_score, precision_score, recall_score

from gatelab.core.config import ModelConfig
from gatelab.core.errors import InputError
from gatelab.tasks.music import scores
from gatelab.tasks.music.batches import RollBatch
from gatelab.tasks.music.config import MusicConfig
from gatelab.tasks.music.rolls import KEYS
from gatelab.tasks.music.task import Music

THREE_STEPS = [[60], [60, 64], [67]]
FOUR_STEPS = [[72], [], [72], [71, 74]]


class Fixed(torch.nn.Module):
    """Expects C4 with probability 3/4, E4 with 1/4 and every other key with 1/100, whatever it read."""

    def __init__(self):
        super().__init__()
        p = torch.full((KEYS,), 0.01)
        p[60 - 21], p[64 - 21] = 0.75, 0.25
        self.logits = torch.nn.Parameter(torch.logit(p))

    def forward(self, batch: RollBatch):
        read = batch.read
        return read._replace(data=self.logits.expand(len(read.data), -1))


def open_on(*pieces, **settings) -> Music:
    return Music.open({"train": pieces, "valid": pieces, "test": pieces}, MusicConfig(**settings))


def test_the_loss_of_a_step_by_hand():
    """Steps 2 and 3 of one piece and 2 to 4 of the other are scored, each alike, whichever piece it is in."""
    rest = -math.log(0.99)
    silence = -math.log(1 - 0.75) - math.log(1 - 0.25) + 86 * rest
    c4_e4 = -math.log(0.75) - math.log(0.25) + 86 * rest
    one_other = -math.log(1 - 0.75) - math.log(1 - 0.25) - math.log(0.01) + 85 * rest
    two_others = -math.log(1 - 0.75) - math.log(1 - 0.25) - 2 * math.log(0.01) + 84 * rest
    steps = [c4_e4, one_other, silence, one_other, two_others]

    task = open_on(THREE_STEPS, FOUR_STEPS)
    evaluation = task.evaluate(Fixed(), "test")
    np.testing.assert_allclose(evaluation.arrays["error_by_item"], steps, rtol=1e-6)
    assert evaluation.metrics["NLL"] == pytest.approx(sum(steps) / 5)
    assert evaluation.items == 5
    (batch,) = task.batches("test", 2)
    loss = task.loss(Fixed(), batch)
    assert float(loss.mean.detach()) == pytest.approx(sum(steps) / 5)
    assert loss.weight == 5


def test_the_first_step_is_scored_when_asked_for():
    given_first = open_on(THREE_STEPS).evaluate(Fixed(), "test").arrays["error_by_item"]
    scored_first = open_on(THREE_STEPS, first_step=True).evaluate(Fixed(), "test").arrays["error_by_item"]
    np.testing.assert_array_equal(scored_first[1:], given_first)
    c4 = -math.log(0.75) - math.log(1 - 0.25) - 86 * math.log(0.99)
    assert scored_first[0] == pytest.approx(c4, rel=1e-6)


def test_metrics_are_those_of_scipy_and_scikit_learn():
    rng = np.random.default_rng(0)
    logits, truth = rng.normal(0, 3, (40, KEYS)), (rng.random((40, KEYS)) < 0.3).astype(np.uint8)
    found = scores.score(logits, truth, 8)
    p = 1 / (1 + np.exp(-logits))
    assert found.metrics["NLL"] == pytest.approx(-bernoulli.logpmf(truth, p).sum(axis=1).mean())
    assert found.arrays["nll_by_key"].sum() == pytest.approx(found.metrics["NLL"])
    expected = {"accuracy": jaccard_score, "precision": precision_score, "recall": recall_score}
    for name, function in expected.items():
        assert found.metrics[name] == pytest.approx(function(truth.ravel(), (p >= 0.5).ravel()))


def test_impossible_odds_stay_finite():
    truth = np.ones((1, KEYS), np.uint8)
    found = scores.score(np.full((1, KEYS), -1000.0), truth, 1)
    assert found.metrics["NLL"] == pytest.approx(1000 * KEYS)
    assert found.metrics["accuracy"] == 0


@pytest.fixture(scope="module")
def task() -> Music:
    return open_on(THREE_STEPS, FOUR_STEPS)


@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 7), min_size=2, max_size=4),
    filling=st.sampled_from([float("nan"), float("inf"), -3.0, 1e30]),
    cell=st.sampled_from(["rnn", "lstm", "gru"]),
)
def test_padding_is_inert(task, lengths, filling, cell):
    """What lies after the end of a piece moves neither loss nor gradient, nor do the pieces beside it."""
    rng = np.random.default_rng(0)
    rolls = [(rng.random((length, KEYS)) < 0.1).astype(np.uint8) for length in lengths]
    torch.manual_seed(0)
    model = task.build(ModelConfig(cell, hidden_size=5)).double()

    def loss_of(batch: RollBatch):
        model.zero_grad()
        loss = task.loss(model, RollBatch(batch.rolls.double(), batch.lengths))
        loss.mean.backward()
        return loss, [parameter.grad.clone() for parameter in model.parameters()]

    batch = RollBatch.of(rolls)
    after = torch.arange(len(batch.rolls))[:, None] > batch.lengths  # (T + 1, B)
    filled = RollBatch(torch.where(after[..., None], filling, batch.rolls), batch.lengths)
    loss, gradients = loss_of(batch)
    other, other_gradients = loss_of(filled)
    assert torch.equal(loss.mean, other.mean)
    assert all(torch.equal(a, b) for a, b in zip(gradients, other_gradients, strict=True))

    alone = [loss_of(RollBatch.of([roll]))[0] for roll in rolls]
    assert loss.weight == sum(one.weight for one in alone)
    weighted = sum(one.mean * one.weight for one in alone) / loss.weight
    torch.testing.assert_close(loss.mean, weighted, rtol=1e-10, atol=0)


def test_the_prediction_of_a_step_has_not_seen_it(task):
    rng = np.random.default_rng(1)
    roll = (rng.random((9, KEYS)) < 0.1).astype(np.uint8)
    model = task.build(ModelConfig("lstm", hidden_size=6))
    (before,) = task.log_odds_of(model, [roll])
    for step in range(1, 9):
        altered = roll.copy()
        altered[step] = 1 - altered[step]
        (after,) = task.log_odds_of(model, [altered])
        np.testing.assert_array_equal(after[:step], before[:step])
        if step < 8:
            assert not np.array_equal(after[step], before[step])


def test_reading_backwards_is_refused(task):
    with pytest.raises(InputError, match="bidirectional"):
        task.build(ModelConfig("gru", bidirectional=True))


def test_an_untrained_network_knows_how_often_keys_sound(task):
    model = task.build(ModelConfig("gru", hidden_size=4))
    torch.nn.init.zeros_(model.head.weight)
    untrained = task.evaluate(model, "train").metrics["NLL"]
    assert untrained == pytest.approx(task.baselines()["note frequencies"]("train").metrics["NLL"], rel=1e-6)
