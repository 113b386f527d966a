"""ARIMA and exponential smoothing as baselines: fitted once on the training part, then filtered through the rest.

Both are state-space models in statsmodels, so one Kalman pass gives the state at every row, and the forecast from
any origin is that state stepped forward: thousands of origins cost one filter, and gaps need no filling.

A long series is filtered in blocks, each of which begins with the state in which the one before ended, and only the
states at the origins are kept: memory does not grow with the series. What lies far before the first origin is left out,
for a state has long forgotten it.

K steps, N origins, O targets, T rows, S numbers in a state.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from statsmodels.tsa.statespace.exponential_smoothing import ExponentialSmoothing
from statsmodels.tsa.statespace.sarimax import SARIMAX

from gatelab.tasks.forecasting.baselines import last_value
from gatelab.tasks.forecasting.windows import Windows

Array = np.ndarray
_MOST_ROWS = 1000  # newest training rows to fit on: a fit costs seconds, and old rows tell little of today
_LONGEST_SEASON = 24  # the state grows with the season
_MOST_SERIES = 8  # some fits each
_BLOCK = 200_000  # rows filtered at once; a season of 24 makes that 80 MB
_WARM_UP = (
    100_000  # rows before the first origin, after which nothing of an earlier one is left in the digits of a state
)
_MOST_CHECKED = 200_000  # newest rows with origins that a model is chosen on
_LEAN = ("smoothing", "gain", "forecast_cov", "std_forecast", "filtered_cov", "predicted_cov", "likelihood")
"""What statsmodels need not keep of every row."""

Model = Callable[[Array], Any]  # observations (T,) to a statsmodels model


def affordable(windows: Windows) -> bool:
    """Whether fitting models for every series and target takes seconds rather than minutes."""
    return len(windows.series) * windows.target.shape[1] <= _MOST_SERIES


def arimas(rows: int, season: int) -> list[Model]:
    """A few orders of ARIMA; with a seasonal AR and MA term where the season is short."""
    seasonal = (1, 0, 1, season) if 1 < season <= 12 and rows >= 4 * season else (0, 0, 0, 0)
    orders = ((1, 0, 0), (2, 0, 1), (0, 1, 1), (1, 1, 1), (2, 1, 2))
    return [partial(SARIMAX, order=order, seasonal_order=seasonal, trend="n" if order[1] else "c") for order in orders]


def exponential_smoothings(rows: int, season: int) -> list[Model]:
    """Additive exponential smoothing with and without a damped trend, and a season where it is short."""
    seasonal = season if 1 < season <= _LONGEST_SEASON and rows >= 3 * season else None
    shape = {"seasonal": seasonal, "initialization_method": "concentrated"}
    return [partial(ExponentialSmoothing, trend=trend, damped_trend=trend, **shape) for trend in (False, True)]


class Filtered(NamedTuple):
    """A model, and its states at some rows of a series."""

    model: Any
    """statsmodels' filter results of the last block: the matrices, which do not vary in time."""
    rows: Array  # (N,) rising
    states: Array  # (S, N) after each of these rows


class StateSpaceBaseline:
    """For every series and target the one of a family's models that errs least on the validation part.

    Args:
        windows: where to fit (newest training rows), choose (validation) and forecast.
        family: ``arimas`` or ``exponential_smoothings``.
        season: season length in steps; 1 for none.
        origins: where it will be asked for forecasts, ``(N,)``.
    """

    def __init__(self, windows: Windows, family: Callable[[int, int], list[Model]], season: int, origins: Array):
        self.fits: dict[tuple[int, int], Filtered] = {}
        chosen: dict[tuple[str, int], Any] = {}
        number, row = windows.locate(np.unique(origins))  # (N,), (N,)
        # Series with training rows first: one that has none (a test table of its own) takes the model of its namesake.
        order = sorted(range(len(windows.series)), key=lambda s: windows.bounds["train"][s][1] == 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a fit that did not converge still is a baseline, if a weaker one
            for s, o in product(order, range(windows.target.shape[1])):
                series, (start, stop) = windows.series[s], windows.bounds["train"][s]
                if series.held is not None and not np.isnan(series.held.value[o]):
                    continue  # stands still: there is nothing to fit
                y = (series.raw[:, o] - series.centre[o]) / series.deviation[o]  # (T,)
                if stop > start:
                    models = family(stop - start, season)
                    known = y[max(start, stop - _MOST_ROWS) : stop]  # (n,)
                    fits = [model(known).fit(disp=False, maxiter=50) for model in models]
                    best = min(fits, key=partial(_error, y, _checked_rows(windows, s), windows.horizon))
                    chosen[series.id, o] = best
                else:
                    best = chosen.get((series.id, o)) or next((fit for (_, at), fit in chosen.items() if at == o), None)
                if best is not None and (here := row[number == s]).size:
                    self.fits[s, o] = filtered(best, y, here)

    def __call__(self, windows: Windows, origins: Array) -> Array:
        """Points ``(K, N, O)``; where nothing was fitted, the last value."""
        number, row = windows.locate(origins)
        out = last_value(windows, origins)  # (K, N, O)
        for (s, o), fit in self.fits.items():
            here = number == s
            series = windows.series[s]
            out[:, here, o] = _stepped(fit, row[here], windows.horizon) * series.deviation[o] + series.centre[o]
        return out


def _checked_rows(windows: Windows, s: int) -> Array:
    """Rows of series ``s`` after which a model is tried, ``(n,)``: validation origins, or all where there are none."""
    number, row = windows.locate(windows.thinned("validation", 2000))
    rows = row[number == s]
    if len(rows) == 0:
        rows = np.arange(windows.lookback, len(windows.series[s].raw) - windows.horizon)
    return rows[rows >= rows[-1] - _MOST_CHECKED] if len(rows) else rows


def _error(y: Array, rows: Array, horizon: int, fitted: Any) -> float:
    """Mean absolute error of a model's forecasts after ``rows (n,)`` of ``y (T,)``; infinite where it has none."""
    if len(rows) == 0:
        return np.inf
    truth = y[rows + np.arange(1, horizon + 1)[:, None]]  # (K, n)
    error = float(np.nanmean(np.abs(truth - _stepped(filtered(fitted, y, rows), rows, horizon))))
    return error if np.isfinite(error) else np.inf


def filtered(fitted: Any, y: Array, rows: Array, block: int = _BLOCK) -> Filtered:
    """The states after ``rows (N,)``, rising, of ``y (T,)``, by the fitted model; ``block`` rows at a time."""
    first, stop = max(int(rows[0]) - _WARM_UP, 0), int(rows[-1]) + 1
    found, carried = [], None
    for start in range(first, stop, block):
        end = min(start + block, stop)
        result = _filter(fitted, y[start:end], carried)
        # With a concentrated scale the results are multiplied by it, and the filter begins without it.
        scale = result.scale if result.filter_concentrated else 1.0
        carried = result.predicted_state[:, -1], result.predicted_state_cov[:, :, -1] / scale  # (S,), (S, S)
        here = rows[(rows >= start) & (rows < end)]  # (n,)
        found.append(result.filtered_state[:, here - start])  # (S, n)
    return Filtered(result, rows, np.concatenate(found, axis=1))


def _filter(fitted: Any, y: Array, carried: tuple[Array, Array] | None) -> Any:
    """statsmodels' filter results for the rows ``y``, begun where the rows before them ended, if any were."""
    model = fitted.model.clone(y)
    for name in _LEAN:
        setattr(model.ssm, f"memory_no_{name}", True)
    if carried is None:
        return model.filter(fitted.params, cov_type="none", return_ssm=True)
    model.update(fitted.params)
    model.ssm.initialize_known(*carried)
    return model.ssm.filter()


def _stepped(fit: Filtered, rows: Array, steps: int) -> Array:
    """Expected observations ``(K, n)`` of the K steps after ``rows (n,)``, which are among the filtered ones."""
    at = np.searchsorted(fit.rows, rows)  # (n,)
    if not np.array_equal(fit.rows[at.clip(max=len(fit.rows) - 1)], rows):
        raise RuntimeError("a forecast is asked for after a row that was not among the origins")
    model, state = fit.model, fit.states[:, at]  # (S, n)
    transition, intercept = model.transition[:, :, -1], model.state_intercept[:, -1:]
    design, offset = model.design[:, :, -1], model.obs_intercept[:, -1:]
    out = []
    for _ in range(steps):
        state = transition @ state + intercept  # (S, n)
        out.append((design @ state + offset)[0])  # (n,)
    return np.stack(out)
