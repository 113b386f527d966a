"""The temperature of logits."""

import numpy as np
import pytest
from scipy.special import softmax

from gatelab.core.random import generator
from gatelab.tasks.classifying.calibration import fit_temperature, log_loss
from gatelab.tasks.classifying.scores import calibration_error


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_that_labels_were_drawn_with_is_found(temperature):
    rng = generator(0, "calibration")
    logits = rng.normal(0, 3, (20_000, 4))  # (N, K)
    chances = softmax(logits / temperature, axis=1).cumsum(axis=1)
    truth = (rng.random((len(logits), 1)) > chances).sum(axis=1)  # (N,)
    found = fit_temperature(logits, truth)
    assert found == pytest.approx(temperature, rel=0.05)
    sure = softmax(logits / found, axis=1)
    assert calibration_error(sure.argmax(axis=1) == truth, sure.max(axis=1)) < 0.02
    assert log_loss(logits / found, truth) <= log_loss(logits, truth) + 1e-6


def test_a_few_right_answers_make_nobody_certain():
    logits = np.array([[2.0, 0.0]] * 5)
    assert 0.6 < fit_temperature(logits, np.zeros(5, int)) < 1


def test_one_bin_by_hand():
    right, confidence = np.array([True, False, True]), np.array([0.98, 0.96, 0.10])
    assert calibration_error(right, confidence) == pytest.approx((2 * abs(0.5 - 0.97) + abs(1 - 0.10)) / 3)
