"""The unseen future: what comes after the last observed target, with dates and intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gatelab.core.errors import DataError
from gatelab.core.task import Part
from gatelab.data.table import Series, SeriesTable, read_like
from gatelab.tasks.forecasting.prepare import observed_rows
from gatelab.tasks.forecasting.windows import Windows

if TYPE_CHECKING:
    from gatelab.tasks.forecasting.task import Forecasting

Array = np.ndarray


def predict_unseen(task: Forecasting, model: Any, source: Any, future: Any = None) -> pd.DataFrame:
    """Forecasts of the ``horizon`` steps after the last observed target of each series.

    Args:
        task: the task the model was trained on.
        model: a trained ``ForecastNet``.
        source: a table with the columns of the training table, at least ``lookback`` rows of it. Rows after the last
            observed target may hold the covariates known ahead.
        future: a further table with those covariates, where ``source`` does not hold them.

    Returns:
        One row for each step and target: time (or step), id and target where there are several, forecast, and a
        column ``q2.5`` … for each quantile, in the user's units.

    Raises:
        DataError: too few rows, a missing column, or covariates that are needed ahead and are not given.
    """
    table = read_like(source, task.schema)
    ahead = read_like(future, _ahead_schema(task.schema)) if future is not None else None
    extended = [_extended(task, series, ahead) for series in table.series]
    prepared = [task.features.prepare(series) for series, _ in extended]
    config = task.config
    empty: dict[Part, list[tuple[int, int]]] = {"test": [(0, 0)] * len(prepared)}
    windows = Windows(prepared, empty, config.lookback, config.horizon, config.normalise)
    origins = windows.first_row[:-1] + np.array([rows - 1 for _, rows in extended])  # (S,)
    quantiles, point = task.with_windows(windows).forecast(model, origins)  # (K, S, O, Q), (K, S, O)
    return _tidy(task, extended, point, quantiles, table)


def _extended(task: Forecasting, series: Series, ahead: SeriesTable | None) -> tuple[Series, int]:
    """The series with exactly ``horizon`` rows after its last observed target, and the rows up to there."""
    config = task.config
    rows = observed_rows(series, task.features.of("target"))
    where = f" of series {series.id}" if series.id else ""
    if rows < config.lookback:
        raise DataError(
            f"too few rows to forecast from{where}",
            expected=f"at least {config.lookback} rows up to the last observed target (the model's lookback)",
            got=f"{rows} rows",
            fix="give the newest rows of the table, at least as many as the lookback",
        )
    columns = series.values.shape[1]
    values = np.full((rows + config.horizon, columns), np.nan)  # (T, C)
    values[:rows] = series.values[:rows]
    stamps: Any = series.stamps[:rows].append(task.features.frequency.next_stamps(series.stamps[rows - 1], config.horizon))
    known = task.features.of("future")
    _copy_known(values[rows:], stamps[rows:], series, known, known)
    for other in ahead.series if ahead is not None else ():
        if other.id == series.id:
            _copy_known(values[rows:], stamps[rows:], other, known, list(range(len(known))))
    _require_known(task, values, stamps, known, rows, where)
    return Series(series.id, stamps, values), rows


def _ahead_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a table that holds the covariates known ahead alone."""
    columns = [column for column in schema["columns"] if column["role"] == "future"]
    return {**schema, "columns": columns, "roles": {**schema["roles"], "target": [], "past": []}}


def _copy_known(values: Array, stamps: pd.Index, source: Series, into: list[int], out_of: list[int]) -> None:
    """Copies columns of ``source`` into ``values (K, C)`` where the stamps ``(K,)`` agree and a value is given."""
    at = source.stamps.get_indexer(stamps)  # (K,) -1 where absent
    for k in np.flatnonzero(at >= 0):
        fresh = source.values[at[k], out_of]
        values[k, into] = np.where(np.isfinite(fresh), fresh, values[k, into])


def _require_known(task: Forecasting, values: Array, stamps: pd.Index, known: list[int], rows: int, where: str) -> None:
    missing = ~np.isfinite(values[rows:, known])  # (K, F)
    gappy = [task.features.columns[c].name in task.features.gappy for c in known]
    for f, c in enumerate(known):
        if missing[:, f].any() and not gappy[f]:
            k = int(np.flatnonzero(missing[:, f])[0])
            raise DataError(
                f"the covariate {task.features.columns[c].name!r} is needed ahead and is not given{where}",
                expected=f"a value for each of the {len(missing)} steps after the last observed target",
                got=f"none at {stamps[rows + k]}",
                fix="add rows with these covariates (targets empty), or give them with --future FILE",
            )


def _tidy(
    task: Forecasting, extended: list[tuple[Series, int]], point: Array, quantiles: Array, table: SeriesTable
) -> pd.DataFrame:
    names, levels = task.features.targets, task.config.quantiles
    frames = []
    for s, (series, rows) in enumerate(extended):
        for o, name in enumerate(names):
            columns: dict[str, Any] = {table.roles.time or "step": _local(series.stamps[rows:], table.zone)}
            columns |= {table.roles.id: series.id} if table.roles.id else {}
            columns |= {"target": name} if len(names) > 1 else {}
            columns["forecast"] = point[:, s, o]
            columns |= {f"q{100 * level:g}": quantiles[:, s, o, q] for q, level in enumerate(levels)}
            frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def _local(stamps: pd.Index, zone: str | None) -> pd.Index:
    """Stamps on the clock of the table they continue."""
    if isinstance(stamps, pd.DatetimeIndex) and stamps.tz is not None and zone is not None:
        return stamps.tz_convert(zone)
    return stamps
