"""Which column holds the time, and which way its dates are written."""

from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatelab.core.errors import DataError, InputError
from gatelab.data import Roles, read_table
from gatelab.data.dates import _cut_anywhere, _cut_at_one_place, parse_dates

DAYS = pd.date_range("2016-01-10", periods=40, freq="D")
HOURS = pd.date_range("2016-01-30 22:00", periods=60, freq="h")


def text_table(cells, name="when", **columns):
    """A table of text, as it comes from a file."""
    return pd.DataFrame({name: pd.Series(list(cells), dtype="str"), "y": np.arange(len(cells)) ** 2.0, **columns})


def stamps(table):
    return table.series[0].stamps


@pytest.mark.parametrize(
    ("style", "note"),
    [
        ("%Y-%m-%d", "time: when"),
        ("%Y/%m/%d", "time: when"),
        ("%Y%m%d", "year, month and day"),
        ("%d.%m.%Y", "day-first, so 10.01.2016 is 10 January 2016"),
        ("%m/%d/%Y", "month-first, so 01/10/2016 is 10 January 2016"),
        ("%d-%m-%y", "day-first, two-digit years"),
        ("%d %b %Y", "day month-name year"),
        ("%d-%b-%y", "day month-name year"),
        ("%B %d, %Y", "month-name day year"),
        ("%-d/%-m/%Y", "day-first"),
    ],
)
def test_ways_of_writing_days(style, note):
    table = read_table(text_table(DAYS.strftime(style)), Roles(target=("y",), time="when"))
    assert stamps(table).equals(DAYS.as_unit("us"))
    assert note in table.notes[0]


@pytest.mark.parametrize(
    "style",
    [
        "%Y-%m-%d %H:%M",
        "%Y-%m-%dT%H:%M:%S",
        "%Y-%m-%d %H:%M:%S.000",
        "%d/%m/%Y %-H:%M",
        "%m/%d/%Y %I:%M %p",
        "%b %d, %Y, %I:%M:%S %p",
        "%Y%m%d %H:%M",
    ],
)
def test_ways_of_writing_hours(style):
    assert stamps(read_table(text_table(HOURS.strftime(style)))).equals(HOURS.as_unit("us"))


@pytest.mark.parametrize(
    ("cells", "alias"),
    [
        ([f"{2000 + i // 12}-{i % 12 + 1:02}" for i in range(30)], "MS"),
        ([f"{i % 12 + 1:02}/{2000 + i // 12}" for i in range(30)], "MS"),
        ([f"{2000 + i // 12}M{i % 12 + 1:02}" for i in range(30)], "MS"),
        (list(pd.date_range("2000", periods=30, freq="MS").strftime("%b %Y")), "MS"),
        ([f"{2000 + i // 4}Q{i % 4 + 1}" for i in range(30)], "QS-JAN"),
        ([f"Q{i % 4 + 1} {2000 + i // 4}" for i in range(30)], "QS-JAN"),
    ],
)
def test_months_and_quarters(cells, alias):
    table = read_table(text_table(cells))
    assert table.frequency.alias == alias
    assert len(stamps(table)) == 30
    assert stamps(table)[0] == pd.Timestamp("2000-01-01")


@pytest.mark.parametrize(
    ("cells", "name", "first", "alias", "note"),
    [
        (range(1950, 1990), "year", "1950-01-01", "YS-JAN", "written as years"),
        ([200001 + i // 12 * 100 + i % 12 for i in range(30)], "Month", "2000-01-01", "MS", "year and month"),
        ([int(day.strftime("%Y%m%d")) for day in DAYS], "DATE", "2016-01-10", "D", "year, month and day"),
        (range(1_500_000_000, 1_500_036_000, 300), "timestamp", "2017-07-14 02:40", "5min", "seconds since 1970"),
        (range(1_500_000_000_000, 1_500_036_000_000, 300_000), "ts_unix", "2017-07-14 02:40", "5min", "milliseconds"),
    ],
)
def test_stamps_written_as_numbers(cells, name, first, alias, note):
    frame = pd.DataFrame({name: list(cells), "y": np.arange(len(cells)) ** 2.0})
    for source in (frame, frame.astype({name: "str"})):
        table = read_table(source)
        assert table.frequency.alias == alias
        assert stamps(table)[0].tz_localize(None) == pd.Timestamp(first)
        assert note in table.notes[0]


def test_codes_are_not_taken_for_dates():
    """1001-56 is written like a month, and is none."""
    codes = [f"{1001 + i // 40}-{40 + i % 40}" for i in range(60)]
    table = read_table(pd.DataFrame({"part": codes, "y": np.arange(60) ** 2.0}), Roles(target=("y",)))
    assert table.roles.time is None


def test_numbers_are_not_taken_for_dates():
    """1455.2 is no month, 2016 is no year, unless the column is called so."""
    frame = pd.DataFrame({"price": ["1455.2", "1399.4", "1402.1"], "stock": ["2016", "2017", "2018"]}, dtype="str")
    table = read_table(frame, Roles(target=("price",), past=("*",)))
    assert table.frequency.alias == "rows"
    assert [column.name for column in table.columns] == ["price", "stock"]


# ---- which way round ------------------------------------------------------------------------------------------


def test_order_decides_between_day_first_and_month_first():
    """Eleven days of January that could be the first of eleven months: only one reading runs forward."""
    hours = pd.date_range("2016-01-30", "2016-02-05 23:00", freq="h")  # 30 and 31 are seen: evidence
    cells = hours.strftime("%d/%m/%Y %H:%M")
    assert stamps(read_table(text_table(cells))).equals(hours.as_unit("us"))
    early = pd.date_range("2016-02-01", "2016-03-12 12:00", freq="12h")
    early = early[early.day <= 12]  # never above 12: order alone tells
    for style in ("%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M"):
        table = read_table(text_table(early.strftime(style)), Roles(frequency="12h"))
        assert stamps(table)[0] == early[0]
        assert stamps(table)[-1] == early[-1]


def test_regularity_decides_where_both_readings_run_forward():
    months = pd.date_range("2000", periods=48, freq="MS")
    for style, first in (("%d/%m/%Y", "day-first"), ("%m/%d/%Y", "month-first")):
        table = read_table(text_table(months.strftime(style)))
        assert table.frequency.alias == "MS"
        assert first in table.notes[0]


def test_ambiguous_dates_are_asked_for_with_both_readings_shown():
    cells = pd.date_range("2016-02-01", periods=12).strftime("%d/%m/%Y")
    with pytest.raises(
        InputError,
        match=r"(?s)'when' can be read in two ways.*01/02/2016 is 1 February 2016 \(day-first\) or "
        r"2 January 2016 \(month-first\).*--day-first or --no-day-first",
    ):
        read_table(text_table(cells))
    daily = read_table(text_table(cells), Roles(day_first=True))
    assert daily.frequency.alias == "D"
    monthly = read_table(text_table(cells), Roles(day_first=False))
    assert monthly.frequency.alias == "MS"


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(["h", "6h", "D", "W-MON", "MS"]),
    st.dates(date(2001, 1, 1), date(2019, 1, 1)),
    st.integers(5, 50),
    st.sampled_from(["%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M"]),
    st.booleans(),
    st.data(),
)
def test_a_wrong_reading_is_never_chosen(freq, start, count, style, shuffled, data):
    """For series on a grid, with rows absent and in any order: the right reading, or a question."""
    stamps = pd.date_range(start, periods=count, freq=freq)
    stamps = stamps.delete(data.draw(st.lists(st.integers(1, count - 2), max_size=count // 5, unique=True)))
    if shuffled:
        stamps = stamps[data.draw(st.permutations(range(len(stamps))))]
    try:
        found = parse_dates(pa.array(stamps.strftime(style), pa.string()), "when", str)
    except InputError:
        return  # asked
    assert found.values.equals(stamps.as_unit("us"))


def test_what_the_user_says_wins_until_a_date_contradicts():
    with pytest.raises(DataError, match=r"(?s)no date.*month-first, as 10/01/2016.*'13/01/2016' in row 4"):
        read_table(text_table(DAYS.strftime("%d/%m/%Y")), Roles(day_first=False))


# ---- cut at one place, the fast twin --------------------------------------------------------------------------


def pieces(cut):
    return [column.to_pylist() for column in cut]


@pytest.mark.parametrize(
    "style", ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "%d.%m.%Y, %I:%M %p", "%d/%m/%y %H:%M:%S.%f+02:00"]
)
def test_stamps_of_one_length_are_cut_at_one_place(style):
    cells = pa.array(HOURS.strftime(style))
    assert pieces(_cut_at_one_place(cells)) == pieces(_cut_anywhere(cells))


@pytest.mark.parametrize("cells", [["1/2/2016 3:00", "10/2/2016 3:00"], ["2016-01-01 10:00", "no date, 10:00"]])
def test_stamps_of_several_lengths_are_not(cells):
    assert _cut_at_one_place(pa.array(cells)) is None


DATE = st.one_of(
    st.sampled_from(["2016-01-01", "1 Jan 16", "x 10:00", "x 1:0", "T,", "x\n", "", "Ä 2016"]),
    st.text("0123 T,:.", max_size=8),
)
CLOCK = st.one_of(
    st.sampled_from([" 10:00", "T10:00:00Z", ", 1.30 pm", "  00:00:00,5 +02:00", ""]), st.text("01 T:.+Z", max_size=8)
)


@settings(max_examples=300, deadline=None)
@given(dates=st.lists(DATE, min_size=1, max_size=3), clocks=st.lists(CLOCK, min_size=1, max_size=3))
def test_where_both_ways_cut_they_agree(dates, clocks):
    cells = pa.array([day + clock for day in dates for clock in clocks])
    at_one_place = _cut_at_one_place(cells)
    if at_one_place is not None:
        assert pieces(at_one_place) == pieces(_cut_anywhere(cells))


# ---- bad dates ------------------------------------------------------------------------------------------------


def test_a_cell_that_is_no_date_is_named(tmp_path):
    cells = list(DAYS.strftime("%Y-%m-%d"))
    for wrong in ("2016-02-30", "yesterday", "2016-01-20 25:00", "2016-01-20 13:00 pm"):
        cells[7] = wrong
        text_table(cells).to_csv(tmp_path / "t.csv", index=False)
        with pytest.raises(DataError, match=rf"(?s)'when' holds something that is no date.*'{wrong}' in line 9"):
            read_table(tmp_path / "t.csv")


def test_mixed_ways_of_writing_are_refused_with_two_rows():
    cells = list(DAYS.strftime("%d/%m/%Y"))
    cells[20:] = DAYS[20:].strftime("%Y-%m-%d")
    with pytest.raises(DataError, match=r"(?s)more than one way.*'10/01/2016' in row 1, '2016-01-30' in row 21"):
        read_table(text_table(cells))
    both = [*DAYS[:20].strftime("%d/%m/%Y"), *DAYS[20:].strftime("%m/%d/%Y")]
    with pytest.raises(DataError, match=r"(?s)more than one way.*'13/01/2016' in row 4, '01/30/2016' in row 21"):
        read_table(text_table(both))
    zoned = [*HOURS[:5].strftime("%Y-%m-%d %H:%M"), *HOURS[5:].strftime("%Y-%m-%d %H:%MZ")]
    with pytest.raises(DataError, match=r"(?s)more than one way.*in row 6.*in row 1"):
        read_table(text_table(zoned))


def test_missing_stamps_are_named():
    cells = list(DAYS.strftime("%Y-%m-%d"))
    cells[3] = cells[9] = ""
    with pytest.raises(DataError, match=r"(?s)'when' has 2 rows without a stamp.*the first is row 4"):
        read_table(text_table(cells))
    frame = pd.DataFrame({"when": DAYS.where(np.arange(40) != 5), "y": np.arange(40.0)})
    with pytest.raises(DataError, match=r"(?s)1 rows? without a stamp.*row 6"):
        read_table(frame)


# ---- which column ---------------------------------------------------------------------------------------------


def test_named_column():
    frame = text_table(DAYS.strftime("%Y-%m-%d"), other=DAYS[::-1].strftime("%Y-%m-%d"))
    assert read_table(frame, Roles(time="other")).series[0].values[0, 0] == 39**2
    with pytest.raises(InputError, match=r"(?s)no column 'wen'.*did you mean when"):
        read_table(frame, Roles(time="wen"))
    with pytest.raises(InputError, match=r"column 'when' is named twice"):
        read_table(frame, Roles(target=("y",), time="when", past=("*",), future=("when",)))


def test_of_two_columns_of_dates_the_one_with_a_name_of_time():
    frame = text_table(DAYS[::-1].strftime("%Y-%m-%d"), "delivered", date=DAYS.strftime("%Y-%m-%d"))
    table = read_table(frame)
    assert table.roles.time == "date"
    assert "also written like dates: delivered (--time chooses another)" in table.notes


def test_dates_split_over_columns():
    parts = {"Year": HOURS.year, "month": HOURS.month, "DAY": HOURS.day, "hour": HOURS.hour}
    frame = pd.DataFrame({"No": range(1, 61), **parts, "y": np.arange(60) ** 2.0})
    table = read_table(frame)
    assert stamps(table).equals(HOURS.as_unit("us"))
    assert table.notes[0] == "time: the columns Year, month, DAY and hour, put together"
    assert read_table(frame, Roles(time="Year", target=("y",))).series[0].stamps.equals(stamps(table))
    frame.loc[4, ["month", "DAY"]] = [2, 30]
    with pytest.raises(DataError, match=r"(?s)Year, month, DAY, hour .*give no date in row 5.*DAY 30"):
        read_table(frame)


def test_date_and_time_of_day_in_two_columns():
    for style in ("%H:%M:%S", "%H.%M.%S"):
        frame = pd.DataFrame({"Date": HOURS.strftime("%d/%m/%Y"), "Time": HOURS.strftime(style), "y": np.arange(60.0)})
        table = read_table(frame)
        assert stamps(table).equals(HOURS.as_unit("us"))
        assert table.notes[0].startswith("time: Date and Time")


def test_no_time_column():
    table = read_table(pd.DataFrame({"y": [1.0, 2.0, 4.0]}))
    assert stamps(table).equals(pd.RangeIndex(3))
    assert table.frequency.alias == "rows"
    assert table.notes[0] == "no time column: the rows are the steps, in the order of the file"
    daily = read_table(pd.DataFrame({"y": [1.0, 2.0, 4.0]}), Roles(frequency="D"))
    assert daily.frequency.seasons == (7, 365)
    assert stamps(daily).equals(pd.RangeIndex(3))
