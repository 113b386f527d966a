"""Public holidays of a country, or a part of it, as channels that are known ahead.

The dates are looked up once, by the library ``holidays``, and kept with the model: what is forecast later sees the same
days on every machine, whatever version of the library it has, or none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd

from gatelab.core.errors import DataError, InputError, nearest
from gatelab.data.frequency import Frequency
from gatelab.data.table import SeriesTable

Array = np.ndarray
_BEFORE, _AFTER = 10, 25  # years kept beside those of the table, for older rows and for forecasts of years to come
_FIRST, _LAST = 1800, 2199


@dataclass(frozen=True)
class Holidays:
    """The holidays of a place, and what a step is told of them."""

    place: str
    """As a user names it: ``DE``, ``DE-BY``."""
    days: tuple[int, ...]
    """Each holiday as days from 1970-01-01, rising."""
    years: tuple[int, int]
    """First and last year in which they are known."""
    spans: tuple[tuple[str, int, int], ...]
    """For each channel its name, and the first and last day after the stamp whose holidays it counts."""

    @property
    def channels(self) -> list[str]:
        """Names of the channels."""
        return [name for name, _, _ in self.spans]

    def encode(self, stamps: pd.DatetimeIndex) -> Array:
        """How many holidays there are in each span of each of ``stamps (T,)`` on the local clock. (T, spans)

        Raises:
            DataError: dates of years in which the holidays are not known.
        """
        first, last = self.years
        outside = (stamps.year < first) | (stamps.year > last)
        if outside.any():
            raise DataError(
                f"the holidays of {self.place} are kept with the model for {first} to {last}",
                expected="dates of these years",
                got=stamps[int(np.argmax(outside))],
                fix="train the model again, on a table that reaches nearer to these dates",
            )
        day = stamps.normalize().as_unit("s").astype(np.int64).to_numpy() // 86_400  # (T,)
        known = np.array(self.days)  # (H,)
        counts = [
            np.searchsorted(known, day + end, side="right") - np.searchsorted(known, day + start)
            for _, start, end in self.spans
        ]
        return np.stack(counts, axis=1).astype(np.float64)  # (T, spans)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"place": self.place, "days": list(self.days), "years": list(self.years),
                "spans": [list(span) for span in self.spans]}  # fmt: skip

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> Holidays | None:
        """What ``to_dict`` gave; none of none."""
        if values is None:
            return None
        first, last = values["years"]
        spans = tuple((str(name), int(start), int(end)) for name, start, end in values["spans"])
        return cls(values["place"], tuple(values["days"]), (first, last), spans)


def look_up(place: str | None, table: SeriesTable) -> Holidays | None:
    """The holidays of ``place`` around the dates of a table; none where no place is named.

    Raises:
        InputError: no such place, the library is not installed, or the steps are no days, parts of days or weeks.
    """
    if place is None:
        return None
    spans = _spans(table)
    ends = [pd.Timestamp(stamp) for series in table.series for stamp in (series.stamps[0], series.stamps[-1])]
    years = [stamp.year for stamp in ends]
    first, last = max(min(years) - _BEFORE, _FIRST), min(max(years) + _AFTER, _LAST)
    found = _calendar(place, range(first, last + 1))
    if not any(min(years) <= date.year <= max(years) for date in found):
        raise InputError(
            f"the library holidays knows none of {place} from {min(years)} to {max(years)}",
            fix="leave --holidays out, and give holidays as a column with --future",
        )
    days = sorted((pd.Timestamp(date) - pd.Timestamp(0)).days for date in found)
    return Holidays(place, tuple(days), (first, last), spans)


def said(found: Holidays | None) -> list[str]:
    """The line on the holidays that the network sees."""
    if found is None:
        return []
    first, last = found.years
    each = len(found.days) / (last - first + 1)
    return [
        f"holidays of {found.place}: about {each:.0f} a year, kept with the model up to {last}; "
        f"the network sees {', '.join(found.channels)} of past and future steps"
    ]


def _spans(table: SeriesTable) -> tuple[tuple[str, int, int], ...]:
    """What a step is told: of a day also what its neighbours are; of a week, which may be named by either end, both."""
    if not all(isinstance(series.stamps, pd.DatetimeIndex) for series in table.series) or _dateless(table.frequency):
        raise InputError("--holidays needs dates, of the steps to forecast too", got="rows that are counted, not dated",
                         fix="leave --holidays out, or give holidays as a column with --future")  # fmt: skip
    count, unit = _unit(table.frequency)
    if unit not in ("s", "min", "h", "D", "B", "W"):
        raise InputError(
            "--holidays tells days and weeks apart, and these rows are longer",
            expected="rows of a week or less",
            got=f"{table.frequency.text} rows",
            fix="leave --holidays out: which month or season it is, the calendar shows",
        )
    if unit == "W":
        reach = 7 * count - 1
        return ("holidays of the week after the stamp", 0, reach), ("holidays of the week before it", -reach, 0)
    last = count - 1 if unit == "D" else 0
    return ("holiday", 0, last), ("day before a holiday", last + 1, last + 1), ("day after a holiday", -1, -1)


def _dateless(frequency: Frequency) -> bool:
    return frequency.alias == "rows"


def _unit(frequency: Frequency) -> tuple[int, str]:
    match = re.match(r"(\d*)([A-Za-z]+)", frequency.alias)
    assert match is not None
    return int(match[1] or 1), match[2]


def _calendar(place: str, years: range) -> list[Any]:
    """Dates of the holidays of ``place`` in these years.

    Raises:
        InputError: there is no such place, or the library is not installed.
    """
    try:
        library = import_module("holidays")
    except ImportError as error:
        fix = "pip install 'gatelab[holidays]'"
        raise InputError("--holidays needs the library holidays, which is not installed", fix=fix) from error
    country, _, part = place.partition("-")
    country = country.upper()
    known = library.list_supported_countries(include_aliases=True)
    if country not in known:
        raise InputError(
            f"there is no country {country!r} whose holidays are known",
            expected="a code of ISO 3166, such as DE, or DE-BY for a part of a country",
            fix=f"did you mean {_near(library, place)}?",
        )
    # Names of parts, such as Bayern, are known to the library beside the codes.
    parts = [*known[country], *library.country_holidays(country).subdivisions_aliases]
    by_case = {name.casefold(): name for name in parts}
    if part and part.casefold() not in by_case:
        raise InputError(
            f"{country} has no part {part!r} whose holidays are known",
            expected=f"{country} alone, or with one of {', '.join(known[country])}" if parts else f"{country} alone",
            fix=f"did you mean {country}{'-' + nearest(part, parts, count=1) if parts else ''}?",
        )
    return list(library.country_holidays(country, subdiv=by_case[part.casefold()] if part else None, years=years))


def _near(library: Any, place: str) -> str:
    """Codes most like ``place``, be it a code or a name in English."""
    names = {}
    for name, (_, code, *_) in library.registry.COUNTRIES.items():
        names |= {code: code, name.replace("_", " "): f"{code} ({name.replace('_', ' ').title()})"}
    close = nearest(place.replace("-", " "), names)
    return ", ".join(dict.fromkeys(names.get(name, name) for name in close.split(", ")))
