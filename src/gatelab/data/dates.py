"""Cells → stamps: which way dates are written, decided over the whole column.

A stamp is cut into a date, a time of day and an offset. There are few different dates and times in even a long
column, so each different one is parsed once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from gatelab.core.errors import DataError, InputError
from gatelab.data.frequency import find
from gatelab.data.wording import counted

pc: Any = pyarrow.compute  # its functions are made when it is imported: type checkers see none

Array = np.ndarray
Where = Callable[[int], str]

_CLOCK = (
    r"(?:[T, ]+(?P<time>\d{1,2}[:.]\d{2}(?:[:.]\d{2}(?:[.,]\d+)?)?(?: ?[AaPp]\.?[Mm]\.?)?)"
    r"(?P<zone> ?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2}))?)?"
)
_CUT = rf"^(?P<date>.*?){_CLOCK}$"
_CUT_TOO_LATE = re.compile(r"[T, ](\d{1,2}[:.]\d{2}|$)|\n")  # in a date: ``_CUT`` would have ended it earlier
_TIME = re.compile(r"(\d{1,2})[:.](\d{2})(?:[:.](\d{2})(?:[.,](\d+))?)?(?: ?([AaPp])\.?[Mm]\.?)?")
_DAY = 86_400_000_000  # microseconds


class Style(NamedTuple):
    """One way to write a date."""

    name: str
    pattern: str
    format: str
    """For ``pandas.to_datetime``, after every run of separators has become one blank."""


def _styles() -> tuple[Style, ...]:
    month = r"[A-Za-z]{3,9}\.?"
    return (
        Style("year-month-day", r"\d{4}([-/. ])\d{1,2}\1\d{1,2}", "%Y %m %d"),
        Style("year-month-day without separators", r"(1[5-9]|2[01])\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])", "%Y%m%d"),
        Style("day-first", r"\d{1,2}([-/. ])\d{1,2}\1\d{4}", "%d %m %Y"),
        Style("month-first", r"\d{1,2}([-/. ])\d{1,2}\1\d{4}", "%m %d %Y"),
        Style("day-first, two-digit years", r"\d{1,2}([-/. ])\d{1,2}\1\d{2}", "%d %m %y"),
        Style("month-first, two-digit years", r"\d{1,2}([-/. ])\d{1,2}\1\d{2}", "%m %d %y"),
        Style("day month-name year", rf"\d{{1,2}}[-/. ]+{month}[-/, ]+\d{{4}}", "%d %b %Y"),
        Style("day month-name year", rf"\d{{1,2}}[-/. ]+{month}[-/, ]+\d{{2}}", "%d %b %y"),
        Style("month-name day year", rf"{month}[-/ ]+\d{{1,2}},?[-/ ]+\d{{4}}", "%b %d %Y"),
        Style("year month-name day", rf"\d{{4}}[-/ ]+{month}[-/ ]+\d{{1,2}}", "%Y %b %d"),
        Style("year-month", r"\d{4}[-/]\d{1,2}", "%Y %m"),
        Style("year-month", r"\d{4}M\d{2}", "%YM%m"),
        Style("month-year", r"\d{1,2}[-/]\d{4}", "%m %Y"),
        Style("month-name year", rf"{month}[-/, ]+\d{{4}}", "%b %Y"),
        Style("month-name year", rf"{month}[-/, ]+\d{{2}}", "%b %y"),
        Style("quarters", r"\d{4}[- ]?[Qq][1-4]", "quarter"),
        Style("quarters", r"[Qq][1-4][-/ ]?\d{4}", "quarter"),
        Style("years", r"(1[5-9]|20|21)\d\d", "%Y"),
    )


STYLES = _styles()


class Stamps(NamedTuple):
    """A column read as stamps."""

    values: pd.DatetimeIndex
    """(T,) without a zone, in microseconds; in UTC where the text had offsets."""
    style: str
    """How dates are written, for a note; empty for the plain ISO order."""
    zone: str | None
    """``"UTC"`` or a fixed offset where the text had offsets."""
    day_first: bool | None
    """The reading chosen, where there were two."""


_Pieces = tuple[pa.DictionaryArray, pa.DictionaryArray, pa.DictionaryArray]  # date, time of day, zone; (T,) each
_Read = tuple[Style, Array]  # a style, and every different date as days in it, NaT where it does not fit


class _Parts(NamedTuple):
    dates: list[str]  # the different dates
    date_of: Array  # (T,) index into dates
    micros: Array  # (T,) time of day less the offset, in microseconds
    zone: str | None


def looks_like_dates(cells: pa.Array) -> bool:
    """Whether nine of ten among the first fifty cells are written like dates; digits alone are not enough."""
    head = cells.drop_null().slice(0, 50).to_pylist()
    cut = [re.match(_CUT, cell) for cell in head if not cell.isdigit()]
    dates = [match["date"] for match in cut if match]
    styles = {style for date in dates for style in _candidates(date)}
    read = [~np.isnat(_days(dates, style)) for style in styles]  # (D,) each
    return bool(read) and np.any(read, axis=0).sum() >= 0.9 * len(head)


def parse_dates(cells: pa.Array, name: str, where: Where, day_first: bool | None = None) -> Stamps:
    """Reads a column of text as stamps.

    Args:
        cells: trimmed text. (T,)
        name: the column's name, for messages.
        where: from a row to what a person calls it.
        day_first: which way ``03/04/2016`` goes; ``None``: by evidence.

    Raises:
        DataError: a cell is missing or no date, or dates are written in two ways.
        InputError: every date can be read day-first and month-first, and neither is more regular.
    """
    if cells.null_count:
        row = int(np.argmax(cells.is_null().to_numpy(zero_copy_only=False)))
        raise DataError(
            f"the time column {name!r} has {counted(cells.null_count, 'row')} without a stamp",
            got=f"the first is {where(row)}",
            fix="fill in or remove these rows",
        )
    parts = _cut(cells, name, where)
    style, days = _read_dates(parts, cells, name, where, day_first)
    micros = days.astype("datetime64[us]").astype("int64")[parts.date_of]  # (T,)
    micros += parts.micros
    values = pd.DatetimeIndex(micros.view("datetime64[us]"))
    either = style.name.startswith(("day-first", "month-first"))
    plain = style.name == "year-month-day"
    return Stamps(
        values,
        "" if plain else style.name,
        parts.zone,
        style.name.startswith("day-first") if either else None,
    )


def _cut(cells: pa.Array, name: str, where: Where) -> _Parts:
    pieces = _cut_at_one_place(cells) or _cut_anywhere(cells)
    if pieces is None:  # a line end within a cell
        row = int(np.argmax(pc.extract_regex(cells, _CUT).is_null().to_numpy(zero_copy_only=False)))
        _refuse_cell(cells, row, name, where)
    date, time, zone = pieces
    clocks = np.array([_time_of_day(text) for text in time.dictionary.to_pylist()])  # (D,) the different ones
    if np.isnan(clocks).any():
        row = int(np.argmax(np.isnan(clocks)[time.indices.to_numpy()]))
        _refuse_cell(cells, row, name, where)
    micros = clocks.astype("int64")[time.indices.to_numpy()]  # (T,)
    texts = [text.strip() for text in zone.dictionary.to_pylist()]
    if not any(texts):
        return _Parts(date.dictionary.to_pylist(), date.indices.to_numpy(), micros, None)
    offsets = np.array([_offset(text) for text in texts])[zone.indices.to_numpy()]  # (T,)
    zoned = np.array([bool(text) for text in texts])[zone.indices.to_numpy()]  # (T,)
    if zoned.any() and not zoned.all():
        with_one, without = int(np.argmax(zoned)), int(np.argmin(zoned))
        _refuse_mixed(cells, with_one, without, name, where)
    known = None
    if zoned.all():
        different = np.unique(offsets)
        known = "UTC" if len(different) > 1 or different[0] == 0 else _offset_name(int(different[0]))
    return _Parts(date.dictionary.to_pylist(), date.indices.to_numpy(), micros - offsets, known)


def _cut_anywhere(cells: pa.Array) -> _Pieces | None:
    """Date, time of day and zone of each cell, each ``(T,)``; ``None`` where a cell has more than one line."""
    cut = pc.extract_regex(cells, _CUT)
    if cut.null_count:
        return None
    date, time, zone = (cut.field(name).dictionary_encode() for name in ("date", "time", "zone"))
    return date, time, zone


def _cut_at_one_place(cells: pa.Array) -> _Pieces | None:
    """As ``_cut_anywhere``, ten times as fast: ``None`` where the dates of a column are not of one length.

    What follows the date is read once for each different text, not for each cell.
    """
    first = re.match(_CUT, cells[0].as_py())
    if first is None:
        return None
    place = len(first["date"])
    date = pc.utf8_slice_codeunits(cells, 0, place).dictionary_encode()
    clock = pc.utf8_slice_codeunits(cells, place).dictionary_encode()
    cut = pc.extract_regex(clock.dictionary, f"^{_CLOCK}$")
    if cut.null_count or any(_CUT_TOO_LATE.search(text) for text in date.dictionary.to_pylist()):
        return None
    time, zone = (pa.DictionaryArray.from_arrays(clock.indices, cut.field(name)) for name in ("time", "zone"))
    return date, time, zone


def _time_of_day(text: str) -> float:
    """Microseconds since midnight; NaN where there is no such time."""
    if not text:
        return 0.0
    match = _TIME.fullmatch(text)
    assert match is not None
    hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
    micros = int((match[4] or "0").ljust(6, "0")[:6])
    if match[5]:
        if not 1 <= hour <= 12:
            return np.nan
        hour = hour % 12 + (12 if match[5].lower() == "p" else 0)
    if hour > 24 or (hour == 24 and (minute or second)) or minute > 59 or second > 60:
        return np.nan
    return ((hour * 60 + minute) * 60 + second) * 1e6 + micros


def _offset(text: str) -> int:
    """Microseconds that a zone such as ``+02:00`` is ahead of UTC."""
    if text in ("", "Z", "UTC", "GMT"):
        return 0
    digits = text[1:].replace(":", "").ljust(4, "0")
    return int(text[0] + "1") * (int(digits[:2]) * 60 + int(digits[2:])) * 60_000_000


def _offset_name(offset: int) -> str:
    minutes = abs(offset) // 60_000_000
    return f"{'-' if offset < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"


# ---- dates ----------------------------------------------------------------------------------------------------


def _candidates(date: str, day_first: bool | None = None) -> tuple[Style, ...]:
    """The styles that ``date`` may be written in, as far as the user leaves them open."""
    unwanted = {None: " ", True: "month-first", False: "day-first"}[day_first]
    fitting = (style for style in STYLES if re.fullmatch(style.pattern, date))
    return tuple(style for style in fitting if not style.name.startswith(unwanted))


def _days(dates: list[str], style: Style) -> Array:
    """Each date as days, NaT where it is not written in ``style``. (D,) datetime64[us]"""
    text = pd.Series(dates, dtype="str")
    fits = text.str.fullmatch(style.pattern).to_numpy(bool)
    if style.format == "quarter":
        year = pd.to_numeric(text.str.extract(r"(\d{4})")[0], errors="coerce")
        quarter = pd.to_numeric(text.str.extract(r"[Qq]([1-4])")[0], errors="coerce")
        plain = (year.fillna(0) * 100 + quarter.fillna(0) * 3 - 2).astype(int).astype("str")
        parsed = pd.to_datetime(plain, format="%Y%m", errors="coerce")
    else:
        spaced = text.str.replace(r"[-/., ]+", " ", regex=True)
        if "%b" in style.format:
            spaced = spaced.str.replace(r"([A-Za-z]{3})[a-z]*", r"\1", regex=True)
        parsed = pd.to_datetime(spaced, format=style.format, errors="coerce")
    days = parsed.to_numpy().astype("datetime64[us]")
    days[~fits] = np.datetime64("NaT")
    return days


def _read_dates(parts: _Parts, cells: pa.Array, name: str, where: Where, day_first: bool | None) -> _Read:
    """The one style that reads every date, and the days."""
    present = np.unique(parts.date_of)
    candidates = _candidates(parts.dates[parts.date_of[0]], day_first)
    if not candidates:
        _refuse_cell(cells, 0, name, where)
    read = [(style, _days(parts.dates, style)) for style in candidates]
    whole = [(style, days) for style, days in read if not np.isnat(days[present]).any()]
    if len(whole) == 1:
        return whole[0]
    if not whole:
        _refuse_some(read, parts, cells, name, where, day_first)
    return _more_regular(whole, parts, cells, name)


def _more_regular(whole: list[_Read], parts: _Parts, cells: pa.Array, name: str) -> _Read:
    """Of two readings, the one that runs forward; else the one that fills its own grid clearly better."""
    (one, other) = (_regularity(days[parts.date_of].astype("int64") + parts.micros) for _, days in whole)
    for first, second in zip(one, other, strict=True):
        if max(first, second) > 1.5 * min(first, second):
            return whole[0] if first > second else whole[1]
    example = next((i for i, date in enumerate(parts.date_of) if len({str(days[date]) for _, days in whole}) > 1), None)
    if example is None:  # 01/01, 02/02: both readings agree on every date
        return whole[0]
    readings = " or ".join(
        f"{pd.Timestamp(days[parts.date_of[example]]):%-d %B %Y} ({style.name.split(',')[0]})" for style, days in whole
    )
    raise InputError(
        f"the dates in column {name!r} can be read in two ways",
        got=f"{cells[example].as_py()} is {readings}",
        fix="say which with --day-first or --no-day-first",
    )


def _regularity(micros: Array) -> tuple[float, float]:
    """Whether stamps ``(T,)`` run in one direction, and the share of their grid's places that they fill."""
    steps = np.diff(micros)
    runs = bool((steps >= 0).all() or (steps <= 0).all())
    different = np.unique(micros)
    grid = find(pd.DatetimeIndex(different.astype("datetime64[us]")))
    return float(runs), len(different) / grid.length if grid else 0.0


def _refuse_some(
    read: list[_Read], parts: _Parts, cells: pa.Array, name: str, where: Where, day_first: bool | None
) -> NoReturn:
    """No style reads every date: says whether one cell is wrong, or two ways of writing are mixed."""
    style, days = max(read, key=lambda entry: int((~np.isnat(entry[1][parts.date_of])).sum()))
    fits = ~np.isnat(days[parts.date_of])  # (T,)
    row = int(np.argmin(fits))
    odd = parts.dates[parts.date_of[row]]
    others = [other for other in _candidates(odd, day_first) if not np.isnat(_days([odd], other)[0])]
    if not others or not fits.any():
        _refuse_cell(cells, row, name, where, f"dates written {style.name}, as {cells[0].as_py()}" if row else None)
    only = fits & np.isnat(_days(parts.dates, others[0])[parts.date_of])  # (T,) not in the odd style
    _refuse_mixed(cells, int(np.argmax(only if only.any() else fits)), row, name, where)


def _refuse_mixed(cells: pa.Array, first: int, second: int, name: str, where: Where) -> NoReturn:
    raise DataError(
        f"the dates in column {name!r} are written in more than one way",
        got=f"{cells[first].as_py()!r} in {where(first)}, {cells[second].as_py()!r} in {where(second)}",
        fix="write every date the same way, best as 2016-12-31",
    )


def _refuse_cell(cells: pa.Array, row: int, name: str, where: Where, expected: str | None = None) -> NoReturn:
    raise DataError(
        f"the time column {name!r} holds something that is no date",
        expected=expected or "dates such as 2016-12-31 23:00",
        got=f"{cells[row].as_py()!r} in {where(row)}",
        fix="mend that cell, or name the right column with --time",
    )
