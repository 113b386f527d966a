"""Baselines against counting by hand and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from gatelab.tasks.music import baselines
from gatelab.tasks.music.baselines import Pairs
from gatelab.tasks.music.config import MusicConfig
from gatelab.tasks.music.rolls import KEYS
from gatelab.tasks.music.task import Music

PLAYED = range(30, 42)


@pytest.fixture(scope="module")
def rolls() -> list[np.ndarray]:
    """Pieces in which a key tends to go on, and to be followed by its neighbour."""
    rng, found = np.random.default_rng(0), []
    for length in (40, 25, 60, 33):
        roll = np.zeros((length, KEYS), np.uint8)
        for step in range(1, length):
            pull = -2.5 + 1.8 * roll[step - 1] + 1.2 * np.roll(roll[step - 1], 1)
            roll[step, PLAYED] = rng.random(len(PLAYED)) < expit(pull[PLAYED])
        found.append(roll)
    return found


@pytest.fixture(scope="module")
def train(rolls) -> Pairs:
    return Pairs.of(rolls[:3])


def steps(rolls):
    return [(roll[at], roll[at + 1]) for roll in rolls for at in range(len(roll) - 1)]


def test_pairs_never_cross_from_one_piece_to_the_next(rolls, train):
    expected = steps(rolls[:3])
    assert len(train.before) == len(expected) == 39 + 24 + 59
    for n, (before, after) in enumerate(expected):
        np.testing.assert_array_equal(train.before[n], before)
        np.testing.assert_array_equal(train.after[n], after)


def test_frequencies_and_chains_are_counts(rolls, train):
    often, chain = baselines.frequencies(train), baselines.persistence(train)
    probe = (np.arange(2 * KEYS).reshape(2, KEYS) % 3 == 0).astype(np.uint8)
    for key in (0, 30, 35, 41):
        followed = [after[key] for _, after in steps(rolls[:3])]
        expected = (sum(followed) + 0.5) / (len(followed) + 1)
        np.testing.assert_allclose(expit(often(probe)[:, key]), expected)
        for row in range(2):
            seen = [after[key] for before, after in steps(rolls[:3]) if before[key] == probe[row, key]]
            assert expit(chain(probe)[row, key]) == pytest.approx((sum(seen) + 0.5) / (len(seen) + 1))


@pytest.mark.parametrize("penalty", [0.3, 10.0])
def test_logistic_regression_is_that_of_scikit_learn(rolls, train, penalty):
    counts = baselines._Counts.of(train)
    assert len(counts.chords) < len(train.before)
    weights = counts.fitted(penalty, np.zeros((KEYS + 1, KEYS)))
    for key in (30, 36, 41):
        other = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=1000).fit(train.before, train.after[:, key])
        ours = expit(train.before @ weights[:-1, key] + weights[-1, key])
        np.testing.assert_allclose(ours, other.predict_proba(train.before)[:, 1], atol=5e-3)


def test_the_penalty_is_chosen_on_the_validation_part(rolls, train):
    validation, guess = Pairs.of(rolls[3:]), None
    guess = baselines.logistic(train, validation)
    logits = guess(validation.before)
    reached = float((np.logaddexp(0, logits) - logits * validation.after).sum(axis=1).mean())
    counts = baselines._Counts.of(train)
    for penalty in baselines._PENALTIES:
        weights = counts.fitted(penalty, np.zeros((KEYS + 1, KEYS)))
        assert reached <= baselines.nll(weights, validation) + 0.02


def test_each_baseline_is_better_than_the_one_that_knows_less(rolls):
    task = Music.open({"train": rolls[:2], "valid": rolls[2:3], "test": rolls[3:]}, MusicConfig())
    names = ["chance", "note frequencies", "note goes on", "logistic regression"]
    assert list(task.baselines()) == names
    reached = [task.baselines()[name]("train").metrics["NLL"] for name in names]
    assert reached[0] == pytest.approx(KEYS * math.log(2))
    assert reached == sorted(reached, reverse=True)
    assert list(task.reopen(rolls, "evaluate").baselines()) == ["chance"]
