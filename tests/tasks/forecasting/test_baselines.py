"""Every baseline against a loop that looks at one origin at a time and at nothing later."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from statsmodels.tsa.statespace.exponential_smoothing import ExponentialSmoothing
from statsmodels.tsa.statespace.sarimax import SARIMAX

from gatelab.tasks.forecasting import baselines, statespace
from gatelab.tasks.forecasting.features import Prepared
from gatelab.tasks.forecasting.windows import Windows


def windows_over(raws: list[np.ndarray], lookback: int = 6, horizon: int = 5) -> Windows:
    prepared, train, validation, test = [], [], [], []
    for number, raw in enumerate(raws):
        centre, deviation = np.nanmean(raw, axis=0), np.nanstd(raw, axis=0)
        seen, rows = np.isfinite(raw), len(raw)
        prepared.append(
            Prepared(
                id=str(number), stamps=pd.RangeIndex(rows),
                target=np.where(seen, (raw - centre) / deviation, 0).astype(np.float32),
                seen=seen, past=np.zeros((rows, 0), np.float32), known=np.zeros((rows, 0), np.float32),
                shown=seen.any(axis=1), raw=raw, centre=centre, deviation=deviation,
            )
        )  # fmt: skip
        train.append((0, rows // 2))
        validation.append((rows // 2, 3 * rows // 4))
        test.append((3 * rows // 4, rows))
    return Windows(prepared, {"train": train, "validation": validation, "test": test}, lookback, horizon, "last")


@pytest.fixture
def windows() -> Windows:
    rng = np.random.default_rng(0)
    raws = [np.cumsum(rng.normal(size=(rows, 2)), axis=0) for rows in (80, 64)]
    raws[0][rng.random(raws[0].shape) < 0.15] = np.nan
    raws[0][0] = 1.0
    return windows_over(raws)


def known(windows: Windows, origin: int, o: int) -> np.ndarray:
    number, row = windows.locate(np.array([origin]))
    return windows.series[number[0]].raw[: row[0] + 1, o]


def test_last_value_and_drift(windows):
    origins = windows.origins["test"]
    last, line = baselines.last_value(windows, origins), baselines.drift(windows, origins)
    for n, origin in enumerate(origins):
        for o in range(2):
            past = known(windows, origin, o)
            rows = np.flatnonzero(np.isfinite(past))
            assert last[:, n, o] == pytest.approx(past[rows[-1]])
            slope = (past[rows[-1]] - past[rows[0]]) / (len(past) - 1 - rows[0])
            assert line[:, n, o] == pytest.approx(past[rows[-1]] + slope * np.arange(1, 6))


def test_seasonal_naive_takes_the_latest_known_value_of_the_same_season(windows):
    origins, season = windows.origins["test"], 3
    found = baselines.seasonal_naive(season)(windows, origins)
    for n, origin in enumerate(origins):
        for o in range(2):
            past = known(windows, origin, o)
            for k in range(1, 6):
                same = [v for t, v in enumerate(past) if (len(past) - 1 + k - t) % season == 0 and np.isfinite(v)]
                assert found[k - 1, n, o] == pytest.approx(same[-1])


def test_no_baseline_looks_past_its_origin(windows):
    origins = windows.origins["test"][:4]
    makers = [lambda w: baselines.last_value, lambda w: baselines.drift, lambda w: baselines.seasonal_naive(4)]
    number, row = windows.locate(origins[-1:])
    later = [series.raw.copy() for series in windows.series]
    later[number[0]][row[0] + 1 :] = 1e6
    changed = windows_over(later)
    for make in makers:
        assert make(windows)(windows, origins) == pytest.approx(make(changed)(changed, origins))


def test_linear_autoregression_finds_a_linear_process():
    rng = np.random.default_rng(2)
    y = np.zeros(600)
    for t in range(2, 600):
        y[t] = 1.2 * y[t - 1] - 0.5 * y[t - 2] + rng.normal(0, 0.1)
    windows = windows_over([y[:, None]], lookback=4, horizon=1)
    origins = windows.origins["test"]
    error = baselines.LinearAutoregression(windows)(windows, origins)[0, :, 0] - y[origins + 1]
    assert np.std(error) == pytest.approx(0.1, rel=0.2)


def test_state_space_forecasts_are_statsmodels_own():
    rng = np.random.default_rng(3)
    y = np.cumsum(rng.normal(size=120))
    y[40:43] = np.nan
    windows = windows_over([y[:, None]])
    origins = windows.origins["test"][::5]
    baseline = statespace.StateSpaceBaseline(
        windows, lambda rows, season: [partial(SARIMAX, order=(1, 1, 1))], 1, origins
    )
    found = baseline(windows, origins)
    series = windows.series[0]
    scaled = (y - series.centre[0]) / series.deviation[0]
    fitted = SARIMAX(scaled[:60], order=(1, 1, 1)).fit(disp=False)
    for n, origin in enumerate(origins):
        expected = fitted.apply(scaled[: origin + 1]).forecast(5) * series.deviation[0] + series.centre[0]
        assert found[:, n, 0] == pytest.approx(expected, abs=1e-6)


def test_state_space_baselines_are_never_fitted_on_a_test_table():
    rng = np.random.default_rng(6)
    known, unseen = (np.cumsum(rng.normal(size=(rows, 1)), axis=0) for rows in (120, 60))
    windows = windows_over([known, unseen])
    windows.series[1] = replace(
        windows.series[1], id="0", centre=windows.series[0].centre, deviation=windows.series[0].deviation
    )
    bounds = {"train": [(0, 80), (0, 0)], "validation": [(80, 120), (0, 0)], "test": [(0, 0), (0, 60)]}
    windows = Windows(windows.series, bounds, 6, 5, "last")
    origins = windows.origins["test"]
    baseline = statespace.StateSpaceBaseline(
        windows, lambda rows, season: [partial(SARIMAX, order=(1, 0, 0))], 1, origins
    )
    scaled = (known[:80, 0] - windows.series[0].centre[0]) / windows.series[0].deviation[0]
    coefficient = SARIMAX(scaled, order=(1, 0, 0)).fit(disp=False).params[0]
    assert baseline.fits[1, 0].model.transition[0, 0, -1] == pytest.approx(coefficient)


@pytest.mark.parametrize("family", [statespace.arimas, statespace.exponential_smoothings])
def test_state_space_baselines_follow_a_season(family):
    rng = np.random.default_rng(4)
    y = 10 * np.sin(2 * np.pi * np.arange(160) / 4) + rng.normal(0, 0.5, 160)
    windows = windows_over([y[:, None]])
    origins = windows.origins["test"]
    found = statespace.StateSpaceBaseline(windows, family, 4, origins)(windows, origins)
    assert np.abs(found - baselines.truth_of(windows, origins)).mean() < 1.5


MODELS = {
    "ARIMA": partial(SARIMAX, order=(2, 1, 2)),
    "ARMA": partial(SARIMAX, order=(1, 0, 1), trend="c"),
    "ETS": partial(ExponentialSmoothing, trend=True, damped_trend=True, initialization_method="concentrated"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_long_series_is_filtered_in_blocks_as_at_once(name, monkeypatch):
    """With gaps, at some rows, and from a late start: what statsmodels gives for the whole series."""
    rng = np.random.default_rng(5)
    y = np.cumsum(rng.normal(0, 0.1, 3000)) + rng.normal(0, 0.3, 3000)
    y[rng.random(3000) < 0.05] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = MODELS[name](y[:500]).fit(disp=False)
        whole = fitted.apply(y).filter_results.filtered_state
        rows = np.sort(rng.choice(np.arange(2000, 2900), 50, replace=False))
        for block, tolerance in ((200_000, 0.0), (700, 1e-6)):
            found = statespace.filtered(fitted, y, rows, block)
            np.testing.assert_allclose(found.states, whole[:, rows], rtol=0, atol=tolerance)
        monkeypatch.setattr(statespace, "_WARM_UP", 1500)
        late = statespace.filtered(fitted, y, rows)
    np.testing.assert_allclose(late.states, whole[:, rows], rtol=0, atol=1e-3 if name == "ETS" else 1e-6)


def test_no_forecast_is_made_from_a_row_that_was_not_filtered():
    y = np.cumsum(np.random.default_rng(6).normal(size=120))
    windows = windows_over([y[:, None]])
    origins = windows.origins["test"]
    baseline = statespace.StateSpaceBaseline(windows, statespace.exponential_smoothings, 1, origins[::2])
    with pytest.raises(RuntimeError, match="not among the origins"):
        baseline(windows, origins[1:2])


def test_residual_quantiles_are_those_of_the_validation_errors(windows):
    levels = np.array([0.1, 0.5, 0.9])
    found = baselines.residual_quantiles(baselines.last_value, windows, levels)
    origins = windows.origins["validation"]
    error = baselines.truth_of(windows, origins) - baselines.last_value(windows, origins)
    error = error / baselines.scales(windows, origins)[1]
    assert found[2, 1] == pytest.approx(np.nanquantile(error[2, :, 1], levels))


def test_ridges_are_scikit_learns():
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(40, 6)) + 3, rng.normal(size=(40, 2))
    for penalty, (weight, bias) in zip(baselines._PENALTIES, baselines.ridges(x, y), strict=True):
        oracle = Ridge(alpha=penalty, solver="svd").fit(x, y)
        assert weight == pytest.approx(oracle.coef_.T, abs=1e-8)
        assert bias == pytest.approx(oracle.intercept_, abs=1e-8)
