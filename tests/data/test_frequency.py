"""The step between rows: found with rows missing, continued into the future, against pandas' own ranges."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatelab.core.errors import DataError, InputError
from gatelab.data import Frequency, Roles, read_table
from gatelab.data.frequency import find, named_frequency, place

CLOCKS = "s 10s min 5min 15min 30min h 2h 6h"
CALENDARS = "D 2D W-SUN W-SAT 2W-WED MS ME 2MS QS-JAN QS-FEB QE-DEC QE-OCT YS-JAN YS-JUL YE-DEC 2YS-JAN"
ALIASES = (*CLOCKS.split(), *CALENDARS.split())


@pytest.mark.parametrize("alias", ALIASES)
def test_found_and_continued_as_pandas_does(alias):
    whole = pd.date_range("2003-02-17 00:00", periods=60, freq=alias).as_unit("us")
    grid = find(whole[:50])
    assert grid is not None
    assert grid.frequency.alias == pd.tseries.frequencies.to_offset(alias).freqstr
    assert grid.stamps().equals(whole[:50])
    assert grid.frequency.next_stamps(whole[49], 10).equals(whole[50:])


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ALIASES), st.data())
def test_found_with_rows_missing(alias, data):
    """A quarter of the rows may be absent, and the grid is the same."""
    whole = pd.date_range("2003-02-17 00:00", periods=60, freq=alias).as_unit("us")
    absent = data.draw(st.sets(st.integers(1, 58), max_size=15))
    kept = np.array([row for row in range(60) if row not in absent])
    grid = find(whole[kept])
    assert grid is not None
    assert grid.stamps().equals(whole)
    assert grid.places.tolist() == kept.tolist()


def test_melbourne_has_two_absent_leap_days():
    days = pd.date_range("1981-01-01", "1990-12-31").as_unit("us")
    grid = find(days[~((days.month == 12) & (days.day == 31) & days.is_leap_year)])
    assert grid is not None
    assert grid.length == 3652
    assert len(grid.places) == 3650


def test_days_in_a_month_that_are_nearly_the_same_are_months():
    middle = pd.date_range("2000", periods=40, freq="MS") + pd.Timedelta(days=14)
    grid = find(middle)
    assert grid is not None
    assert (grid.frequency.alias, grid.length) == ("MS", 40)
    last_business_days = pd.date_range("2000", periods=40, freq="BME")
    grid = find(last_business_days)
    assert grid is not None
    assert (grid.frequency.alias, grid.length) == ("ME", 40)


def test_trading_days_are_rows():
    days = pd.bdate_range("2015", periods=700)
    holidays = np.random.default_rng(0).choice(700, 25, replace=False)
    grid = find(days.delete(holidays))
    assert grid is not None
    assert grid.frequency == Frequency("B", rows=True)
    assert grid.length == 675
    friday = pd.Timestamp("2020-04-17")
    assert grid.frequency.next_stamps(friday, 2).tolist() == [pd.Timestamp("2020-04-20"), pd.Timestamp("2020-04-21")]


def test_weekdays_with_many_holes_are_days_with_gaps():
    days = pd.bdate_range("2015", periods=700)[np.random.default_rng(0).random(700) < 0.6]
    grid = find(days)
    assert grid is not None
    assert grid.frequency == Frequency("D")


def test_jitter_is_moved_and_said():
    rng = np.random.default_rng(0)
    whole = pd.date_range("2020-03-01", periods=500, freq="15min")
    shaken = whole + pd.to_timedelta(rng.integers(-60, 61, 500), unit="s")
    grid = find(shaken)
    assert grid is not None
    assert grid.frequency.alias == "15min"
    assert grid.length == 500
    assert abs(grid.start - whole[0]) <= pd.Timedelta(seconds=10)
    table = read_table(pd.DataFrame({"when": shaken, "y": rng.normal(size=500)}))
    assert any(note.startswith("stamps moved to the regular grid, by 6") for note in table.notes)


def test_a_clock_that_was_reset_keeps_its_grid():
    first = pd.date_range("2020-03-01 00:04", periods=300, freq="5min")
    then = pd.date_range("2020-03-02 12:01", periods=300, freq="5min")
    grid = find(first.append(then))
    assert grid is not None
    assert grid.frequency.alias == "5min"
    assert (np.diff(grid.places) == 1).sum() == 598


def test_blocks_with_weekends_absent():
    whole = pd.date_range("2016-01-04", "2016-02-29 23:55", freq="5min")
    grid = find(whole[whole.day_of_week < 5])
    assert grid is not None
    assert (grid.frequency.alias, grid.length) == ("5min", len(whole))


def test_irregular_stamps_are_refused_with_the_way_out():
    rng = np.random.default_rng(0)
    stamps = pd.Timestamp("2020") + pd.to_timedelta(np.cumsum(rng.exponential(3000, 200)).round(), unit="s")
    frame = pd.DataFrame({"when": stamps, "y": rng.normal(size=200)})
    with pytest.raises(DataError, match=r"(?s)no regular grid.*steps from .* to .*--frequency rows"):
        read_table(frame)
    table = read_table(frame, Roles(frequency="rows"))
    assert table.frequency == Frequency("rows", rows=True)
    assert len(table.series[0]) == 200
    assert table.series[0].stamps.equals(pd.DatetimeIndex(stamps).as_unit("us"))


def test_a_single_stray_stamp_does_not_make_a_huge_grid():
    stamps = pd.date_range("2020", periods=100, freq="s").append(pd.DatetimeIndex(["2021-01-01"]))
    with pytest.raises(DataError, match="no regular grid"):
        read_table(pd.DataFrame({"when": stamps, "y": np.arange(101.0)}))
    with pytest.raises(DataError, match=r"(?s)31,622,401 steps.*101 rows"):
        read_table(pd.DataFrame({"when": stamps, "y": np.arange(101.0)}), Roles(frequency="s"))


def test_too_few_rows_to_tell():
    frame = pd.DataFrame({"when": pd.date_range("2020", periods=2, freq="h"), "y": [1.0, 2.0]})
    with pytest.raises(DataError, match=r"(?s)too few rows to see.*at least 3.*--frequency h"):
        read_table(frame)
    assert len(read_table(frame, Roles(frequency="h")).series[0]) == 2


# ---- asked for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "alias"), [("M", "MS"), ("Q", "QS-JAN"), ("Y", "YS-JAN"), ("W", "W-SUN"), ("60min", "60min")]
)
def test_named(given, alias):
    assert named_frequency(given).alias == alias


@pytest.mark.parametrize("given", ["hourly!", "-1h", "", "ns", "BME", "SMS"])
def test_named_frequency_that_is_none(given):
    with pytest.raises(InputError, match=r"(?s)no frequency.*5min, h, D.*--frequency"):
        named_frequency(given)


def test_asked_frequency_that_does_not_fit():
    frame = pd.DataFrame({"when": pd.date_range("2020", periods=50, freq="h"), "y": np.arange(50.0)})
    with pytest.raises(DataError, match=r"(?s)on no daily grid.*hourly rows.*--frequency"):
        read_table(frame, Roles(frequency="D"))
    finer = read_table(frame, Roles(frequency="30min"))
    assert len(finer.series[0]) == 99


def test_weekly_grid_keeps_its_day():
    saturdays = pd.date_range("2020-01-04", periods=30, freq="W-SAT")
    grid = place(saturdays, Frequency("W-SUN"))
    assert grid is not None
    assert grid.frequency.alias == "W-SAT"


# ---- words and seasons ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alias", "text", "seasons"),
    [
        ("5min", "5-minute", (288, 2016)),
        ("30min", "30-minute", (48, 336)),
        ("h", "hourly", (24, 168)),
        ("7h", "7-hour", (24,)),
        ("D", "daily", (7, 365)),
        ("B", "business-daily", (5,)),
        ("W-SAT", "weekly", (52,)),
        ("2W-SAT", "2-week", (26,)),
        ("MS", "monthly", (12,)),
        ("ME", "monthly", (12,)),
        ("QS-JAN", "quarterly", (4,)),
        ("YS-JAN", "yearly", ()),
        ("min", "one-minute", (1440, 10080)),
        ("rows", "", ()),
    ],
)
def test_words_and_seasons(alias, text, seasons):
    frequency = Frequency(alias, rows=alias in ("rows", "B"))
    assert frequency.text == text
    assert frequency.seasons == seasons


def test_next_stamps_without_stamps():
    rows = Frequency("rows", rows=True)
    assert rows.next_stamps(9, 3).equals(pd.RangeIndex(10, 13))
    assert rows.next_stamps(pd.Timestamp("2020"), 3).equals(pd.RangeIndex(1, 4))
    assert len(Frequency("h").next_stamps(pd.Timestamp("2020"), 0)) == 0


def test_next_stamps_through_a_clock_change():
    before = pd.Timestamp("2020-03-28 22:00", tz="Europe/Vienna")
    hours = Frequency("h").next_stamps(before, 5)
    assert [stamp.hour for stamp in hours] == [23, 0, 1, 3, 4]
    days = Frequency("D").next_stamps(pd.Timestamp("2020-03-28", tz="Europe/Vienna"), 3)
    assert [stamp.hour for stamp in days] == [0, 0, 0]
