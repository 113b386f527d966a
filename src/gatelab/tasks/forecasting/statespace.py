"""ARIMA and exponential smoothing as baselines: fitted once on the training part, then filtered through the rest.

Both are state-space models in statsmodels, so one Kalman pass gives the state at every row, and the forecast from
any origin is that state stepped forward: thousands of origins cost one filter, and gaps need no filling.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from statsmodels.tsa.statespace.exponential_smoothing import ExponentialSmoothing
from statsmodels.tsa.statespace.sarimax import SARIMAX

from gatelab.tasks.forecasting.windows import Windows

Array = np.ndarray
_MOST_ROWS = 1000  # newest training rows to fit on: a fit costs seconds, and old rows tell little of today
_LONGEST_SEASON = 24  # the state grows with the season
_MOST_SERIES = 8  # some fits each

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


class StateSpaceBaseline:
    """For every series and target the one of a family's models that errs least on the validation part.

    Args:
        windows: where to fit (newest training rows), choose (validation) and forecast.
        family: ``arimas`` or ``exponential_smoothings``.
        season: season length in steps; 1 for none.
    """

    def __init__(self, windows: Windows, family: Callable[[int, int], list[Model]], season: int):
        self.fits: dict[tuple[int, int], tuple[Any, Array]] = {}
        chosen: dict[tuple[str, int], Any] = {}
        # Series with training rows first: one that has none (a test table of its own) takes the model of its namesake.
        order = sorted(range(len(windows.series)), key=lambda s: windows.bounds["train"][s][1] == 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a fit that did not converge still is a baseline, if a weaker one
            for s, o in product(order, range(windows.target.shape[1])):
                series, (start, stop) = windows.series[s], windows.bounds["train"][s]
                y = (series.raw[:, o] - series.centre[o]) / series.deviation[o]  # (T,)
                if stop > start:
                    models = family(stop - start, season)
                    known = y[max(start, stop - _MOST_ROWS) : stop]  # (n,)
                    fits = [model(known).fit(disp=False, maxiter=50) for model in models]
                    best = min(fits, key=lambda fit: _error(windows, s, y, _filtered(fit, y)))
                    chosen[series.id, o] = best
                else:
                    best = chosen.get((series.id, o)) or next(fit for (_, at), fit in chosen.items() if at == o)
                self.fits[s, o] = _filtered(best, y)

    def __call__(self, windows: Windows, origins: Array) -> Array:
        """Points ``(K, N, O)``."""
        number, row = windows.locate(origins)
        out = np.zeros((windows.horizon, len(origins), windows.target.shape[1]))  # (K, N, O)
        for (s, o), fit in self.fits.items():
            here = number == s
            series = windows.series[s]
            out[:, here, o] = _stepped(fit, row[here], windows.horizon) * series.deviation[o] + series.centre[o]
        return out


def _error(windows: Windows, s: int, y: Array, fit: tuple[Any, Array]) -> float:
    """Mean absolute error of a fit on the validation part of series ``s``; on its training part without one."""
    number, row = windows.locate(windows.thinned("validation", 2000))
    rows = row[number == s]
    if len(rows) == 0:
        rows = np.arange(windows.lookback, len(y) - windows.horizon)
    truth = y[rows + np.arange(1, windows.horizon + 1)[:, None]]  # (K, n)
    error = float(np.nanmean(np.abs(truth - _stepped(fit, rows, windows.horizon))))
    return error if np.isfinite(error) else np.inf


def _filtered(fitted: Any, y: Array) -> tuple[Any, Array]:
    """The model's matrices and its state after each row of ``y (T,)``: ``(states, T)``."""
    result = fitted.apply(y).filter_results
    return result, result.filtered_state


def _stepped(fit: tuple[Any, Array], rows: Array, steps: int) -> Array:
    """Expected observations ``(K, n)`` of the K steps after ``rows (n,)``; the matrices do not vary in time."""
    model, states = fit
    state = states[:, rows]  # (states, n)
    transition, intercept = model.transition[:, :, -1], model.state_intercept[:, -1:]
    design, offset = model.design[:, :, -1], model.obs_intercept[:, -1:]
    out = []
    for _ in range(steps):
        state = transition @ state + intercept  # (states, n)
        out.append((design @ state + offset)[0])  # (n,)
    return np.stack(out)
