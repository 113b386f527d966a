from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gatelab.studies.items import over_items


def correlated(rng: np.random.Generator, items: int, memory: float) -> np.ndarray:
    noise, values = rng.normal(size=items), np.zeros(items)
    for t in range(1, items):
        values[t] = memory * values[t - 1] + noise[t]
    return values


@pytest.mark.parametrize("memory", [0.0, 0.8])
def test_equal_methods_are_told_apart_about_one_time_in_twenty(memory):
    rng = np.random.default_rng(0)
    runs = [over_items([10 + correlated(rng, 400, memory)], [np.full(400, 10.0)]) for _ in range(400)]
    assert 0.02 < np.mean([run.sure for run in runs]) < 0.12


def test_a_plain_t_test_would_be_far_too_sure_of_correlated_items():
    rng = np.random.default_rng(1)
    found = [stats.ttest_1samp(correlated(rng, 400, 0.8), 0).pvalue < 0.05 for _ in range(200)]
    assert np.mean(found) > 0.3


def test_for_independent_items_the_interval_is_about_that_of_a_t_test():
    rng = np.random.default_rng(2)
    a, b = 10 + rng.normal(size=3000), np.full(3000, 10.0)
    found = over_items([a], [b])
    half = stats.t.ppf(0.975, 2999) * (a - b).std(ddof=1) / np.sqrt(3000) * 10
    assert found.percent == pytest.approx(100 * (a.mean() - 10) / 10)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.2)


def test_a_true_lead_is_found_and_seeds_are_averaged():
    rng = np.random.default_rng(3)
    base = 5 + correlated(rng, 500, 0.5) ** 2
    found = over_items([base * 0.8 + rng.normal(0, 0.1, 500) for _ in range(3)], [base])
    assert found.sure
    assert found.percent == pytest.approx(-20, abs=1)


def test_nothing_is_said_of_few_items_or_of_others():
    assert over_items([np.ones(10)], [np.ones(10)]) is None
    assert over_items([np.ones(30)], [np.ones(31)]) is None
    assert over_items([np.ones(30)], [np.zeros(30)]) is None
