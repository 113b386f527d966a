"""How forecasts are scored, in the user's units; missing truth counts nowhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, root_mean_squared_error

from gatelab.core.task import Metric

Array = np.ndarray

_TEXTS = {
    "MAE": "mean absolute error",
    "RMSE": "root of the mean squared error",
    "MASE": "MAE over the seasonal naive forecast's on the training part (Hyndman & Koehler 2006); below 1 beats it",
    "sMAPE": "mean of 200·|error| / (|truth| + |forecast|), in percent",
    "MSE standardised": "mean squared error after division by the training deviation",
    "pinball": "mean quantile loss over the forecast quantiles",
    "CRPS": "continuous ranked probability score, from the quantiles by the trapezoidal rule",
}
OF_POINTS = ("MAE", "RMSE", "MASE", "sMAPE", "MSE standardised")
"""Metrics that need no intervals."""
_HAS_UNIT = {"MAE", "RMSE", "pinball", "CRPS"}


@dataclass(frozen=True)
class Scored:
    """Forecasts of N windows beside what came: K steps, O targets, Q quantile levels; the user's units."""

    point: Array  # (K, N, O)
    quantiles: Array  # (K, N, O, Q) rising in Q
    truth: Array  # (K, N, O) NaN where missing
    deviation: Array  # (N, O) training deviation of each window's series
    naive_error: Array  # (N, O) MASE's denominator


def metrics_of(targets: Sequence[str], first: str) -> tuple[Metric, ...]:
    """The metrics that ``score`` gives, the one to compare by in front; tables know no units but the target's name."""
    unit = f", in the units of {targets[0]}" if len(targets) == 1 else ""
    found = [Metric(name, text=text + unit * (name in _HAS_UNIT)) for name, text in _TEXTS.items()]
    found.sort(key=lambda metric: metric.name != first)
    return tuple(found)


def score(scored: Scored, levels: Sequence[float]) -> dict[str, float]:
    """All metrics by name; ``coverage 95%`` is the share of truth inside that central interval.

    Several targets or series count alike, observation by observation.
    """
    seen = np.isfinite(scored.truth)  # (K, N, O)
    truth, point = scored.truth[seen], scored.point[seen]  # (M,)
    quantiles = scored.quantiles[seen]  # (M, Q)
    deviation = np.broadcast_to(scored.deviation, seen.shape)[seen]  # (M,)
    naive = np.broadcast_to(scored.naive_error, seen.shape)[seen]  # (M,)
    error = np.abs(truth - point)  # (M,)
    size = np.abs(truth) + np.abs(point)  # (M,)
    pinball = np.array([mean_pinball_loss(truth, quantiles[:, q], alpha=level) for q, level in enumerate(levels)])
    values = {
        "MAE": mean_absolute_error(truth, point),
        "RMSE": root_mean_squared_error(truth, point),
        "MASE": np.mean(error / naive),
        "sMAPE": 200 * np.mean(np.divide(error, size, out=np.zeros_like(error), where=size > 0)),
        "MSE standardised": np.mean((error / deviation) ** 2),
        "pinball": pinball.mean(),
        "CRPS": crps(pinball, levels),
    }
    last = len(levels) - 1
    for q in range(len(levels) // 2):
        inside = (quantiles[:, q] <= truth) & (truth <= quantiles[:, last - q])
        values[coverage_name(levels[last - q] - levels[q])] = inside.mean()
    return {name: float(value) for name, value in values.items()}


def crps(pinball: Array, levels: Sequence[float]) -> float:
    """CRPS as twice the integral of the pinball loss over the levels (Gneiting & Ranjan 2011, eq. 7).

    Trapezoidal over the levels at hand, with a loss of zero at 0 and 1.
    """
    return float(2 * np.trapezoid(np.concatenate([[0], pinball, [0]]), np.concatenate([[0], levels, [1]])))


def coverage_name(nominal: float) -> str:
    """The metric's name for a central interval.

    >>> coverage_name(0.95)
    'coverage 95%'
    """
    return f"coverage {100 * nominal:.3g}%"


def by_horizon(scored: Scored) -> Array:
    """Mean absolute error of each step and target: ``(K, O)``; NaN where nothing was observed."""
    error = np.abs(scored.truth - scored.point)  # (K, N, O)
    count = np.isfinite(error).sum(axis=1)  # (K, O)
    return np.where(count > 0, np.nansum(error, axis=1) / np.maximum(count, 1), np.nan)


def by_window(scored: Scored, metric: str) -> Array:
    """Mean absolute error of each window: ``(N,)``, for paired comparisons in the unit of ``metric``.

    Of MAE that is the user's, of MASE the naive error of each series; of the others its training deviation.
    """
    unit = {"MAE": np.ones_like(scored.deviation), "MASE": scored.naive_error}.get(metric, scored.deviation)  # (N, O)
    return np.nanmean(np.abs(scored.truth - scored.point) / unit, axis=(0, 2))


def naive_error(raw: Array, season: int, without: float = 1.0) -> Array:
    """In-sample error of the seasonal naive forecast for ``raw (T, O)``: ``(O,)``, MASE's denominator.

    Falls back to a season of one where the training part has no two observations a season apart; ``without``
    where the series never moves, or has no two observations in a row.
    """
    for lag in (season, 1):
        if len(raw) > lag:
            error = np.abs(raw[lag:] - raw[:-lag])  # (T - lag, O)
            if np.isfinite(error).any(axis=0).all():
                mean = np.nanmean(error, axis=0)  # (O,)
                return np.where(mean > 0, mean, without)
    return np.full(raw.shape[1], without)


def naive_errors(raws: Mapping[str, Array], season: int) -> dict[str, Array]:
    """``naive_error`` of each series ``(T, O)``, and under "" their mean; 1 where there is none at all.

    A series that never moves has the mean, too: 1 would be in units that may be many sizes away from the series'.
    """
    errors = {id: naive_error(raw, season, without=np.nan) for id, raw in raws.items()}  # (O,) each
    known = np.ma.masked_invalid(list(errors.values()))  # (S, O)
    pooled = known.mean(axis=0).filled(1.0)  # (O,)
    return {"": pooled, **{id: np.where(np.isfinite(error), error, pooled) for id, error in errors.items()}}
