"""Which columns hold the time, and what stamp each row has."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from gatelab.core.errors import DataError, InputError, nearest
from gatelab.data.dates import looks_like_dates, parse_dates
from gatelab.data.reading import RawTable
from gatelab.data.roles import Roles
from gatelab.data.values import clean, numbers, numbers_among, text_cells
from gatelab.data.wording import counted

pc: Any = pyarrow.compute  # its functions are made when it is imported: type checkers see none

_TIME_NAME = re.compile(
    r"(?i)(^|[^a-z])(date|time|datetime|time[_ ]?stamp|ds|epoch|unix|unixtime|month|quarter|year|day|period)([^a-z]|$)"
)
_PARTS = {
    "year": ("year", "yr", "yyyy"),
    "month": ("month", "mon", "mo", "mm"),
    "day": ("day", "dy", "dd", "day_of_month"),
    "hour": ("hour", "hr", "hh"),
    "minute": ("minute", "min", "mi"),
    "second": ("second", "sec"),
}
_RANGES = {
    "year": (1000, 2999),
    "month": (1, 12),
    "day": (1, 31),
    "hour": (0, 24),
    "minute": (0, 59),
    "second": (0, 60),
}
_EPOCHS = ((1e8, 1e10, "s", "seconds"), (1e11, 1e13, "ms", "milliseconds"), (1e14, 1e16, "us", "microseconds"),
           (1e17, 1e19, "ns", "nanoseconds"))  # fmt: skip


@dataclass(frozen=True)
class Timeline:
    """The stamp of every row, in the order of the file."""

    stamps: pd.DatetimeIndex | None
    """(T,) without a zone, in microseconds; in UTC where there is a ``zone``; ``None``: rows are counted."""
    columns: tuple[str, ...] = ()
    """The columns the stamps were read from."""
    zone: str | None = None
    day_first: bool | None = None
    notes: tuple[str, ...] = ()


def find_time(raw: RawTable, roles: Roles) -> Timeline:
    """Finds and reads the time column, or the columns that hold it together.

    Raises:
        InputError: there is no column of the name given, or dates can be read in two ways.
        DataError: a cell is missing or no date, or dates are written in two ways.
    """
    if roles.time is not None:
        return _named(raw, roles, roles.time)
    taken = {*roles.named, roles.id}
    free = [name for name in raw.frame.columns if name not in taken]
    typed = [name for name in free if pd.api.types.is_datetime64_any_dtype(raw.frame[name])]
    if typed:
        return _read(raw, roles, _likeliest(typed))
    parts = _split_parts(raw, free)
    written = [
        name for name in free if _is_text(raw.frame[name]) and looks_like_dates(clean(raw.frame[name].head(2000)))
    ]
    if parts and not written:
        return _together(raw, parts)
    written = written or [name for name in free if _counts_time(raw, name)]
    if written:
        return _read(raw, roles, _likeliest(written), others=written)
    return Timeline(None, notes=("no time column: the rows are the steps, in the order of the file",))


def _named(raw: RawTable, roles: Roles, name: str) -> Timeline:
    if name not in raw.frame.columns:
        raise InputError(
            f"{raw.name} has no column {name!r}",
            expected="the time column",
            fix=f"did you mean {nearest(name, raw.frame.columns)}?",
        )
    parts = _split_parts(raw, [other for other in raw.frame.columns if other not in roles.named])
    if len(parts) > 1 and name in parts.values():
        return _together(raw, parts)
    return _read(raw, roles, name)


def _is_text(column: pd.Series) -> bool:
    return column.dtype == object or isinstance(column.dtype, (pd.StringDtype, pd.CategoricalDtype))


def _likeliest(names: list[str]) -> str:
    """The first column with a name of time, else the first."""
    return next((name for name in names if _TIME_NAME.search(name)), names[0])


# ---- one column -----------------------------------------------------------------------------------------------


def _read(raw: RawTable, roles: Roles, name: str, others: list[str] | None = None) -> Timeline:
    column = raw.frame[name]
    if pd.api.types.is_datetime64_any_dtype(column):
        return _from_typed(raw, roles, name)
    compact = _compact_numbers(raw, name)
    if compact is not None:
        return compact
    cells = text_cells(raw, name)
    columns, clock = (name,), _clock_column(raw, roles, name, cells)
    if clock is not None:
        cells, columns = _joined(cells, text_cells(raw, clock)), (name, clock)
    read = parse_dates(cells, name, raw.where, roles.day_first)
    notes = [f"time: {' and '.join(columns)}"]
    if read.style:
        example = f", so {cells[0].as_py()} is {_spelled(read.values[0])}" if read.day_first is not None else ""
        notes[0] += f", written {read.style}{example}"
    spare = [other for other in others or () if other not in columns]
    if spare:
        notes.append(f"also written like dates: {', '.join(spare)} (--time chooses another)")
    return Timeline(read.values, columns, read.zone, read.day_first, tuple(notes))


def _joined(dates: pa.Array, times: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(dates, pc.cast(times, dates.type), pa.scalar(" ", dates.type))


def _spelled(stamp: pd.Timestamp) -> str:
    return f"{stamp.day} {stamp:%B %Y}"


def _from_typed(raw: RawTable, roles: Roles, name: str) -> Timeline:
    column = raw.frame[name]
    if column.isna().any():
        row = int(column.isna().to_numpy().argmax())
        raise DataError(
            f"the time column {name!r} has {counted(int(column.isna().sum()), 'row')} without a stamp",
            got=f"the first is {raw.where(row)}",
            fix="fill in or remove these rows",
        )
    stamps = pd.DatetimeIndex(column)
    zone = str(stamps.tz) if stamps.tz is not None else None
    stamps = stamps.tz_convert(None) if zone else stamps
    return Timeline(stamps.as_unit("us"), (name,), zone, notes=(f"time: {name}",))


def _clock_column(raw: RawTable, roles: Roles, name: str, cells: pa.Array) -> str | None:
    """A column of times of day beside a column of dates, as in ``Date;Time``."""
    clock = r"^\d{1,2}[:.]\d{2}([:.]\d{2}([.,]\d+)?)?( ?[AaPp]\.?[Mm]\.?)?$"
    if pc.any(pc.match_substring(cells, ":")).as_py():
        return None
    for other in raw.frame.columns:
        if other == name or other in roles.named or not _is_text(raw.frame[other]) or not _TIME_NAME.search(other):
            continue
        times = text_cells(raw, other)
        if not times.null_count and pc.all(pc.match_substring_regex(times, clock)).as_py():
            return other
    return None


# ---- stamps written as plain numbers --------------------------------------------------------------------------


def _counts_time(raw: RawTable, name: str) -> bool:
    """Whether a column of numbers has a name of time and holds years, compact dates or an epoch."""
    return bool(_TIME_NAME.search(name)) and _number_kind(raw, name) is not None


def _number_kind(raw: RawTable, name: str) -> str | None:
    if _is_text(raw.frame[name]) and not numbers_among(raw.frame[name].head(100), raw.decimal):
        return None  # a long column of stamps need not be tried cell by cell
    found = numbers(raw, name)
    if not found.usable or np.isnan(found.values).any():
        return None
    low, high = found.values.min(), found.values.max()
    whole = bool((found.values == np.floor(found.values)).all())
    if whole and low >= 1500 and high <= 2199:
        return "%Y"
    if whole and low >= 150001 and high <= 219912 and (found.values % 100).max() <= 12 and (found.values % 100).min():
        return "%Y%m"
    if whole and low >= 15000101 and high <= 21991231 and (found.values % 100).max() <= 31:
        return "%Y%m%d"
    return next((unit for least, most, unit, _ in _EPOCHS if least <= low and high < most), None)


def _compact_numbers(raw: RawTable, name: str) -> Timeline | None:
    kind = _number_kind(raw, name)
    if kind is None:
        return None
    values = numbers(raw, name).values
    if kind.startswith("%"):
        text = pd.Series(values).astype("int64").astype("str")
        stamps = pd.to_datetime(text, format=kind, errors="coerce")
        if stamps.isna().any():
            row = int(stamps.isna().to_numpy().argmax())
            raise DataError(
                f"the time column {name!r} holds something that is no date", got=f"{text[row]} in {raw.where(row)}"
            )
        how = {"%Y": "years", "%Y%m": "year and month", "%Y%m%d": "year, month and day"}[kind]
        return Timeline(pd.DatetimeIndex(stamps).as_unit("us"), (name,), notes=(f"time: {name}, written as {how}",))
    spoken = next(spoken for *_, unit, spoken in _EPOCHS if unit == kind)
    scale = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}[kind]
    stamps = pd.DatetimeIndex(np.round(values * scale).astype("int64").astype("datetime64[us]"))
    return Timeline(stamps, (name,), "UTC", notes=(f"time: {name}, {spoken} since 1970 in UTC",))


# ---- several columns ------------------------------------------------------------------------------------------


def _split_parts(raw: RawTable, free: list[str]) -> dict[str, str]:
    """``{"year": column, "month": column, …}``: at least year and month, without a hole below them."""
    by_name = {name.strip().lower(): name for name in reversed(free)}
    found: dict[str, str] = {}
    for part, names in _PARTS.items():
        name = next((by_name[alias] for alias in names if alias in by_name), None)
        if name is None:
            break
        values = numbers(raw, name)
        low, high = _RANGES[part]
        if (
            not values.usable
            or np.isnan(values.values).any()
            or values.values.min() < low
            or values.values.max() > high
        ):
            break
        found[part] = name
    return found if len(found) > 1 else {}


def _together(raw: RawTable, parts: dict[str, str]) -> Timeline:
    fields: dict[str, Any] = {part: numbers(raw, name).values.astype("int64") for part, name in parts.items()}
    stamps = pd.to_datetime(pd.DataFrame({"day": 1, **fields}), errors="coerce")
    if stamps.isna().any():
        row = int(stamps.isna().to_numpy().argmax())
        raise DataError(
            f"the columns {', '.join(parts.values())} of {raw.name} give no date in {raw.where(row)}",
            got=", ".join(f"{name} {fields[part][row]}" for part, name in parts.items()),
            fix="mend that row, or name another time column with --time",
        )
    names = tuple(parts.values())
    note = f"time: the columns {', '.join(names[:-1])} and {names[-1]}, put together"
    return Timeline(pd.DatetimeIndex(stamps).as_unit("us"), names, notes=(note,))
