"""Stamps of wall clocks → UTC."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gatelab.core.errors import DataError
from gatelab.data.reading import RawTable
from gatelab.data.roles import Roles
from gatelab.data.timeline import Timeline

Array = np.ndarray


def localised(raw: RawTable, roles: Roles, timeline: Timeline, series_of: Array):
    """The stamps of ``timeline`` in UTC where a zone is known, else as they are: ``(stamps, zone, notes)``.

    Where clocks go back, an hour is written twice: the first row with a stamp is in summer time, the second is not; a
    stamp that stands there only once is taken for summer time.

    Raises:
        DataError: a stamp that the zone's clocks never showed.
    """
    stamps, zone = timeline.stamps, roles.time_zone
    assert stamps is not None
    if timeline.zone is not None:  # offsets are in the text: the zone only says how to show them
        shown = zone or timeline.zone
        return stamps, shown, ["stamps are in UTC" if shown == "UTC" else f"stamps: counted in UTC, shown in {shown}"]
    if zone is None:
        return stamps, None, []
    earlier = pd.DataFrame({"series": series_of, "stamp": stamps}).groupby(["series", "stamp"]).cumcount() == 0  # (T,)
    aware = stamps.tz_localize(zone, ambiguous=earlier.to_numpy(), nonexistent="NaT")
    never = np.asarray(aware.isna())  # (T,)
    if never.any():
        row = int(never.argmax())
        raise DataError(
            f"the clocks of {zone} never showed {stamps[row]}",
            got=f"{raw.where(row)} of {raw.name}; clocks went forward then",
            fix="check --time-zone: the stamps may be in UTC or in standard time all year (Etc/GMT-1, …)",
        )
    return aware.tz_convert(None), zone, [f"stamps are local time of {zone}: counted in UTC inside"]


def at_clock_change(stamps: pd.DatetimeIndex, hours: range = range(4)) -> bool:
    """Whether all of ``stamps`` are where clocks change: early on Sundays of spring and autumn, one a month at most.

    A hint for a message, no more: the true dates depend on country and year.
    """
    if not len(stamps):
        return False
    early = stamps.day_of_week.isin([6]) & stamps.hour.isin(list(hours)) & stamps.month.isin([3, 4, 9, 10, 11])
    days = stamps.normalize().unique()
    return bool(early.all()) and len(days) == len(days.to_period("M").unique())
