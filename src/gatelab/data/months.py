"""Where in a month a series of months, quarters or years has its stamps, and the dates that follow from it.

The rules are those that calendars of people and markets have: a day of the month (the last one where a month is too
short for it), the first or last weekday of the month, the n-th or last Monday, Tuesday, ….

T stamps; months are counted from January of year 0, year · 12 + month − 1.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

Array = np.ndarray
FIRST_BUSINESS, LAST_BUSINESS = "first business day", "last business day"
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_COUNTS = ("first", "second", "third", "fourth", "last")


def months_of(stamps: pd.DatetimeIndex) -> Array:
    """The month of each stamp, ``(T,)`` int64."""
    return (stamps.year.to_numpy().astype("int64") * 12 + stamps.month.to_numpy() - 1).astype("int64")


def dates(months: Array, rule: str) -> Array:
    """The day in each of ``months (T,)`` that ``rule`` names, ``(T,)`` datetime64[D].

    Args:
        months: as ``months_of`` counts them.
        rule: ``"15"`` and the like for a day of the month, ``"first business day"``, ``"third Friday"``, ….

    >>> dates(np.array([2019 * 12 + 1, 2019 * 12 + 2]), "31").tolist()
    [datetime.date(2019, 2, 28), datetime.date(2019, 3, 31)]
    >>> dates(np.array([2019 * 12 + 2]), LAST_BUSINESS).tolist()
    [datetime.date(2019, 3, 29)]
    >>> dates(np.array([2019 * 12 + 2]), "third Friday").tolist()
    [datetime.date(2019, 3, 15)]
    """
    first = (months - 1970 * 12).astype("datetime64[M]").astype("datetime64[D]")  # (T,)
    last = (months - 1970 * 12 + 1).astype("datetime64[M]").astype("datetime64[D]") - 1  # (T,)
    if rule.isdigit():
        return np.minimum(first + (int(rule) - 1), last)
    if rule == FIRST_BUSINESS:
        return np.busday_offset(first, 0, roll="forward")
    if rule == LAST_BUSINESS:
        return np.busday_offset(last, 0, roll="backward")
    count, weekday = rule.split()
    day = _DAYS.index(weekday)
    if count == "last":
        return last - (_weekdays(last) - day) % 7
    return first + (day - _weekdays(first)) % 7 + 7 * _COUNTS.index(count)


def rule_of(stamps: pd.DatetimeIndex, ends: bool) -> str | None:
    """The rule that all ``stamps (T,)`` follow to the day; ``None`` where they follow none.

    Args:
        stamps: naive.
        ends: whether months are thought of as ending with the stamp: decides what few stamps leave open.
    """
    months, days = months_of(stamps), stamps.to_numpy().astype("datetime64[D]")  # (T,), (T,)
    return next((rule for rule in _likely(stamps, ends) if (dates(months, rule) == days).all()), None)


def _likely(stamps: pd.DatetimeIndex, ends: bool) -> Iterator[str]:
    """Rules worth trying, the likeliest first."""
    latest = int(stamps.day.max())
    yield from ("31", str(latest)) if ends else (str(latest), "31")
    yield from (LAST_BUSINESS, FIRST_BUSINESS) if ends else (FIRST_BUSINESS, LAST_BUSINESS)
    if len(stamps) >= 3:  # two may stand at the same weekday by chance
        weekday, counts = _DAYS[stamps[0].day_of_week], sorted({(int(day) - 1) // 7 for day in stamps.day})
        yield from (f"{_COUNTS[count]} {weekday}" for count in counts[:1] if count < 4)
        yield f"last {weekday}"


def _weekdays(days: Array) -> Array:
    """Days of the week of ``days (T,)`` datetime64[D], 0 on Mondays. (T,) int64"""
    return (days.astype("int64") + 3) % 7  # 1970 began on a Thursday
