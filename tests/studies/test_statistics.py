"""Intervals, paired differences and Holm's correction, against scipy and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from gatelab.studies.statistics import (
    Difference,
    Estimate,
    against,
    bootstrap,
    described,
    estimate,
    holm,
    pairwise,
)

numbers = st.floats(-1e3, 1e3, allow_nan=False).map(lambda x: round(x, 3))


@given(st.lists(numbers, min_size=2, max_size=8).filter(lambda values: np.ptp(values) > 1e-2))
def test_interval_is_that_of_statsmodels(values):
    found = estimate(values)
    low, high = DescrStatsW(values).tconfint_mean(0.05)
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(values), low, high))


def test_one_value_has_no_interval():
    assert estimate([7.0]) == Estimate(7.0, None, None, 1)


@given(st.lists(st.tuples(numbers, numbers), min_size=3, max_size=8))
def test_pairs_are_tested_as_scipy_tests_them(pairs):
    first, second = np.array(pairs).T
    if np.ptp(first - second) < 1e-2:
        return
    (difference,) = pairwise({"a": dict(enumerate(first)), "b": dict(enumerate(second))})
    oracle = stats.ttest_rel(first, second)
    interval = oracle.confidence_interval(0.95)
    assert difference.p == pytest.approx(oracle.pvalue)
    assert (difference.units.low, difference.units.high) == pytest.approx((interval.low, interval.high))
    if second.mean() > 0:
        assert difference.percent.mean == pytest.approx(100 * (first - second).mean() / second.mean())


def test_pairs_use_the_seeds_that_both_finished():
    cells = {"a": {1: 1.0, 2: 2.0, 3: 3.5}, "b": {2: 4.0, 3: 5.0, 4: 9.0}}
    (difference,) = pairwise(cells)
    assert difference.units.mean == pytest.approx(np.mean([2.0 - 4.0, 3.5 - 5.0]))
    assert difference.units.count == 2
    assert pairwise({"a": {1: 1.0}, "b": {2: 1.0}}) == []


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(1e-6, 1)), max_size=6))
def test_holm_is_that_of_statsmodels_and_leaves_untested_pairs_alone(p_values):
    zero = Estimate(0.0, None, None, 1)
    corrected = [d.p_holm for d in holm([Difference("a", "b", zero, 1.0, p) for p in p_values])]
    tested = [p for p in p_values if p is not None]
    assert [p for p in corrected if p is not None] == pytest.approx(
        list(multipletests(tested, method="holm")[1]) if tested else []
    )
    assert [p is None for p in corrected] == [p is None for p in p_values]


def test_equal_differences_are_no_division_by_zero():
    same, shifted = {1: 1.0, 2: 2.0}, {1: 1.5, 2: 2.5}
    assert pairwise({"a": same, "b": same})[0].p == 1.0
    assert pairwise({"a": same, "b": shifted})[0].p == 0.0


def test_holm_makes_three_pairs_harder_than_one():
    rng = np.random.default_rng(0)
    cells = {name: dict(enumerate(rng.normal(mean, 1, 5))) for name, mean in [("a", 0), ("b", 1), ("c", 2)]}
    for alone, together in zip([pairwise({k: cells[k] for k in pair})[0] for pair in ("ab", "ac", "bc")],
                               pairwise(cells), strict=True):  # fmt: skip
        assert together.p == alone.p
        assert together.p_holm >= alone.p_holm


def test_a_baseline_is_one_fixed_value():
    values = {1: 2.0, 2: 3.0, 3: 2.5}
    (difference,) = against({"gru": values}, "naive", 4.0)
    assert difference.p == pytest.approx(stats.ttest_1samp(list(values.values()), 4.0).pvalue)
    assert difference.percent.mean == pytest.approx(-37.5)


def test_a_reference_that_is_not_positive_has_no_percent():
    assert against({"gru": {1: 1.0, 2: 2.0}}, "naive", -4.0)[0].percent is None


def test_a_difference_is_the_same_from_the_other_side():
    there = against({"gru": {1: 1.0, 2: 2.0}}, "naive", 2.0)[0]
    back = there.seen_from("naive")
    assert there.seen_from("gru") is there
    assert (back.a, back.b, back.units.mean, back.p) == ("naive", "gru", 0.5, there.p)
    assert (there.percent.mean, back.percent.mean) == pytest.approx((-25.0, 100 * 0.5 / 1.5))


def test_scaling_by_a_negative_number_turns_the_interval_round():
    assert Estimate(1.0, 0.5, 2.0, 3).scaled(-2) == Estimate(-2.0, -4.0, -1.0, 3)


@given(st.lists(numbers, min_size=3, max_size=9))
def test_bootstrap_is_scipys_percentile_interval(values):
    found = bootstrap(values)
    oracle = stats.bootstrap((values,), np.median, method="percentile", n_resamples=9999, rng=np.random.default_rng(1))
    gap = max(np.diff(np.sort(values)))  # resampled medians are values or halfway between two
    assert found.mean == np.median(values)
    assert min(values) <= found.low <= found.mean <= found.high <= max(values)
    interval = oracle.confidence_interval
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=gap + 1e-9)


def test_bootstrap_covers_the_median_about_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(size=(300, 12))
    covered = [found.low <= 0 <= found.high for found in map(bootstrap, draws)]
    assert 0.88 <= np.mean(covered) <= 0.99


def test_two_values_are_too_few_to_resample():
    assert bootstrap([1.0, 2.0]) == Estimate(1.5, None, None, 2)


def test_described_leaves_out_what_is_not_finite():
    found = described({1: 1.0, 2: np.nan, 3: 3.0})
    assert (found["mean"], found["count"], found["values"]) == (2.0, 2, {"1": 1.0, "3": 3.0})
    assert described({1: np.inf}) is None
