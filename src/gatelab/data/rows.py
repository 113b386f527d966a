"""Rows in order, one for each stamp, on a regular grid."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from gatelab.core.errors import DataError, InputError
from gatelab.data import frequency as steps
from gatelab.data.columns import Chosen
from gatelab.data.frequency import Frequency, Grid
from gatelab.data.reading import RawTable
from gatelab.data.roles import Roles
from gatelab.data.timeline import Timeline
from gatelab.data.values import text_cells
from gatelab.data.zones import localised

Array = np.ndarray


class Rows(NamedTuple):
    """Rows sorted by series and stamp, each stamp once."""

    stamps: pd.DatetimeIndex | None  # (T,) naive; UTC where there is a zone
    values: Array  # (T, C)
    ids: tuple[str, ...]
    bounds: Array  # (S + 1,) where each series begins and ends
    zone: str | None
    names: tuple[str, ...]  # columns, for notes
    notes: tuple[str, ...]


class Regular(NamedTuple):
    """Series on a grid."""

    series: list[tuple[str, pd.DatetimeIndex | pd.RangeIndex, Array]]
    frequency: Frequency
    notes: tuple[str, ...]


def ordered(raw: RawTable, roles: Roles, timeline: Timeline, chosen: Chosen) -> Rows:
    """Sorts rows by series and stamp, and leaves one row for each stamp.

    Raises:
        DataError: rows of one series with the same stamp and different values; a row without an id.
    """
    names = tuple(column.name for column in chosen.columns)
    ids, series_of = _series(raw, roles)
    if timeline.stamps is None:
        order = np.argsort(series_of, kind="stable")
        bounds = np.searchsorted(series_of[order], np.arange(len(ids) + 1))
        return Rows(None, chosen.values[order], ids, bounds, None, names, ())
    stamps, zone, notes = localised(raw, roles, timeline, series_of)
    micros = stamps.asi8  # (T,)
    order = np.lexsort((micros, series_of))
    if (np.diff(micros) < 0).any() and (np.diff(order) < 0).any() and len(ids) == 1:
        notes.append("the rows were not in order of time: sorted")
    order, values = _once(raw, roles, order, series_of, micros, chosen.values, notes)
    bounds = np.searchsorted(series_of[order], np.arange(len(ids) + 1))
    return Rows(stamps[order], values, ids, bounds, zone, names, tuple(notes))


def _series(raw: RawTable, roles: Roles) -> tuple[tuple[str, ...], Array]:
    """The names of the series, in the order of the file, and which of them each row belongs to. (T,)"""
    if roles.id is None:
        return ("",), np.zeros(len(raw.frame), "int64")
    cells = text_cells(raw.frame[roles.id], roles.missing)
    if cells.null_count:
        row = int(cells.is_null().to_numpy(zero_copy_only=False).argmax())
        raise DataError(f"{raw.where(row)} of {raw.name} has no value in the id column {roles.id!r}")
    codes = cells.dictionary_encode()
    return tuple(codes.dictionary.to_pylist()), codes.indices.to_numpy().astype("int64")


def _once(raw: RawTable, roles: Roles, order: Array, series_of: Array, micros: Array, values: Array, notes: list[str]):
    """Leaves one row for each series and stamp: ``(order, values)`` of those."""
    series, times, values = series_of[order], micros[order], values[order]
    again = np.r_[False, (np.diff(series) == 0) & (np.diff(times) == 0)]  # (T,) same stamp as the row before
    if not again.any():
        return order, values
    same = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))  # (T-1, C)
    differs = again & ~np.r_[True, same.all(axis=1)]
    if not differs.any():
        notes.append(f"{int(again.sum()):,} rows repeat the row with the same stamp: dropped")
        return order[~again], values[~again]
    if roles.duplicates == "error":
        _refuse_duplicates(raw, roles, order, int(differs.argmax()), int(differs.sum()), micros)
    first = np.flatnonzero(~again)
    notes.append(f"{int(again.sum()):,} rows repeat a stamp: the {roles.duplicates} of each is kept")
    if roles.duplicates == "first":
        return order[first], values[first]
    last = np.r_[first[1:] - 1, len(order) - 1]
    if roles.duplicates == "last":
        return order[last], values[last]
    present = ~np.isnan(values)
    sums = np.add.reduceat(np.where(present, values, 0.0), first, axis=0)
    counts = np.add.reduceat(present.astype(float), first, axis=0)
    with np.errstate(invalid="ignore"):
        return order[first], sums / counts


def _refuse_duplicates(raw: RawTable, roles: Roles, order: Array, at: int, count: int, micros: Array) -> None:
    one, two = sorted((int(order[at - 1]), int(order[at])))
    stamp = pd.Timestamp(int(micros[order[at]]), unit="us")
    likely = None if roles.id else _likely_id(raw, micros)
    by_id = f"--id {likely} if that column names the series, or " if likely else ""
    raise DataError(
        f"{raw.name} has {count:,} rows that repeat a stamp with other values",
        got=f"{stamp} in {raw.where(one)} and {raw.where(two)}",
        fix=f"give {by_id}--id COLUMN for several series, or --duplicates mean, first or last to keep one row",
    )


def _likely_id(raw: RawTable, micros: Array) -> str | None:
    """A column of few values that, with the stamp, tells every row apart."""
    for name in raw.frame.columns:
        column = raw.frame[name]
        if column.dtype == object or isinstance(column.dtype, (pd.StringDtype, pd.CategoricalDtype)):
            codes = pd.factorize(column)[0]
            if codes.max() < len(micros) / 3 and not pd.DataFrame({"s": micros, "i": codes}).duplicated().any():
                return name
    return None


# ---- the grid -------------------------------------------------------------------------------------------------


def regular(raw: RawTable, rows: Rows, asked: Frequency | None, learned: bool = False) -> Regular:
    """Puts every series on the grid of one frequency; rows that are absent become rows of NaN.

    Raises:
        DataError: the stamps are on no regular grid, or not on the one asked for.
    """
    pieces = [slice(start, stop) for start, stop in zip(rows.bounds[:-1], rows.bounds[1:], strict=True)]
    if rows.stamps is None:
        frequency = Frequency(asked.alias, rows=True) if asked else Frequency("rows", rows=True)
        series = [(name, pd.RangeIndex(piece.stop - piece.start), rows.values[piece]) for name, piece in zip(rows.ids, pieces, strict=True)]  # fmt: skip
        return Regular(series, frequency, tuple(_counted(rows, series, frequency)))
    frequency = asked or _common(raw, rows, pieces)
    notes: list[str] = []
    series, absent, moved = [], 0, 0
    for name, piece in zip(rows.ids, pieces, strict=True):
        local = _on_clock(rows, piece, frequency)
        if frequency.rows:
            series.append((name, _zoned(rows, rows.stamps[piece], True), rows.values[piece]))
            continue
        grid = steps.place(local, frequency)
        if grid is None:
            _refuse_frequency(raw, name, frequency, local, learned)
        frequency = grid.frequency
        values = np.full((grid.length, rows.values.shape[1]), np.nan)  # (T, C)
        values[grid.places] = rows.values[piece]
        absent += grid.length - len(grid.places)
        moved = max(moved, grid.moved)
        series.append((name, _zoned(rows, grid.stamps(), _in_utc(rows, frequency)), values))
    notes += _counted(rows, series, frequency)
    if absent:
        notes.append(f"{absent:,} rows are absent between the first and the last: steps without values, masked")
    if moved:
        notes.append(f"stamps moved by up to {pd.Timedelta(moved, unit='us')} to the regular grid")
    return Regular(series, frequency, tuple(notes))


def _in_utc(rows: Rows, frequency: Frequency) -> bool:
    """Steps below a day count real time; days, weeks and months count the calendar on the wall."""
    return rows.zone is not None and steps.is_clock(frequency)


def _on_clock(rows: Rows, piece: slice, frequency: Frequency | None) -> pd.DatetimeIndex:
    stamps = rows.stamps[piece]
    if rows.zone is None or (frequency is not None and _in_utc(rows, frequency)):
        return stamps
    return stamps.tz_localize("UTC").tz_convert(rows.zone).tz_localize(None)


def _zoned(rows: Rows, stamps: pd.DatetimeIndex, in_utc: bool) -> pd.DatetimeIndex:
    if rows.zone is None:
        return stamps
    if in_utc:
        return stamps.tz_localize("UTC").tz_convert(rows.zone)
    return stamps.tz_localize(rows.zone, ambiguous=True, nonexistent="shift_forward")


def _common(raw: RawTable, rows: Rows, pieces: list[slice]) -> Frequency:
    """The frequency that most series have."""
    found: dict[Frequency, int] = {}
    for piece in pieces:
        grid = _found(rows, piece)
        if grid is not None:
            found[grid.frequency] = found.get(grid.frequency, 0) + 1
    if found:
        return max(found, key=lambda frequency: found[frequency])
    _refuse_irregular(raw, rows, pieces)
    raise AssertionError


def _found(rows: Rows, piece: slice) -> Grid | None:
    grid = steps.find(_on_clock(rows, piece, None))
    if grid is None or (rows.zone is not None and steps.is_clock(grid.frequency)):
        return steps.find(rows.stamps[piece])
    return grid


def _counted(rows: Rows, series, frequency: Frequency) -> list[str]:
    total = sum(len(values) for *_, values in series)
    stamps = rows.stamps
    span = ""
    if stamps is not None:
        ends = _zoned(rows, pd.DatetimeIndex([stamps.min(), stamps.max()]), True)
        day = (ends == ends.normalize()).all()
        first, last = (f"{end:%Y-%m-%d}" if day else f"{end:%Y-%m-%d %H:%M}" for end in ends)
        span = f", {first} to {last}"
    what = f"{total:,} {frequency.text} rows".replace("  ", " ")
    if frequency.alias == "B":
        what = f"{total:,} trading days: rows are the steps, weekends and holidays are no gaps"
    several = f" in {len(series)} series" if len(series) > 1 else ""
    notes = [f"{what}{several}{span}"]
    missing = np.sum([np.isnan(values).sum(axis=0) for *_, values in series], axis=0)  # (C,)
    for name, count in zip(rows.names, missing, strict=True):
        if count:
            notes.append(f"{count:,} gaps in {name} ({100 * count / total:.2g} %): masked in the state and the loss")
    return notes


def _refuse_irregular(raw: RawTable, rows: Rows, pieces: list[slice]) -> None:
    stamps = rows.stamps
    enough = max(piece.stop - piece.start for piece in pieces) >= 3
    lengths = pd.Series(np.diff(stamps[pieces[0]].asi8)) if enough else pd.Series([], dtype=float)
    if not enough:
        raise DataError(
            f"{raw.name} has too few rows to see how far they lie apart",
            got=f"{len(stamps)} rows",
            fix="name the step, as in --frequency h, or --frequency rows",
        )
    low, middle, high = (pd.Timedelta(int(lengths.quantile(q)), unit="us") for q in (0.05, 0.5, 0.95))
    raise DataError(
        f"the stamps of {raw.name} are on no regular grid",
        got=f"steps between {low} and {high}, half of them below {middle}",
        fix="take each row as the next step with --frequency rows, or bring the table to regular steps first",
    )


def _refuse_frequency(raw: RawTable, name: str, frequency: Frequency, stamps, learned: bool) -> None:
    grid = steps.find(stamps)
    found = f"{grid.frequency.text} rows" if grid is not None else "stamps on no regular grid"
    series = f"series {name!r} of " if name else ""
    if learned:
        raise DataError(
            f"{series}{raw.name} does not have the step the model was trained with",
            expected=f"{frequency.text} rows",
            got=found,
            fix="predict from a table with the same step",
        )
    raise DataError(
        f"{series}{raw.name} does not stand on a grid of {frequency.alias}",
        got=found,
        fix="change --frequency, or take each row as the next step with --frequency rows",
    )
