"""The unseen future: what comes after the last observed target, with dates and intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from gatelab.core.errors import DataError
from gatelab.core.task import Part
from gatelab.data.frequency import Frequency
from gatelab.data.names import listed
from gatelab.data.table import Series, SeriesTable, read_like
from gatelab.data.wording import counted
from gatelab.tasks.forecasting import covariates, positive
from gatelab.tasks.forecasting.held import said
from gatelab.tasks.forecasting.prepare import observed_rows, said_left_out, said_of
from gatelab.tasks.forecasting.windows import Windows

if TYPE_CHECKING:
    from gatelab.tasks.forecasting.task import Forecasting

Array = np.ndarray


def predict_unseen(task: Forecasting, model: Any, source: Any, future: Any = None) -> Unseen:
    """Forecasts of the ``horizon`` steps after the last observed target of each series.

    Args:
        task: the task the model was trained on.
        model: a trained ``ForecastNet``.
        source: a table with the columns of the training table, at least ``lookback`` rows of it. Rows after the last
            observed target may hold the covariates known ahead.
        future: a further table with those covariates, where ``source`` does not hold them.

    Raises:
        DataError: too few rows, a missing column, or covariates that are needed ahead and are not given.
    """
    table = read_like(source, task.schema)
    ahead, notes = _read_ahead(task, future, [series.id for series in table.series])
    long, short = _long_enough(task, table)
    notes += short
    extended = [_extended(task, series, ahead) for series in long]
    prepared = [task.features.prepare(entry.series) for entry in extended]
    config = task.config
    empty: dict[Part, list[tuple[int, int]]] = {"test": [(0, 0)] * len(prepared)}
    windows = Windows(prepared, empty, config.lookback, config.horizon, config.normalise)
    origins = windows.first_row[:-1] + np.array([entry.rows - 1 for entry in extended])  # (S,)
    quantiles, point = task.with_windows(windows).forecast(model, origins)  # (K, S, O, Q), (K, S, O)
    forecast = _tidy(task, extended, point, quantiles, table)
    notes = [*table.notes, *(ahead.notes if ahead else ()), *notes]
    notes += positive.said_below(table, config)
    notes += [*_empty_ahead(task, extended), *_said_of(task, extended, windows.held(origins))]
    forecast.attrs = {"notes": list(dict.fromkeys(notes)), "brief": _brief(task, forecast)}
    return Unseen(forecast, extended, point, quantiles, table.zone)


class Unseen(NamedTuple):
    """What is forecast, as a table and as arrays, beside what came before."""

    frame: pd.DataFrame
    """One row for each step and target: time (or step), id and target where there are several, forecast, and a column
    ``q2.5`` … for each quantile, in the user's units. ``attrs["notes"]`` has what was decided about the table,
    ``attrs["brief"]`` the columns that matter most."""
    extended: Sequence[Extended]  # (S,)
    point: Array  # (K, S, O)
    quantiles: Array  # (K, S, O, Q)
    zone: str | None
    """Time zone of the stamps."""


class Extended(NamedTuple):
    """A series with exactly ``horizon`` rows after its last observed target."""

    series: Series
    rows: int
    """Rows up to the last observed target."""
    stamps: pd.Index  # (K,) of the steps to forecast


def _read_ahead(task: Forecasting, future: Any, ids: Sequence[str]) -> tuple[SeriesTable | None, list[str]]:
    """The table of covariates known ahead, if there is one and the model sees any, and a line where it does not.

    ``ids`` are those of the series to forecast, which training may not have shown.
    """
    if future is None:
        return None, []
    if task.features.of("future"):
        schema = _ahead_schema(task.schema)
        return read_like(future, {**schema, "series": [*schema["series"], *ids]}), []
    unread = said_left_out(task.features, task.config)
    return None, ["the future table is not read: the model sees no covariate that is known ahead", *unread]


def _long_enough(task: Forecasting, table: SeriesTable) -> tuple[list[Series], list[str]]:
    """The series that can be forecast, and a line on those that are too short for it.

    Raises:
        DataError: all are too short.
    """
    lookback, targets = task.config.lookback, task.features.of("target")
    rows = {series.id: observed_rows(series, targets) for series in table.series}
    long = [series for series in table.series if rows[series.id] >= lookback]
    if not long:
        longest = max(rows, key=lambda id: rows[id])
        raise DataError(
            f"too few rows to forecast {', '.join(task.features.targets)} from"
            + (f" of series {longest}, the longest" if len(rows) > 1 else f" of series {longest}" if longest else ""),
            expected=f"at least {lookback} rows up to the last observed target (the model's lookback)",
            got=f"{rows[longest]} rows",
            fix="give the newest rows of the table, at least as many as the lookback",
        )
    short = listed(f"{id} ({counted(count, 'row')})" for id, count in rows.items() if count < lookback)
    return long, [f"no forecast for {short}: {lookback} rows up to the last observed target are needed"] * bool(short)


def _extended(task: Forecasting, series: Series, ahead: SeriesTable | None) -> Extended:
    config, known = task.config, task.features.of("future")
    rows = observed_rows(series, task.features.of("target"))
    where = f" of series {series.id}" if series.id else ""
    here = covariates.given(series)[rows:]
    given = [(series.stamps[rows:][here], series.values[rows:, known][here])]
    for other in ahead.series if ahead is not None else ():
        if other.id == series.id:
            index, here = other.stamps, covariates.given(other)
            if isinstance(index, pd.RangeIndex):
                index = pd.RangeIndex(rows, rows + len(index))  # counted from the first step ahead
            given.append((index[here], other.values[here]))
    stamps = _stamps_ahead(task, series, rows, [index for index, _ in given], where)  # (K,)
    values = np.full((rows + config.horizon, series.values.shape[1]), np.nan)  # (T, C)
    values[:rows] = series.values[:rows]
    covered = np.zeros(config.horizon, bool)  # (K,)
    for index, fresh in given:
        covered |= _copy_known(values[rows:], stamps, index, fresh, known)
    fix = "add rows with these covariates (targets empty), or give them with --future FILE"
    if ahead is not None and series.id not in (others := [other.id for other in ahead.series]):
        fix = f"add rows for it to the future table, which has the series {listed(others)}"
    _require_known(task, values[rows:], covered, stamps, known, where, fix)
    same = isinstance(stamps, pd.DatetimeIndex) == isinstance(series.stamps, pd.DatetimeIndex)
    whole: Any = series.stamps[:rows].append(stamps) if same else pd.RangeIndex(len(values))
    return Extended(Series(series.id, whole, values, series.frequency), rows, stamps)


def _stamps_ahead(task: Forecasting, series: Series, rows: int, given: Sequence[pd.Index], where: str) -> pd.Index:
    """The steps after the first ``rows``: those on the calendar, or where rows are the steps, the rows given later."""
    frequency, horizon, last = series.frequency, task.config.horizon, series.stamps[rows - 1]
    if not frequency.rows:
        return frequency.next_stamps(last, horizon)
    later = [index[index > last] for index in given if len(index) and isinstance(index[0], type(last))]
    found = reduce(pd.Index.union, later)[:horizon] if later else pd.Index([])
    if len(found) == 0:
        return frequency.next_stamps(last, horizon)
    if isinstance(found, pd.DatetimeIndex):
        _require_next(series.stamps[:rows], found, frequency, where)
    rest = frequency.next_stamps(found[-1], horizon - len(found))
    same = isinstance(rest, pd.DatetimeIndex) == isinstance(found, pd.DatetimeIndex)
    return found.append(rest) if same or not len(rest) else frequency.next_stamps(last, horizon)


_LONGEST_HOLIDAY = pd.Timedelta(days=7)  # without trading: a week's closure, weekends around it included
_TIMES_LONGEST = 2.0  # the longest step of the history, where rows are steps of any length


def _require_next(known: pd.Index, found: pd.DatetimeIndex, frequency: Frequency, where: str) -> None:
    """Raises ``DataError`` unless the rows ``found`` follow the history ``known`` without a hole.

    Where rows are the steps, only the lengths of steps tell: none is far longer than those of the history are.
    """
    history = pd.DatetimeIndex(known)
    longest = history.to_series().diff().max() if len(history) > 1 else pd.Timedelta(0)
    most = max(longest, _LONGEST_HOLIDAY) if frequency.alias == "B" else _TIMES_LONGEST * longest
    steps = history[-1:].append(found).to_series().diff().iloc[1:]  # (n,)
    if len(history) > 1 and (steps > most).any():
        at = int((steps > most).to_numpy().argmax())
        before = found[at - 1] if at else history[-1]
        raise DataError(
            f"the rows given ahead do not follow the history{where}: there is a hole before {found[at]}",
            expected=f"the steps after {before}, one row each",
            got=f"{found[at]}, {(found[at] - before).days:,} days later; no step of the history has more than "
            f"{longest.days:,}",
            fix="give the rows for the very next steps, or newer history",
        )


def _ahead_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a table that holds the covariates known ahead alone."""
    columns = [column for column in schema["columns"] if column["role"] == "future"]
    return {**schema, "columns": columns, "roles": {**schema["roles"], "target": [], "past": []}}


def _copy_known(values: Array, stamps: pd.Index, index: pd.Index, fresh: Array, into: list[int]) -> Array:
    """Copies ``fresh (T, F)`` into ``values (K, C)`` where the stamps agree and a value is given.

    Returns:
        Which of the K steps have a row, ``(K,)``.
    """
    at = index.get_indexer(stamps)  # (K,) -1 where absent
    for k in np.flatnonzero(at >= 0):
        values[k, into] = np.where(np.isfinite(fresh[at[k]]), fresh[at[k]], values[k, into])
    return at >= 0


def _require_known(
    task: Forecasting, values: Array, covered: Array, stamps: pd.Index, known: list[int], where: str, fix: str
) -> None:
    """Raises ``DataError`` where a covariate is needed and missing in ``values (K, C)``.

    Every step needs a row. A cell in it may be empty if training had such cells, a category in any case: it may be of
    a level that training did not show.
    """
    for c in known:
        column = task.features.columns[c]
        may_be_empty = column.kind == "category" or column.name in task.features.may_be_empty
        missing = ~(covered if may_be_empty else np.isfinite(values[:, c]))  # (K,)
        if missing.any():
            raise DataError(
                f"the covariate {column.name!r} is needed ahead and is not given{where}",
                expected=f"a value for each of the {len(missing)} steps after the last observed target",
                got=f"none at {stamps[int(missing.argmax())]}",
                fix=fix,
            )


def _empty_ahead(task: Forecasting, extended: list[Extended]) -> list[str]:
    """A line on covariates of numbers that are empty at steps to forecast; none where none is."""
    features, horizon = task.features, task.config.horizon
    ahead = np.concatenate([entry.series.values[-horizon:] for entry in extended])  # (S·K, C)
    empty = {features.columns[c].name: int(np.isnan(ahead[:, c]).sum()) for c in features.of("future")}
    named = [f"{name} at {counted(n, 'step')}" for name, n in empty.items() if n and name in features.may_be_empty]
    return [f"empty ahead, and taken as not known there, for training has empty cells, too: {listed(named)}"] * bool(
        named
    )


def _said_of(task: Forecasting, extended: list[Extended], held: Array) -> list[str]:
    """Lines on what these windows have that is out of the ordinary; ``held (S, O)`` are targets that stand still."""
    features, steps = task.features, task.config.lookback + task.config.horizon
    newest = [replace(entry.series, values=entry.series.values[-steps:], given=None) for entry in extended]
    still: dict[str, dict[str, float]] = {}
    for s, o in np.argwhere(~np.isnan(held)):
        still.setdefault(extended[s].series.id, {})[features.targets[o]] = float(held[s, o])
    return [*said(still, features.targets), *said_of(features, newest)]


def _tidy(
    task: Forecasting, extended: list[Extended], point: Array, quantiles: Array, table: SeriesTable
) -> pd.DataFrame:
    names, levels = task.features.targets, task.config.quantiles
    time, id = _beside(task, table.roles.time or "time", "time"), _beside(task, table.roles.id or "", "id")
    frames = []
    for s, (series, _, stamps) in enumerate(extended):
        dated = isinstance(stamps, pd.DatetimeIndex)
        for o, name in enumerate(names):
            columns: dict[str, Any] = {time if dated else "step": local(stamps, table.zone)}
            columns |= {id: series.id} if id else {}
            columns |= {"target": name} if len(names) > 1 else {}
            columns["forecast"] = point[:, s, o]
            columns |= {_quantile(level): quantiles[:, s, o, q] for q, level in enumerate(levels)}
            frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def _beside(task: Forecasting, name: str, role: str) -> str:
    """What a column of the table is called beside those of a forecast: by its name, unless one of them has it."""
    ours = {"step", "target", "forecast", *map(_quantile, task.config.quantiles)}
    return f"{name} ({role})" if name in ours else name


def _quantile(level: float) -> str:
    return f"q{100 * level:g}"


def _brief(task: Forecasting, forecast: pd.DataFrame) -> list[str]:
    """The columns that fit a terminal: what is forecast, and the two widest intervals."""
    levels = task.config.quantiles
    shown = {_quantile(level) for level in (*levels[:2], *levels[-2:])}
    hidden = {_quantile(level) for level in levels} - shown
    return [column for column in forecast.columns if column not in hidden]


def local(stamps: pd.Index, zone: str | None) -> pd.Index:
    """Stamps on the clock of the table they continue."""
    if isinstance(stamps, pd.DatetimeIndex) and stamps.tz is not None and zone is not None:
        return stamps.tz_convert(zone)
    return stamps
