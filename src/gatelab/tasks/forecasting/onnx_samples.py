"""Random windows in the user's units, and what gatelab itself forecasts from them: the proof of an exported model.

They go the whole way that a table goes (``Features.prepare``, ``Windows``, ``Forecasting.forecast``).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from gatelab.core.random import generator
from gatelab.data.table import Series
from gatelab.nn.onnx import Sample, deviation, frozen
from gatelab.tasks.forecasting import baselines
from gatelab.tasks.forecasting.features import Features
from gatelab.tasks.forecasting.windows import WindowBatch, Windows

if TYPE_CHECKING:
    from gatelab.tasks.forecasting.task import Forecasting

Array = np.ndarray
_BATCHES = (1, 2, 7)  # windows in each sample; all but the first have gaps
_BEFORE = 3  # rows before the windows, so that a gap may have begun there
_GAPS = 0.2  # share of the values that are missing, and of the steps at which all are


def needs_series(features: Features) -> bool:
    """Whether a forecast depends on which series it is of."""
    return len(set(features.scales.values())) > 1 or bool(features.constants)


def samples(task: Forecasting, network: Any) -> tuple[tuple[Sample, ...], WindowBatch]:
    """Windows of several batch sizes with the forecasts of ``network``, and the first as the network reads it."""
    cases = [_case(task, B) for B in _BATCHES]
    return tuple(_sample(task, network, case) for case in cases), cases[0].windows.cut(cases[0].origins)


class _Case(NamedTuple):
    series: Sequence[Series]
    windows: Windows
    origins: Array  # (B,)


def _case(task: Forecasting, B: int) -> _Case:
    """``B`` short series, each with one window; half of them stand still, where the model knows such series."""
    lookback, horizon, rng = int(task.config.lookback or 0), int(task.config.horizon or 0), generator(0, "export", B)
    series = [_series(task.features, rng, lookback, horizon, gaps=B > 1) for _ in range(B)]
    for number, id in enumerate(list(task.features.constants)[: B // 2]):
        series[number] = _still(task.features, id, series[number])
    prepared = [task.features.prepare(entry) for entry in series]
    assert task.config.normalise != "auto"
    windows = Windows(prepared, {"test": [(0, 0)] * B}, lookback, horizon, task.config.normalise)
    return _Case(series, windows, windows.first_row[:-1] + _BEFORE + lookback - 1)


def _series(features: Features, rng: np.random.Generator, lookback: int, horizon: int, gaps: bool) -> Series:
    """A series with random values in each column, and targets that end where the horizon begins."""
    rows = _BEFORE + lookback + horizon
    id = str(rng.choice(list(features.scales)))
    centre, deviation = (np.array(part) for part in features.scales[id])  # (C,) each
    values = centre + deviation * rng.normal(size=(rows, len(centre)))  # (T, C)
    for c, column in enumerate(features.columns):
        if column.kind == "category":
            values[:, c] = rng.integers(0, len(column.levels), rows)
    if gaps:
        values[rng.random(values.shape) < _GAPS] = np.nan
        values[rng.random(rows) < _GAPS] = np.nan
    targets = features.of("target")
    last = _BEFORE + rng.integers(lookback)  # observed at one step at least
    values[last, targets] = (centre + deviation)[targets]
    values[rows - horizon :, targets] = np.nan
    return Series(id, _stamps(features, rng, rows), values, features.frequency)


def _still(features: Features, id: str, other: Series) -> Series:
    """A series whose targets stand still, with the covariates and the gaps of another one."""
    values = other.values.copy()  # (T, C)
    for c in features.of("target"):
        value = features.constants[id].get(features.columns[c].name)
        values[:, c] = values[:, c] if value is None else np.where(np.isnan(values[:, c]), np.nan, value)
    return Series(id, other.stamps, values, other.frequency)


def _stamps(features: Features, rng: np.random.Generator, rows: int) -> Any:
    if not (features.calendar or features.holidays):
        return pd.RangeIndex(rows)
    start = pd.Timestamp("2020-01-01") + pd.Timedelta(seconds=int(rng.integers(10**8)))
    if features.holidays:  # one in the middle of the rows, of a year in the middle of those that are known
        days = np.array_split(features.holidays.days, 3)[1]
        start = pd.Timestamp(0) + pd.Timedelta(days=int(rng.choice(days))) - features.frequency.offset * (rows // 2)
    return features.frequency.next_stamps(start, rows)


def _sample(task: Forecasting, network: Any, case: _Case) -> Sample:
    outputs = _outputs(task, network, case.windows, case.origins)
    exact = _outputs(task, frozen(network, torch.float64), _double(case.windows), case.origins)
    centre, spread = (part[:, None] for part in baselines.scales(case.windows, case.origins))  # (B, 1, O) each
    scaled = (outputs["quantiles"] - centre[..., None]) / spread[..., None]  # (B, K, O, Q)
    largest = np.abs(scaled).max(initial=1e-30)
    scale = {"forecast": spread * largest, "quantiles": spread[..., None] * largest}
    inputs = _inputs(task.features, case, task.config.lookback)
    return Sample(inputs, outputs, scale, deviation(outputs, exact, scale))


def _outputs(task: Forecasting, network: Any, windows: Windows, origins: Array) -> dict[str, Array]:
    """What gatelab forecasts, under the names of the graph's outputs."""
    quantiles, point = task.with_windows(windows).forecast(network, origins)  # (K, B, O, Q), (K, B, O)
    return {"forecast": point.transpose(1, 0, 2), "quantiles": quantiles.transpose(1, 0, 2, 3)}


def _double(windows: Windows) -> Windows:
    """The same windows in float64."""
    copied = copy.copy(windows)
    copied.target, copied.past, copied.known = (part.double() for part in (windows.target, windows.past, windows.known))
    return copied


def _inputs(features: Features, case: _Case, lookback: int | None) -> dict[str, Array]:
    """The graph's inputs, as ``onnx.export`` describes them."""
    stop = _BEFORE + int(lookback or 0)
    values = np.stack([series.values for series in case.series])  # (B, T, C)
    targets, past, future = (features.of(role) for role in ("target", "past", "future"))
    inputs: dict[str, Array] = {"target": values[:, _BEFORE:stop, targets]}
    inputs |= {"past": values[:, _BEFORE:stop, past]} if past else {}
    inputs |= {"known": values[:, _BEFORE:, future]} if future else {}
    if features.calendar or features.holidays:
        stamps = [pd.DatetimeIndex(series.stamps[_BEFORE:]).as_unit("s") for series in case.series]
        inputs["time"] = np.stack([times.astype(np.int64) for times in stamps])  # (B, L + K)
    if needs_series(features):
        inputs["series"] = np.array([list(features.scales).index(series.id) for series in case.series])
    if set(features.targets) & set(features.gappy):
        missing = np.isnan(values[:, _BEFORE - 1 :: -1, targets]).all(axis=2)  # (B, before), the latest first
        inputs["gap"] = missing.cumprod(axis=1).sum(axis=1)  # (B,)
    return inputs
