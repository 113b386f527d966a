"""The step between rows: found from the stamps, absent rows or not, and continued into the future.

The series of a table have steps of one length, and each its own place in the calendar: its weekday, its day of the
month, its time of day.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from gatelab.core.errors import DataError, InputError
from gatelab.data import months

Array = np.ndarray

_SECOND = 1_000_000  # stamps count microseconds
_DAY = 86_400 * _SECOND
_LAST_YEAR = 9999  # that dates are written with
_NAMES = {"s": "second", "min": "minute", "h": "hour", "D": "day", "W": "week"}
_ADVERBS = {"1s": "one-second", "1min": "one-minute", "1h": "hourly", "1D": "daily", "1W": "weekly", "1M": "monthly",
            "3M": "quarterly", "12M": "yearly"}  # fmt: skip
_MONTHS = {"MS": 1, "ME": 1, "QS": 3, "QE": 3, "YS": 12, "YE": 12}
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def microseconds(stamps: pd.DatetimeIndex) -> Array:
    """Stamps as microseconds since 1970 in UTC. (T,) int64"""
    return stamps.as_unit("us").to_numpy().astype("datetime64[us]").astype("int64")


@dataclass(frozen=True)
class Frequency:
    """The step between rows."""

    alias: str
    """As pandas writes it (``"5min"``, ``"h"``, ``"D"``, ``"W-SAT"``, ``"MS"``, …), or ``"rows"``."""
    rows: bool = False
    """Every row is the next step, whatever the stamps say: trading days, tables without stamps."""
    within: str = ""
    """Of one series in months, quarters or years: where in them it stands (``months.dates``); "": as the alias says."""
    business: bool = False
    """Of a table in days: some of its series have trading days alone."""

    @property
    def length(self) -> tuple[int, str]:
        """Count and unit of a step, wherever it stands: the same for all series of a table."""
        return (1, self.alias) if self.alias == "rows" else (1, "D") if self.alias == "B" else _unit(self.alias)

    @property
    def common(self) -> Frequency:
        """Without what belongs to one series alone."""
        return Frequency(self.alias, self.rows, business=self.business)

    def to_dict(self) -> dict[str, Any]:
        """What tables with this frequency share, as plain JSON values; ``Frequency(**…)`` is the way back."""
        found: dict[str, Any] = {"alias": self.alias, "rows": self.rows}
        return {**found, "business": True} if self.business else found

    @property
    def text(self) -> str:
        """In words, to stand before "rows": ``"hourly"``, ``"5-minute"``; empty where steps have no length."""
        if self.alias == "rows":
            return ""
        if self.alias == "B":
            return "business-daily"
        count, unit = _unit(self.alias)
        return _ADVERBS.get(f"{count}{unit}", f"{count}-{_NAMES.get(unit, 'month')}")

    @property
    def seasons(self) -> tuple[int, ...]:
        """Season lengths in steps that are whole numbers, the likeliest first, such as ``(24, 168)``."""
        if self.alias == "rows":
            return ()
        if self.alias == "B":
            return (5,)
        count, unit = _unit(self.alias)
        if unit == "M":
            lengths = [12 / count]
        elif unit == "W":
            lengths = [52 / count]
        else:
            seconds = count * {"s": 1, "min": 60, "h": 3600, "D": 86_400}[unit]
            periods = (7, 365) if unit == "D" else (1, 7)
            lengths = [days * 86_400 / seconds for days in periods]
        return tuple(int(length) for length in lengths if length > 1 and length == int(length))

    def next_stamps(self, last: Any, count: int) -> pd.DatetimeIndex | pd.RangeIndex:
        """The ``count`` stamps after ``last``; after a trading day the weekdays, since holidays ahead are not known.

        After a row number, or where rows have no length, these are row numbers: ``last + 1 …``, or ``1 …`` steps ahead.

        Raises:
            DataError: they lie beyond the year 9999.
        """
        if not isinstance(last, pd.Timestamp):
            return pd.RangeIndex(int(last) + 1, int(last) + 1 + count)
        if self.alias == "rows":
            return pd.RangeIndex(1, count + 1)
        if count == 0:
            return pd.DatetimeIndex([last])[:0].as_unit("us")
        try:
            found = self.stamps(last, count + 1)  # without ``last``, where that is not one of them
            found = found[found > last][:count]
            if found[-1].year <= _LAST_YEAR:
                return found
        except (NotImplementedError, OverflowError, pd.errors.OutOfBoundsDatetime):
            pass  # pandas has no clock and no calendar there
        raise DataError(
            f"the {count:,} steps after {last} reach beyond the year {_LAST_YEAR}",
            expected="stamps that a calendar has",
            got=f"{self.text} steps from {last} on",
            fix="forecast fewer steps, or take each row as the next step with --frequency rows",
        )

    def stamps(self, first: pd.Timestamp, count: int) -> pd.DatetimeIndex:
        """``count`` stamps from ``first`` on; months keep their day and hour."""
        if self.within:
            return _monthly(first, count, _unit(self.alias)[0], self.within)
        return pd.date_range(first, periods=count, freq=self.offset).as_unit("us")

    @property
    def offset(self) -> Any:
        """The step as pandas' offset."""
        return pd.tseries.frequencies.to_offset(self.alias)


def _unit(alias: str) -> tuple[int, str]:
    """``"5min"`` → ``(5, "min")``; months, quarters and years all count months."""
    match = re.fullmatch(r"(\d*)([A-Za-z]+)(?:-[A-Z]+)?", alias)
    assert match is not None, alias
    count, unit = int(match[1] or 1), match[2]
    return (count, unit) if unit in _NAMES else (count * _MONTHS[unit], "M")


def _monthly(first: pd.Timestamp, count: int, step: int, rule: str) -> pd.DatetimeIndex:
    """``count`` stamps, ``step`` months apart, where ``rule`` has them, at the hour of ``first``, on its clock."""
    naive = first.tz_localize(None) if first.tz is not None else first
    month = naive.year * 12 + naive.month - 1
    days = months.dates(month + step * np.arange(count), rule).astype("datetime64[us]")  # (count,)
    found = pd.DatetimeIndex(days + (naive - naive.normalize()).to_numpy().astype("timedelta64[us]"))
    if first.tz is None:
        return found
    return found.tz_localize(first.tz, ambiguous=np.ones(count, bool), nonexistent="shift_forward")


def named_frequency(alias: str) -> Frequency:
    """The frequency a user names.

    Raises:
        InputError: pandas knows no such step, or it is one that gatelab has no grid for.
    """
    if alias == "rows":
        return Frequency("rows", rows=True)
    if alias in ("M", "Q", "Y", "A"):
        alias = {"M": "MS", "Q": "QS", "Y": "YS", "A": "YS"}[alias]
    try:
        offset = pd.tseries.frequencies.to_offset(alias)
        assert offset is not None
        frequency = Frequency("B", rows=True) if offset.freqstr == "B" else Frequency(offset.freqstr)
        assert offset.n > 0
        frequency.text  # noqa: B018  checks that the unit is one of ours
    except (ValueError, AssertionError, KeyError) as error:
        raise InputError(
            f"there is no frequency {alias!r}",
            expected="rows, or a step such as 5min, h, D, B, W-SAT, MS, QS, YS",
            fix="change --frequency",
        ) from error
    return frequency


# ---- places on a grid -----------------------------------------------------------------------------------------


class Grid(NamedTuple):
    """Stamps as places on a regular grid."""

    frequency: Frequency
    places: Array  # (T,) int64, whole steps after the first stamp
    start: pd.Timestamp
    """The stamp of place 0; naive, or in UTC for steps below a day."""
    moved: int = 0
    """The largest distance in microseconds of a stamp from its place."""

    @property
    def length(self) -> int:
        """Steps from the first stamp to the last."""
        return int(self.places[-1]) + 1 if len(self.places) else 0

    def stamps(self) -> pd.DatetimeIndex:
        """Every stamp of the grid. (length,)"""
        return self.frequency.stamps(self.start, self.length)


_JITTER = 0.1  # of a step


def _allowed(micros: Array, step: int) -> float:
    """How far a stamp may lie from its place: half a step where clocks were reset now and then, a tenth otherwise."""
    off = np.abs(np.diff(micros) / step - np.round(np.diff(micros) / step))  # (T-1,) distance from whole steps
    return (0.5 if (off <= _JITTER).mean() >= 0.9 else _JITTER) * step if len(off) else step


def place(stamps: pd.DatetimeIndex, frequency: Frequency) -> Grid | None:
    """``stamps (T,)``, naive and rising, as places on the grid of ``frequency``; ``None`` where they are off it."""
    count, unit = _unit(frequency.alias)
    if unit == "M":
        return _place_months(stamps, frequency, count)
    days = unit in ("D", "W")
    if unit == "W":
        frequency = _anchored(frequency, stamps)
    step = count * {"s": _SECOND, "min": 60 * _SECOND, "h": 3600 * _SECOND, "D": _DAY, "W": 7 * _DAY}[unit]
    micros = microseconds(stamps)  # (T,)
    shift = _shift(micros, step)
    places = np.round((micros - shift) / step).astype("int64")  # (T,)
    moved = np.abs(micros - shift - places * step)  # (T,)
    if moved.max() > (0.5 * _DAY if days else _allowed(micros, step)) or (np.diff(places) <= 0).any():
        return None
    start = pd.Timestamp(int(shift + places[0] * step), unit="us").as_unit("us")
    return Grid(frequency, places - places[0], start, int(moved.max()))


def _shift(micros: Array, step: int) -> int:
    """Where the grid stands within a step: exactly where most stamps do, else at their circular mean."""
    within, counts = np.unique(micros % step, return_counts=True)
    if counts.max() >= 0.5 * len(micros):
        return int(within[counts.argmax()])
    angles = within / step * 2 * np.pi
    mean = np.arctan2((np.sin(angles) * counts).sum(), (np.cos(angles) * counts).sum())
    shift = int(mean / (2 * np.pi) * step) % step
    unit = next(unit for unit in (60 * _SECOND, _SECOND, 1) if step >= 60 * unit or unit == 1)
    return round(shift / unit) * unit


def _anchored(frequency: Frequency, stamps: pd.DatetimeIndex) -> Frequency:
    count, _ = _unit(frequency.alias)
    weekday = int(np.bincount(stamps.day_of_week, minlength=7).argmax())
    return Frequency(f"{count if count > 1 else ''}W-{_WEEKDAYS[weekday][:3].upper()}")


def _place_months(stamps: pd.DatetimeIndex, frequency: Frequency, count: int) -> Grid | None:
    """Months, quarters and years: stamps anywhere in the month, if always at about the same place."""
    at = months.months_of(stamps)  # (T,)
    if (np.diff(at) <= 0).any() or ((at - at[0]) % count).any():
        return None
    from_start, from_end = stamps.day.to_numpy() - 1, (stamps.days_in_month - stamps.day).to_numpy()  # (T,)
    ends = bool(from_end.max() < from_start.max() and from_end.max() <= 4)
    if len(stamps) < 3 and from_end.max() == 0:  # few month ends may be one day of the month, too
        ends = frequency.alias.split("-")[0].endswith("E")
    rule = months.rule_of(stamps, ends)
    if rule is None and min(np.ptp(from_start), np.ptp(from_end)) > 7:
        return None
    ends = rule in ("31", months.LAST_BUSINESS) or (rule is None and ends)
    alias = _month_alias(count, int(stamps.month[0]), ends)
    clocks, often = np.unique(microseconds(stamps) % _DAY, return_counts=True)
    clock = int(clocks[often.argmax()]) if often.max() >= 0.5 * len(stamps) else 0
    plain = "31" if ends else "1"
    within = "" if rule in (None, plain) else str(rule)
    start = pd.Timestamp(months.dates(at[:1], rule or plain)[0]).as_unit("us") + pd.Timedelta(clock, "us")
    grid = Grid(Frequency(alias, within=within), (at - at[0]) // count, start.as_unit("us"))
    moved = np.abs(microseconds(stamps) - microseconds(grid.stamps()[grid.places]))  # (T,)
    return grid._replace(moved=int(moved.max()))


def _month_alias(count: int, month: int, ends: bool) -> str:
    names = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
    side = "E" if ends else "S"
    if count % 12 == 0:
        years = "" if count == 12 else str(count // 12)
        return f"{years}Y{side}-{names[month - 1]}"
    if count == 3:
        anchor = (month - 1) % 3 + 9 if ends else (month - 1) % 3  # named by the last such month, or the first
        return f"Q{side}-{names[anchor]}"
    return f"{'' if count == 1 else count}M{side}"


# ---- finding it -----------------------------------------------------------------------------------------------

_NICE = (1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 240, 300, 600, 720, 900, 1200, 1800, 3600, 7200, 10800, 14400, 21600,
         28800, 43200)  # fmt: skip
_MOST_BUSINESS_GAPS = 0.2
_SPARSEST = 50  # a grid this many times longer than the table is no grid


def find(stamps: pd.DatetimeIndex) -> Grid | None:
    """The grid that ``stamps (T,)``, naive and rising, stand on; ``None`` where there is none."""
    if len(stamps) < 3:
        return None
    for alias in _candidates(stamps):
        frequency = Frequency(alias, rows=alias == "B")
        if alias == "B":
            if _is_trading_calendar(stamps):
                return Grid(frequency, np.arange(len(stamps)), stamps[0])
            continue
        grid = place(stamps, frequency)
        if grid is not None and grid.length <= _SPARSEST * len(stamps):
            return grid
    return None


def _candidates(stamps: pd.DatetimeIndex) -> list[str]:
    """Steps worth trying, the likeliest first."""
    steps = np.diff(microseconds(stamps))  # (T-1,)
    values, counts = np.unique(steps, return_counts=True)
    mode, often = int(values[counts.argmax()]), counts.max() / len(steps)
    days = round(mode / _DAY)
    if mode >= 0.9 * _DAY:
        found = ["B", "D"] if days == 1 else [f"{days // 7}W"] if days % 7 == 0 else []
        middle, mean = np.median(steps) / _DAY, np.mean(steps) / _DAY  # of third Fridays, 28 or 35 days and between
        near = (k for k in (1, 2, 3, 4, 6, 12) if min(abs(middle - k * 30.44), abs(mean - k * 30.44)) <= 3.5)
        count = next(near, round(middle / 365.25) * 12)
        found += [f"{count}MS"] if count else []
        same_time = (steps % _DAY == 0).all()
        greatest = int(np.gcd.reduce(steps)) // _DAY if same_time else 0
        return found + [f"{k}D" for k in dict.fromkeys((days, greatest)) if k > 1 and same_time]
    seconds = []
    if often >= 0.5 and mode % _SECOND == 0:
        seconds.append(mode // _SECOND)
    median = float(np.median(steps)) / _SECOND
    seconds += [nice for nice in _NICE if abs(median - nice) <= 0.05 * nice and nice not in seconds]
    greatest = int(np.gcd.reduce(steps))
    if greatest % _SECOND == 0 and int(steps.sum()) // greatest <= 3 * len(stamps):
        seconds.append(greatest // _SECOND)
    return [_seconds_alias(number) for number in dict.fromkeys(seconds) if number]


def _seconds_alias(seconds: int) -> str:
    for length, unit in ((3600, "h"), (60, "min"), (1, "s")):
        if seconds % length == 0:
            return f"{seconds // length if seconds != length else ''}{unit}"
    raise AssertionError("one second divides every whole number")


def _is_trading_calendar(stamps: pd.DatetimeIndex) -> bool:
    """Weekdays alone, nearly all of them there: weekends and holidays are no gaps but the market's calendar."""
    if stamps.day_of_week.max() > 4 or len(stamps) < 10:
        return False
    first, last = stamps[0].date(), stamps[-1].date()
    weekdays = np.busday_count(first, last) + 1
    return bool((last - first).days >= 11 and len(stamps) >= (1 - _MOST_BUSINESS_GAPS) * weekdays)


def is_clock(frequency: Frequency) -> bool:
    """Whether a step is shorter than a day, so that it counts real time and not the calendar."""
    return frequency.alias not in ("rows", "B") and _unit(frequency.alias)[1] in ("s", "min", "h")
