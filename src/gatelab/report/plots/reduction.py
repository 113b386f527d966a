"""Arrays as a plot can use them: checked, finite or NaN, and no more points than the width can show."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from gatelab.core.errors import InputError

LARGEST = 1e150
"""Greater magnitudes are drawn as gaps: the squares that a layout takes of them would overflow."""


def values(data: Any, what: str, positive: bool = False) -> np.ndarray:
    """``data`` as float64 ``(N,)``; infinite and absurdly large values, and those not above 0 where all must be
    ``positive``, are NaN, that is, gaps.

    Raises:
        InputError: not a flat sequence of numbers.
    """
    try:
        array = np.array(data, dtype=np.float64)  # (N,)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} cannot be plotted", expected="numbers", got=error) from error
    if array.ndim != 1:
        raise InputError(f"{what} cannot be plotted", expected="one dimension", got=f"shape {array.shape}")
    with np.errstate(invalid="ignore"):
        array[~(np.abs(array) <= LARGEST) | (positive & (array <= 0))] = np.nan
    return array


def places(data: Any, count: int, what: str) -> np.ndarray:
    """The x axis as float64 or ``datetime64`` ``(N,)``; ``None`` counts from 0. Zoned times keep their wall clock."""
    if data is None:
        return np.arange(count, dtype=np.float64)  # (N,)
    kind = getattr(data, "dtype", None)
    if isinstance(kind, pd.DatetimeTZDtype):
        return pd.DatetimeIndex(data).tz_localize(None).to_numpy()  # (N,)
    array = np.asarray(data)
    if array.dtype == object and array.size and isinstance(array.flat[0], pd.Period):
        array = pd.PeriodIndex(array).to_timestamp().to_numpy()  # (N,)
    if np.issubdtype(array.dtype, np.datetime64):
        return array.astype("datetime64[ns]" if array.dtype == "datetime64[ns]" else "datetime64[us]")  # (N,)
    if array.dtype == object and array.size and isinstance(array.flat[0], date):
        return pd.DatetimeIndex(array.ravel()).tz_localize(None).to_numpy()  # (N,)
    return values(array, what)


def reduced(x: np.ndarray, y: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """The points of a line ``x (N,)``, ``y (N,)`` that decide its pixels in ``columns`` columns.

    Of each column the first, last, lowest and highest point stay, and one gap where there is one: M4 (Jugel et al.
    2014, "M4: a visualization-oriented time series data aggregation", VLDB), at most ``5 * columns`` points.
    """
    if len(x) <= 4 * columns:
        return x, y
    column = _columns(x, columns)
    if column is None:  # a curve that runs back and forth
        kept = np.linspace(0, len(x) - 1, 4 * columns).astype(int)
        return x[kept], y[kept]
    frame = pd.DataFrame({"column": column, "y": y, "at": np.arange(len(y))})
    present = frame.dropna(subset="y").groupby("column")
    gaps = frame[frame.y.isna()].groupby("column").at.first()
    parts = [present.at.first(), present.at.last(), present.y.idxmin(), present.y.idxmax(), gaps]
    kept = np.unique(np.concatenate([part.to_numpy(int) for part in parts]))
    return x[kept], y[kept]


def reduced_band(
    x: np.ndarray, low: np.ndarray, high: np.ndarray, columns: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The hull of a band in ``columns`` columns: lowest low, highest high; a column of gaps alone stays a gap."""
    column = _columns(x, columns) if len(x) > 2 * columns else None
    if column is None:
        return x, low, high
    grouped = pd.DataFrame({"column": column, "x": x, "low": low, "high": high}).groupby("column")
    hull = grouped.agg(x=("x", "first"), low=("low", "min"), high=("high", "max"))
    return hull.x.to_numpy(), hull.low.to_numpy(float), hull.high.to_numpy(float)


def reduced_points(x: np.ndarray, y: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """One point for each of ``cells × cells`` places that holds any: what lies on top of another is not drawn."""
    if len(x) <= 2 * cells:
        return x, y
    grid = np.stack([_bins(x, cells), _bins(y, cells)], axis=1)  # (N, 2)
    _, kept = np.unique(grid, axis=0, return_index=True)
    kept.sort()
    return x[kept], y[kept]


def _columns(x: np.ndarray, columns: int) -> np.ndarray | None:
    """The pixel column of each ascending ``x (N,)``; ``None`` where they do not ascend."""
    return _bins(x, columns) if bool(np.all(x[1:] >= x[:-1])) else None


def _bins(x: np.ndarray, count: int) -> np.ndarray:
    numeric = (x - x.min()).astype(np.float64)  # (N,)
    span = numeric.max() or 1.0
    return np.minimum((numeric / span * count).astype(int), count - 1)  # (N,)
