"""Each series has its own place in the calendar: weekday, day of the month, hour; against pandas' own ranges."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatelab.core.errors import DataError
from gatelab.data import Roles, read_like, read_table
from gatelab.data.frequency import Frequency, find, place
from gatelab.data.months import dates, rule_of


def long(**series: pd.DatetimeIndex) -> pd.DataFrame:
    """A table of several series, one after the other."""
    rng = np.random.default_rng(0)
    parts = [
        pd.DataFrame({"shop": id, "when": stamps, "y": rng.normal(size=len(stamps))}) for id, stamps in series.items()
    ]
    return pd.concat(parts, ignore_index=True)


def read_long(frame: pd.DataFrame):
    return read_table(frame, Roles(target=("y",), id="shop"))


def days(first: str, freq: str, periods: int = 60) -> pd.DatetimeIndex:
    return pd.date_range(first, periods=periods, freq=freq)


MIXED = {
    "weeks from Monday and from Wednesday": (days("2020-01-06", "W-MON"), days("2020-01-08", "W-WED")),
    "quarters from January and from February": (days("2010-01-01", "QS-JAN"), days("2010-02-01", "QS-FEB")),
    "years from January and from July": (days("1960-01-01", "YS-JAN"), days("1960-07-01", "YS-JUL")),
    "month ends and month starts": (days("2015-01-31", "ME"), days("2015-01-01", "MS")),
    "business days and days": (days("2020-01-06", "B", 200), days("2020-01-06", "D", 200)),
    "the 15th and business month ends": (days("2015-01-01", "MS") + pd.Timedelta(days=14), days("2015-01-01", "BME")),
}


@pytest.mark.parametrize("turned", [False, True], ids=["as listed", "the other way round"])
@pytest.mark.parametrize("name", MIXED)
def test_series_of_one_table_each_go_on_in_their_own_calendar(name, turned):
    one, two = reversed(MIXED[name]) if turned else MIXED[name]
    whole = read_long(long(a=one, b=two))
    known = read_long(long(a=one[:-3], b=two[:-3]))
    again = read_like(long(a=one[:-3], b=two[:-3]), known.schema())
    for series, full, like in zip(known.series, whole.series, again.series, strict=True):
        expected = (one if series.id == "a" else two).as_unit("us")
        assert full.stamps.equals(expected)
        assert series.stamps.equals(expected[:-3])
        assert series.frequency.next_stamps(series.stamps[-1], 3).equals(expected[-3:])
        assert (like.frequency, like.stamps.equals(series.stamps)) == (series.frequency, True)


def test_what_the_schema_says_is_plain_and_shared():
    schema = read_long(long(a=days("2020-01-06", "W-MON"), b=days("2020-01-08", "W-WED"))).schema()
    assert set(schema["frequency"]) == {"alias", "rows"}  # as older versions wrote it
    mixed = read_long(long(a=days("2020-01-06", "B", 200), b=days("2020-01-06", "D", 200)))
    assert mixed.schema()["frequency"] == {"alias": "D", "rows": False, "business": True}
    assert mixed.frequency.seasons == (7, 365)


def test_a_table_with_another_weekday_goes_on_from_its_own():
    trained = read_long(long(a=days("2020-01-06", "W-MON"))).schema()
    (series,) = read_like(long(a=days("2020-12-09", "W-WED", 62)), trained).series
    assert series.stamps[-1] == pd.Timestamp("2022-02-09")
    assert series.frequency.next_stamps(series.stamps[-1], 1)[0] == pd.Timestamp("2022-02-16")


# ---- days and hours of months ---------------------------------------------------------------------------------

STAMPS = {
    "the 15th": (days("2014-01-01", "MS") + pd.Timedelta(days=14), "MS"),
    "the 28th": (days("2014-01-01", "MS") + pd.Timedelta(days=27), "MS"),
    "the 30th": (
        pd.DatetimeIndex([d + pd.Timedelta(days=min(29, d.days_in_month - 1)) for d in days("2014-01-01", "MS")]),
        None,
    ),
    "quarters on 15 November": (pd.DatetimeIndex([d.replace(day=15) for d in days("2000-02-01", "QS-FEB")]), "QS-FEB"),
    "half past nine at month starts": (days("2014-01-01 09:30", "MS"), "MS"),
    "half past nine at quarter starts": (days("2004-01-01 09:30", "QS-JAN"), "QS-JAN"),
    "half past nine at year starts": (days("1960-01-01 09:30", "YS-JAN"), "YS-JAN"),
    "business month ends": (days("2014-01-31", "BME"), "ME"),
    "business month starts": (days("2014-01-01", "BMS"), "MS"),
    "business quarter ends": (days("2004-03-31", "BQE-DEC"), "QE-DEC"),
    "third Fridays": (days("2014-01-01", "WOM-3FRI"), None),
    "last Thursdays": (days("2014-01-01", "LWOM-THU"), None),
    "five o'clock at month ends": (days("2014-01-31 17:00", "ME"), "ME"),
}


@pytest.mark.parametrize("name", STAMPS)
def test_months_keep_their_day_and_hour(name):
    stamps, alias = STAMPS[name]
    grid = find(stamps[:48])
    assert grid is not None
    assert alias in (None, grid.frequency.alias)
    assert grid.moved == 0
    assert grid.stamps().equals(stamps[:48].as_unit("us"))
    assert grid.frequency.next_stamps(stamps[47], 12).equals(stamps[48:].as_unit("us"))
    local = stamps.tz_localize("Europe/Vienna")
    assert grid.frequency.next_stamps(local[47], 12).equals(local[48:].as_unit("us"))
    assert not any("moved" in note for note in read_long(long(a=stamps)).notes)


def test_stamps_that_follow_no_rule_are_moved_and_said():
    rng = np.random.default_rng(0)
    stamps = days("2014-01-01", "MS") + pd.to_timedelta(rng.integers(0, 5, 60), unit="D")
    table = read_long(long(a=stamps))
    assert table.series[0].stamps.equals(days("2014-01-01", "MS").as_unit("us"))
    assert "stamps moved to the regular grid, by 4 days at most" in table.notes
    hours = days("2014-01-01", "MS") + pd.to_timedelta(np.arange(60) % 24, unit="h")
    assert "stamps moved to the regular grid, by 23 hours at most" in read_long(long(a=hours)).notes


MONTHLY = ("MS", "ME", "BMS", "BME", "QS-FEB", "QE-JAN", "BQE-FEB", "YS-JUL", "YE-SEP", "BYE-DEC", "2MS",
           "WOM-1MON", "WOM-4TUE", "LWOM-WED")  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(
    alias=st.sampled_from(MONTHLY),
    start=st.datetimes(pd.Timestamp("1700-01-01"), pd.Timestamp("2200-01-01")),
    minute=st.integers(0, 24 * 60 - 1),
    rows=st.integers(10, 40),
)
def test_months_go_on_as_pandas_goes_on(alias, start, minute, rows):
    whole = pd.date_range(pd.Timestamp(start).normalize(), periods=rows + 6, freq=alias, unit="us")
    whole += pd.Timedelta(minutes=minute)
    grid = find(whole[:rows])
    assert grid is not None
    assert grid.stamps().equals(whole[:rows])
    if rule_of(whole, False) == rule_of(whole[:rows], False):  # some rows may stand as another rule has them, too
        assert grid.frequency.next_stamps(whole[rows - 1], 6).equals(whole[rows:])


@given(day=st.integers(1, 31), month=st.integers(1700 * 12, 2200 * 12), count=st.integers(3, 30))
def test_a_day_of_the_month_is_found_again(day, month, count):
    months = np.arange(month, month + count)
    stamps = pd.DatetimeIndex(dates(months, str(day)).astype("datetime64[us]"))
    rule = rule_of(stamps, ends=False)
    assert rule is not None
    np.testing.assert_array_equal(dates(months, rule), dates(months, str(day)))


def test_a_single_month_end_is_what_the_model_learned():
    february = pd.DatetimeIndex(["2021-02-28"])
    for alias, expected in (("ME", "2021-03-31"), ("MS", "2021-03-28")):
        grid = place(february, Frequency(alias))
        assert grid is not None
        assert grid.frequency.next_stamps(february[0], 1)[0] == pd.Timestamp(expected)


@pytest.mark.parametrize("zone", [None, "Europe/Vienna"])
@pytest.mark.parametrize("alias", ["h", "D", "W-FRI", "MS", "YS-JAN", "B"])
def test_the_calendar_ends_with_the_year_9999_and_begins_long_before_1677(alias, zone):
    frequency = Frequency(alias, rows=alias == "B")
    last = pd.Timestamp("9999-12-24 00:00", tz=zone).as_unit("us")
    if alias in ("h", "D", "B"):
        assert frequency.next_stamps(last, 3)[-1].year == 9999
    with pytest.raises(DataError, match="reach beyond the year 9999"):
        frequency.next_stamps(last, 24 * 30)
    early = pd.Timestamp("0901-03-01", tz=zone).as_unit("us")
    assert frequency.next_stamps(early, 3)[0].year in (901, 902)
