"""Time zones and daylight saving, against pandas' own zones."""

import numpy as np
import pandas as pd
import pytest

from gatelab.core.errors import DataError
from gatelab.data import Roles, read_table

ZONE = "Europe/Vienna"
YEAR = pd.date_range("2021-01-01", "2021-12-31 23:00", freq="h", tz="UTC")


def wall(zone=ZONE, stamps=YEAR):
    """A table whose stamps are what the clock on the wall shows."""
    local = stamps.tz_convert(zone).strftime("%Y-%m-%d %H:%M")
    return pd.DataFrame({"when": local, "y": np.arange(len(stamps), dtype=float)})


@pytest.mark.parametrize("zone", [ZONE, "America/New_York", "Australia/Sydney", "Asia/Tokyo"])
@pytest.mark.parametrize("step", ["h", "30min"])
def test_local_time_through_both_clock_changes(zone, step):
    stamps = pd.date_range("2021-01-01", "2021-12-31 23:00", freq=step, tz="UTC")
    table = read_table(wall(zone, stamps), Roles(time_zone=zone))
    series = table.series[0]
    assert series.stamps.tz_convert("UTC").equals(stamps.as_unit("us"))
    np.testing.assert_array_equal(series.values[:, 0], np.arange(len(stamps)))
    assert table.zone == zone
    assert f"stamps are local time of {zone}: counted in UTC inside" in table.notes


def test_local_time_without_its_zone_is_told_about_it():
    with pytest.raises(
        DataError, match=r"(?s)1 row with the stamp of another one.*2021-10-31 02:00.*clocks change.*--time-zone"
    ):
        read_table(wall())
    spring = read_table(wall()[:4000])
    assert "1 step between them without a row: no values there, masked in state and loss" in spring.notes
    assert "these are hours in which clocks go forward: --time-zone counts local time right" in spring.notes


def test_gaps_elsewhere_are_no_clock_change():
    table = read_table(wall(stamps=YEAR[:1500]).drop(index=[700, 900]))
    assert not any("clocks" in note for note in table.notes)


def test_a_stamp_the_clock_never_showed():
    with pytest.raises(DataError, match=r"(?s)Europe/Vienna never showed 2021-03-28 02:00.*row 2067.*UTC"):
        read_table(wall("UTC"), Roles(time_zone=ZONE))


def test_offsets_in_the_text():
    local = YEAR.tz_convert(ZONE)
    frame = pd.DataFrame({"when": [stamp.isoformat() for stamp in local], "y": np.arange(len(YEAR), dtype=float)})
    table = read_table(frame, Roles(time_zone=ZONE))
    assert table.series[0].stamps.equals(local.as_unit("us"))
    plain = read_table(frame)
    assert plain.zone == "UTC"
    assert plain.series[0].stamps.equals(YEAR.as_unit("us"))
    fixed = read_table(frame[:500])
    assert fixed.zone == "+01:00"
    assert fixed.series[0].stamps[0].isoformat() == "2021-01-01T01:00:00+01:00"
    zulu = read_table(frame.assign(when=YEAR.strftime("%Y-%m-%dT%H:%M:%SZ")))
    assert zulu.zone == "UTC"


def test_aware_stamps_of_a_frame():
    local = YEAR.tz_convert(ZONE)
    table = read_table(pd.DataFrame({"y": np.arange(len(YEAR), dtype=float)}, index=local))
    assert table.zone == ZONE
    assert table.series[0].stamps.equals(local.as_unit("us"))


def test_days_count_the_calendar_not_hours():
    """Local midnights are 23 or 25 hours apart where clocks change, and still daily."""
    days = pd.date_range("2021-01-01", "2021-12-31", freq="D", tz=ZONE)
    frame = pd.DataFrame({"when": [day.isoformat() for day in days], "y": np.arange(365.0)})
    table = read_table(frame.drop(index=86), Roles(time_zone=ZONE))
    assert table.frequency.alias == "D"
    assert table.series[0].stamps.equals(days.as_unit("us"))
    assert np.flatnonzero(np.isnan(table.series[0].values[:, 0])).tolist() == [86]


def test_each_series_has_its_own_repeated_hour():
    frames = [wall(stamps=YEAR[7000:]).assign(id=name) for name in ("a", "b")]
    table = read_table(pd.concat(frames), Roles(target=("y",), id="id", time_zone=ZONE))
    for series in table.series:
        assert series.stamps.tz_convert("UTC").equals(YEAR[7000:].as_unit("us"))
