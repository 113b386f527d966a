"""Simple forecasts on the very same windows: what any network has to beat.

Each gives points ``(K, N, O)`` in the user's units for N origins, from nothing later than the origin. Their
intervals are the spread of their own errors on the validation part, step by step.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from gatelab.tasks.forecasting.windows import Windows

Array = np.ndarray
Points = Callable[[Windows, Array], Array]  # (windows, origins (N,)) -> (K, N, O)

_PENALTIES = (0.0, 1.0, 10.0, 100.0, 1000.0)
_MOST_WINDOWS = 20_000  # to fit a linear model on; more change its error in the fourth digit


def history(windows: Windows, origins: Array, filled: Callable[[Array], Array], lag: Callable[[int], int]) -> Array:
    """Values ``lag(k)`` rows before the k-th step of the horizon, read off each series after ``filled (T, O)``."""
    number, row = windows.locate(origins)  # (N,), (N,)
    out = np.full((windows.horizon, len(origins), windows.target.shape[1]), np.nan)  # (K, N, O)
    for s in np.unique(number):
        here = number == s
        values = filled(windows.series[s].raw)  # (T, O)
        for k in range(1, windows.horizon + 1):
            at = row[here] + k - lag(k)  # (n,) never after the origin
            out[k - 1, here] = np.where(at[:, None] >= 0, values[np.maximum(at, 0)], np.nan)
    return out


def last_value(windows: Windows, origins: Array) -> Array:
    """The last observed value, for every step (the random walk's forecast)."""
    return _or_centre(windows, origins, history(windows, origins, _forward_filled, lambda k: k))


def seasonal_naive(season: int) -> Points:
    """The value one season before, the latest whole season that is known; the last value where there is none."""

    def points(windows: Windows, origins: Array) -> Array:
        def filled(raw: Array) -> Array:
            return pd.DataFrame(raw).groupby(np.arange(len(raw)) % season).ffill().to_numpy()

        found = history(windows, origins, filled, lambda k: season * -(-k // season))  # (K, N, O)
        return np.where(np.isfinite(found), found, last_value(windows, origins))

    return points


def drift(windows: Windows, origins: Array) -> Array:
    """The line through the first and the last observation, drawn on (Hyndman & Athanasopoulos 2021, sec. 5.2)."""
    number, row = windows.locate(origins)
    last = last_value(windows, origins)  # (K, N, O)
    slope = np.zeros(last.shape[1:])  # (N, O)
    for s in np.unique(number):
        here, raw = number == s, windows.series[s].raw
        filled = _forward_filled(raw)  # (T, O)
        first = np.isfinite(raw).argmax(axis=0)  # (O,)
        start = raw[first, np.arange(raw.shape[1])]  # (O,)
        rows = row[here, None] - first  # (n, O)
        slope[here] = np.where(rows > 0, (filled[row[here]] - start) / np.maximum(rows, 1), 0.0)
    slope = np.where(np.isfinite(slope), slope, 0.0)
    return last + slope * np.arange(1, windows.horizon + 1)[:, None, None]


class LinearAutoregression:
    """Ridge regression from the window to all steps of the horizon; the penalty is chosen on validation.

    With ``ahead`` it also sees what is known of the horizon: calendar and future covariates.
    """

    def __init__(self, windows: Windows, ahead: bool = False, at_most: int = _MOST_WINDOWS):
        self.ahead = ahead
        x, y, _ = self._design(windows, windows.thinned("train", at_most))
        complete = np.isfinite(y).all(axis=1)
        x, y = (x[complete], y[complete]) if complete.any() else (x, np.nan_to_num(y))
        check, truth, unit = self._design(windows, windows.thinned("validation", at_most))
        models = ridges(x, y)
        errors = [np.nanmean(np.abs(truth - (check @ weight + bias)) * unit) for weight, bias in models]
        best = int(np.argmin(errors))
        self.weight, self.bias = models[best]
        self.error = float(errors[best])
        """Mean absolute validation error, in training deviations."""

    def _design(self, windows: Windows, origins: Array) -> tuple[Array, Array, Array]:
        """Inputs ``(N, L·O [+ K·F])``, targets ``(N, K·O)`` in the window's own scale, and that scale ``(N, K·O)``."""
        batch = windows.cut(origins)
        x = batch.recent.permute(1, 0, 2).reshape(batch.size, -1).double().numpy()  # (N, L·O)
        if self.ahead:
            known = batch.ahead.permute(1, 0, 2).reshape(batch.size, -1).double().numpy()  # (N, K·F)
            x = np.concatenate([x, known], axis=1)
        y = ((batch.truth - batch.centre) / batch.deviation).double().numpy()  # (K, N, O)
        y = np.where(batch.seen.numpy(), y, np.nan)
        unit = np.tile(batch.deviation.double().numpy(), windows.horizon)  # (N, K·O)
        return x, y.transpose(1, 0, 2).reshape(batch.size, -1), unit

    def __call__(self, windows: Windows, origins: Array) -> Array:
        """Points ``(K, N, O)``."""
        x, _, _ = self._design(windows, origins)
        flat = x @ self.weight + self.bias  # (N, K·O)
        out = flat.reshape(len(origins), windows.horizon, -1).transpose(1, 0, 2)  # (K, N, O)
        batch = windows.cut(origins)
        scaled = out * batch.deviation.double().numpy() + batch.centre.double().numpy()  # (K, N, O)
        return unscaled(windows, origins, scaled)


def ridges(x: Array, y: Array) -> list[tuple[Array, Array]]:
    """Ridge regression of ``y (N, M)`` on ``x (N, P)`` for every penalty: weights ``(P, M)`` and biases ``(M,)``.

    One eigendecomposition of the Gram matrix serves all penalties (Hastie et al. 2009, sec. 3.4.1, eq. 3.47).
    """
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    centred = x - x_mean  # (N, P)
    values, vectors = np.linalg.eigh(centred.T @ centred)  # (P,), (P, P)
    rotated = vectors.T @ (centred.T @ (y - y_mean))  # (P, M)
    floor = 1e-9 * max(values[-1], 1e-300)  # directions that the data does not span
    found = []
    for penalty in _PENALTIES:
        weight = vectors @ (rotated / (np.maximum(values, floor) + penalty)[:, None])  # (P, M)
        found.append((weight, y_mean - x_mean @ weight))
    return found


def unscaled(windows: Windows, origins: Array, scaled: Array) -> Array:
    """``(K, N, O)`` in scaled units back in the user's."""
    centre, deviation = scales(windows, origins)
    return scaled * deviation + centre


def scales(windows: Windows, origins: Array) -> tuple[Array, Array]:
    """Centre and deviation ``(N, O)`` of the series each origin lies in."""
    number, _ = windows.locate(origins)
    centres = np.stack([series.centre for series in windows.series])  # (S, O)
    deviations = np.stack([series.deviation for series in windows.series])  # (S, O)
    return centres[number], deviations[number]


def residual_quantiles(points: Points, windows: Windows, levels: Array) -> Array:
    """Quantiles of a baseline's own validation errors, per step and target: ``(K, O, Q)`` in scaled units.

    Series that stand still tell nothing of the others; where all do, there is no spread.
    """
    origins = residual_origins(windows)
    truth = truth_of(windows, origins)  # (K, N, O)
    error = (truth - points(windows, origins)) / scales(windows, origins)[1]  # (K, N, O)
    held = ~np.isnan(windows.held(origins))  # (N, O)
    error = np.where(held & ~held.all(axis=0), np.nan, error)  # (K, N, O)
    return np.moveaxis(np.nanquantile(error, levels, axis=1), 0, -1)  # (K, O, Q)


def residual_origins(windows: Windows) -> Array:
    """Where a baseline's validation errors are taken, ``(N,)``."""
    return windows.thinned("validation", _MOST_WINDOWS)


def truth_of(windows: Windows, origins: Array) -> Array:
    """What came after each origin, ``(K, N, O)`` in the user's units, NaN where missing."""
    number, row = windows.locate(origins)
    out = np.full((windows.horizon, len(origins), windows.target.shape[1]), np.nan)  # (K, N, O)
    ahead = np.arange(1, windows.horizon + 1)[:, None]  # (K, 1)
    for s in np.unique(number):
        here = number == s
        out[:, here] = windows.series[s].raw[row[here] + ahead]
    return out


def _forward_filled(raw: Array) -> Array:
    return pd.DataFrame(raw).ffill().to_numpy()


def _or_centre(windows: Windows, origins: Array, points: Array) -> Array:
    """The training mean where a target has no observation yet."""
    return np.where(np.isfinite(points), points, scales(windows, origins)[0])
