"""Rows in order of series and time, one for each stamp."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, NoReturn

import numpy as np
import pandas as pd

from gatelab.core.errors import DataError
from gatelab.data.columns import Chosen
from gatelab.data.frequency import microseconds
from gatelab.data.names import known_as, merged, said_renamed, said_unseen
from gatelab.data.reading import RawTable
from gatelab.data.roles import Roles
from gatelab.data.timeline import Timeline
from gatelab.data.values import numbers, text_cells
from gatelab.data.wording import counted
from gatelab.data.zones import at_clock_change, localised

Array = np.ndarray


class Rows(NamedTuple):
    """Rows sorted by series and stamp, each stamp once."""

    stamps: pd.DatetimeIndex | None  # (T,) naive; in UTC where there is a zone; None: no stamps
    values: Array  # (T, C)
    ids: tuple[str, ...]  # S series
    bounds: Array  # (S + 1,) where each series begins and ends
    zone: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def pieces(self) -> list[slice]:
        """The rows of each series."""
        return [slice(int(start), int(stop)) for start, stop in zip(self.bounds[:-1], self.bounds[1:], strict=True)]


def ordered(
    raw: RawTable, roles: Roles, timeline: Timeline, chosen: Chosen, known: Sequence[str] | None = None
) -> Rows:
    """Sorts rows by series and stamp, and leaves one row for each stamp.

    Args:
        raw: the cells.
        roles: which column names the series.
        timeline: the stamp of every row.
        chosen: the values of every row.
        known: the ids of the series that a model was trained on, if the table is for one.

    Raises:
        DataError: rows of one series with the same stamp and different values; a row without an id.
    """
    ids, series_of, said = _series(raw, roles, known)
    if timeline.stamps is None:
        order = np.argsort(series_of, kind="stable")  # (T,)
        bounds = np.searchsorted(series_of[order], np.arange(len(ids) + 1))  # (S + 1,)
        return Rows(None, chosen.values[order], ids, bounds, notes=tuple(said))
    stamps, zone, notes = localised(raw, roles, timeline, series_of)
    notes = [*said, *notes]
    micros = microseconds(stamps)  # (T,)
    order = np.lexsort((micros, series_of))  # (T,)
    if (np.diff(micros[np.argsort(series_of, kind="stable")]) * (np.diff(np.sort(series_of)) == 0) < 0).any():
        notes.append("rows not in order of time: sorted")
    order, values = _once(raw, roles, order, series_of, micros, chosen.values, notes)
    bounds = np.searchsorted(series_of[order], np.arange(len(ids) + 1))  # (S + 1,)
    return Rows(stamps[order], values, ids, bounds, zone, tuple(notes))


def _series(raw: RawTable, roles: Roles, known: Sequence[str] | None) -> tuple[tuple[str, ...], Array, list[str]]:
    """The names of the series, in the order of the file, which of them each row belongs to ``(T,)``, and notes."""
    if roles.id is None:
        return ("",), np.zeros(len(raw.frame), "int64"), []
    cells = text_cells(raw, roles.id, roles.missing)
    if cells.null_count:
        row = int(cells.is_null().to_numpy(zero_copy_only=False).argmax())
        raise DataError(
            f"{raw.where(row)} of {raw.name} has no value in the id column {roles.id!r}", fix="fill in or remove it"
        )
    codes = cells.dictionary_encode()
    given = codes.dictionary.to_pylist()
    renamed = merged(given) if known is None else known_as(given, known)
    called = [renamed.get(name, name) for name in given]
    ids = tuple(dict.fromkeys(called))
    place = {name: number for number, name in enumerate(ids)}
    series_of = np.array([place[name] for name in called])[codes.indices.to_numpy()]  # (T,)
    notes = said_renamed(roles.id, renamed)
    if known is not None:
        unseen = [name for name in ids if name not in set(known)]
        notes += said_unseen(roles.id, unseen, known, "scaled by all series of the training together")
    return ids, series_of.astype("int64"), notes


def _once(
    raw: RawTable, roles: Roles, order: Array, series_of: Array, micros: Array, values: Array, notes: list[str]
) -> tuple[Array, Array]:
    """Leaves one row for each series and stamp: ``order`` and ``values`` of those."""
    in_order = bool((order[1:] > order[:-1]).all())  # then there is nothing to move, and nothing to copy
    series, times, values = (part if in_order else part[order] for part in (series_of, micros, values))
    again = np.r_[False, (np.diff(series) == 0) & (np.diff(times) == 0)]  # (T,) same stamp as the row before
    if not again.any():
        return order, values
    same = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))  # (T-1, C)
    differs = again & ~np.r_[True, same.all(axis=1)]  # (T,)
    if not differs.any():
        notes.append(f"{counted(int(again.sum()), 'row')} with the stamp and the values of another one: dropped")
        return order[~again], values[~again]
    if roles.duplicates == "error":
        _refuse_duplicates(raw, roles, order, differs, micros)
    notes.append(
        f"{counted(int(again.sum()), 'row')} with the stamp of another one: {roles.duplicates} of each stamp taken"
    )
    first = np.flatnonzero(~again)  # (N,)
    if roles.duplicates == "mean":
        return order[first], _means(values, first)
    kept = first if roles.duplicates == "first" else np.r_[first[1:] - 1, len(order) - 1]  # (N,)
    return order[kept], values[kept]


def _means(values: Array, first: Array) -> Array:
    """Mean of the values present in each run of rows that begins at ``first (N,)``. (N, C)"""
    present = ~np.isnan(values)  # (T, C)
    sums = np.add.reduceat(np.where(present, values, 0.0), first, axis=0)  # (N, C)
    counts = np.add.reduceat(present.astype(float), first, axis=0)  # (N, C)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def _refuse_duplicates(raw: RawTable, roles: Roles, order: Array, differs: Array, micros: Array) -> NoReturn:
    at = int(differs.argmax())
    one, two = sorted((int(order[at - 1]), int(order[at])))
    stamps = pd.DatetimeIndex(micros[order[differs]].astype("datetime64[us]"))
    likely = None if roles.id else _likely_id(raw, micros)
    fix = "keep one row for each stamp with --duplicates mean, first or last"
    if likely:
        fix = f"column {likely!r} seems to name several series: --id {likely}; otherwise {fix}"
    elif roles.time_zone is None and at_clock_change(stamps):
        fix = f"this is where clocks change: if stamps are local time, name the zone with --time-zone; otherwise {fix}"
    elif not roles.id:
        fix += ", or name the column that tells several series apart with --id"
    raise DataError(
        f"{raw.name} has {counted(int(differs.sum()), 'row')} with the stamp of another one and other values",
        expected="one row for each stamp",
        got=f"{stamps[0]} in {raw.where(one)} and {raw.where(two)}",
        fix=fix,
    )


def _likely_id(raw: RawTable, micros: Array) -> str | None:
    """A column of text that tells rows with the same stamp apart, where most stamps repeat."""
    if len(np.unique(micros)) > 0.7 * len(micros):
        return None
    for name in raw.frame.columns:
        if numbers(raw, name).usable or pd.api.types.is_datetime64_any_dtype(raw.frame[name]):
            continue
        codes = pd.factorize(raw.frame[name])[0]
        if not pd.DataFrame({"stamp": micros, "series": codes}).duplicated().any():
            return name
    return None
