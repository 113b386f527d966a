"""A table of time series: read, checked, put on a regular grid, every decision noted."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from gatelab.core.config import from_dict, to_dict
from gatelab.data.columns import Chosen, choose, choose_like
from gatelab.data.frequency import Frequency, named_frequency
from gatelab.data.grid import regular
from gatelab.data.reading import RawTable, read_raw
from gatelab.data.roles import Column, Roles
from gatelab.data.rows import ordered
from gatelab.data.sources import with_hints
from gatelab.data.timeline import Timeline, find_time

Array = np.ndarray
Source = str | os.PathLike[str] | pd.DataFrame


@dataclass(frozen=True, eq=False)
class Series:
    """One series of a table, on regular steps."""

    id: str
    """Its name in the id column; empty where the table holds one series."""
    stamps: pd.DatetimeIndex | pd.RangeIndex
    """(T,) rising; with a zone where the table has one; row numbers where it has no stamps."""
    values: Array
    """(T, C) float64 in the user's units: NaN is missing, a category is an index into its column's levels."""
    frequency: Frequency
    """The table's, and where in the calendar this series stands."""
    given: Array | None = None
    """(T,) bool: whether the table has a row for the step, be it an empty one; none: it has one for every step."""

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, eq=False)
class SeriesTable:
    """A table of time series whose columns have their roles."""

    name: str
    """What the source is called in messages."""
    columns: tuple[Column, ...]
    """Targets, then past covariates, then future covariates: the order of ``Series.values``."""
    series: tuple[Series, ...]
    frequency: Frequency
    roles: Roles
    """What the user said, and what was found where nothing was said."""
    zone: str | None = None
    """Time zone of the stamps."""
    notes: tuple[str, ...] = ()
    """What was decided, one line each."""

    def indices(self, role: str) -> list[int]:
        """Places in ``Series.values`` of the columns with a role."""
        return [place for place, column in enumerate(self.columns) if column.role == role]

    def schema(self) -> dict[str, Any]:
        """What ``read_like`` needs to read another table the same way, as plain JSON values."""
        return {
            "roles": to_dict(self.roles),
            "columns": [column.to_dict() for column in self.columns],
            "frequency": self.frequency.to_dict(),
            "zone": self.zone,
            "series": [series.id for series in self.series] if self.roles.id else [],
        }

    def to_frame(self) -> pd.DataFrame:
        """Back to a frame in long format, with levels in words: for a look, or for a file."""
        frames = []
        for series in self.series:
            frame = pd.DataFrame(series.values, columns=[column.name for column in self.columns])
            for column in self.columns:
                if column.kind == "category":
                    words = dict(enumerate(column.levels))
                    frame[column.name] = frame[column.name].map(words).astype("str")
            frame.insert(0, "time", series.stamps)
            if self.roles.id is not None:
                frame.insert(0, self.roles.id, series.id)
            frames.append(frame)
        return pd.concat(frames, ignore_index=True)


@contextmanager
def _memory_given_back() -> Iterator[None]:
    """Has Arrow ask the system for memory meanwhile: its own pool keeps what is freed, half of a large table again."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


@_memory_given_back()
def read_table(source: Source, roles: Roles | None = None) -> SeriesTable:
    """Reads time series from a file, a data set or a frame.

    Args:
        source: CSV, TSV, text (also ``.gz`` or ``.zip``) or Parquet; the name of a data set; a ``DataFrame``.
        roles: what the columns are; what is left open is found, and said in ``notes``.

    Raises:
        InputError: a name that does not exist, or a question only the user can answer (dates read in two ways).
        DataError: the file cannot be read or does not hold what is needed; the message names the row.
    """
    roles = with_hints(source, roles or Roles())
    raw = read_raw(source, roles.decimal)
    timeline = find_time(raw, roles)
    raw.forget(timeline.columns)
    chosen = choose(raw, roles, timeline)
    asked = named_frequency(roles.frequency) if roles.frequency else None
    return _assemble(raw, roles, timeline, chosen, asked)


@_memory_given_back()
def read_like(source: Source, schema: Mapping[str, Any]) -> SeriesTable:
    """Reads a table as another one was read: the same columns, levels, names of series and frequency.

    Series and levels that the other table did not have are noted; numerals that are equal are one name.

    Args:
        source: as for ``read_table``.
        schema: what ``SeriesTable.schema`` gave.

    Raises:
        DataError: a column is missing, or the rows are of another frequency.
    """
    roles = from_dict(Roles, schema["roles"])
    raw = read_raw(source, roles.decimal)
    timeline = find_time(raw, roles)
    columns = tuple(Column.from_dict(entry) for entry in schema["columns"])
    chosen = choose_like(raw, roles, columns)
    return _assemble(raw, roles, timeline, chosen, Frequency(**schema["frequency"]), known=schema["series"])


def _assemble(
    raw: RawTable,
    roles: Roles,
    timeline: Timeline,
    chosen: Chosen,
    asked: Frequency | None,
    known: Sequence[str] | None = None,
) -> SeriesTable:
    """``known``: the series of the table that this one is read like, if it is."""
    rows = ordered(raw, roles, timeline, chosen, known)
    grid = regular(raw, rows, chosen.columns, asked, learned=known is not None)
    series = tuple(Series(*piece) for piece in grid.series)
    resolved = dataclasses.replace(
        roles,
        target=tuple(column.name for column in chosen.columns if column.role == "target"),
        time=timeline.columns[0] if timeline.columns else None,
        past=tuple(column.name for column in chosen.columns if column.role == "past"),
        day_first=roles.day_first if roles.day_first is not None else timeline.day_first,
        # Days among which some series trade are found again: the alias alone would fill their weekends with gaps.
        frequency=None if grid.frequency.business else grid.frequency.alias,
    )
    notes = (*raw.notes, *timeline.notes, *rows.notes, *grid.notes, *chosen.notes)
    return SeriesTable(raw.name, chosen.columns, series, grid.frequency, resolved, rows.zone, notes)
