from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gatelab.tasks.forecasting import scores

LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)


def scored(seed: int = 0, gaps: bool = True) -> scores.Scored:
    rng = np.random.default_rng(seed)
    truth = rng.normal(10, 3, (4, 50, 2))
    if gaps:
        truth[rng.random(truth.shape) < 0.2] = np.nan
    point = np.full(truth.shape, 10.0)
    quantiles = 10 + 3 * stats.norm.ppf(LEVELS) * np.ones((*truth.shape, 1))
    return scores.Scored(point, quantiles, truth, np.full((50, 2), 3.0), np.full((50, 2), 2.0))


def test_metrics_by_hand_where_truth_is_missing():
    found, data = scores.score(scored(), LEVELS), scored()
    error = (data.truth - data.point)[np.isfinite(data.truth)]
    truth = data.truth[np.isfinite(data.truth)]
    assert found["MAE"] == pytest.approx(np.abs(error).mean())
    assert found["RMSE"] == pytest.approx(np.sqrt((error**2).mean()))
    assert found["MASE"] == pytest.approx(np.abs(error).mean() / 2)
    assert found["MSE standardised"] == pytest.approx((error**2).mean() / 9)
    assert found["sMAPE"] == pytest.approx((200 * np.abs(error) / (np.abs(truth) + 10)).mean())
    inside = np.abs(truth - 10) <= 3 * stats.norm.ppf(0.975)
    assert found["coverage 95%"] == pytest.approx(inside.mean())


def test_crps_of_many_quantiles_is_that_of_the_normal_distribution():
    levels = np.linspace(0.001, 0.999, 999)
    truth = np.array([0.3, -1.2, 2.0])
    pinball = [
        np.mean(np.maximum(p * (truth - q), (p - 1) * (truth - q)))
        for p, q in zip(levels, stats.norm.ppf(levels), strict=True)
    ]
    # Gneiting & Raftery 2007, eq. 21
    exact = truth * (2 * stats.norm.cdf(truth) - 1) + 2 * stats.norm.pdf(truth) - 1 / np.sqrt(np.pi)
    assert scores.crps(np.array(pinball), levels) == pytest.approx(exact.mean(), rel=2e-3)


def test_coverage_of_a_true_distribution_is_nominal():
    rng = np.random.default_rng(1)
    truth = rng.normal(0, 1, (1, 20_000, 1))
    data = scores.Scored(
        np.zeros_like(truth),
        np.ones((*truth.shape, 1)) * stats.norm.ppf(LEVELS),
        truth,
        np.ones((20_000, 1)),
        np.ones((20_000, 1)),
    )
    found = scores.score(data, LEVELS)
    for nominal in (0.5, 0.8, 0.95):
        assert found[scores.coverage_name(nominal)] == pytest.approx(nominal, abs=0.01)


def test_error_by_horizon_and_window_leave_missing_truth_out():
    data = scored()
    data.truth[2] = np.nan
    by_step = scores.by_horizon(data)
    assert by_step.shape == (4, 2)
    assert np.isnan(by_step[2]).all()
    assert by_step[0, 0] == pytest.approx(np.nanmean(np.abs(data.truth[0, :, 0] - 10)))
    error = np.abs(data.truth[:, 3] - 10)  # (K, O)
    assert scores.by_window(data, "MAE")[3] == pytest.approx(np.nanmean(error))
    assert scores.by_window(data, "MASE")[3] == pytest.approx(np.nanmean(error / data.naive_error[3]))
    assert scores.by_window(data, "RMSE")[3] == pytest.approx(np.nanmean(error) / 3)


def test_the_errors_of_windows_are_in_the_unit_of_the_metric_they_are_compared_by():
    """Else a method may win by the one and lose by the other: errors of a large series, and of all series alike."""
    data = scored()
    data.truth[:] = np.nan_to_num(data.truth, nan=9.0)  # with gaps, windows count alike and not their steps
    whole = scores.score(data, LEVELS)
    for metric in ("MAE", "MASE"):
        assert scores.by_window(data, metric).mean() == pytest.approx(whole[metric])


def test_naive_error_falls_back_to_one_step_and_to_one():
    raw = np.array([[1.0], [2.0], [4.0], [7.0]])
    assert scores.naive_error(raw, 2) == pytest.approx([4.0])
    assert scores.naive_error(raw, 24) == pytest.approx([2.0])
    assert scores.naive_error(np.ones((4, 1)), 2) == pytest.approx([1.0])
    assert scores.naive_error(raw[:1], 2) == pytest.approx([1.0])


def test_the_metric_to_compare_by_comes_first():
    assert scores.metrics_of(["load"], "CRPS")[0].name == "CRPS"
    texts = {metric.name: metric.text for metric in scores.metrics_of(["load"], "MAE")}
    assert texts["MAE"].endswith("in the units of load")
    assert "units" not in texts["MASE"]
    assert "units" not in scores.metrics_of(["a", "b"], "MAE")[0].text
