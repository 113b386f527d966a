"""The public tables, read by name: what their notes say, and that they are read again as they were."""

import os
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pytest

from gatelab.core.errors import DataError
from gatelab.data import Frequency, Roles, read_like, read_table, sources

pytestmark = pytest.mark.skipif("GATELAB_DATA" not in os.environ, reason="needs the public data: set GATELAB_DATA")

CASES = [
    ("traffic_pems", Roles(past=("*",)), "5min", [16416],
     ["time: 5 Minutes, written day-first, so 04/01/2016 0:00 is 4 January 2016",
      "7,776 5-minute rows, 2016-01-04 00:00 to 2016-02-29 23:55",
      "8,640 steps between them without a row: no values there, masked in state and loss",
      "left out: # Lane Points (constant)"]),
    ("traffic_pems/test.csv", Roles(), "5min", [8064], ["4,320 5-minute rows, 2016-03-04 00:00 to 2016-03-31 23:55"]),
    ("sp500_daily", Roles(), "B", [5105],
     ["5,105 trading days: rows are the steps, weekends and holidays are no gaps, 2000-01-03 to 2020-04-17"]),
    ("vix_daily", Roles(past=("*",)), "B", [9235],
     ["9,235 trading days: rows are the steps, weekends and holidays are no gaps, 1990-01-02 to 2026-07-23"]),
    ("seattle_weather", Roles(past=("*",)), "D", [1461],
     ["1,461 daily rows, 2012-01-01 to 2015-12-31", "weather: category with 5 levels (drizzle, fog, rain, snow, sun)"]),
    ("seattle_weather/weather.csv", Roles(past=("*",)), "D", [1461, 1461],
     ["2,922 daily rows in 2 series, 2012-01-01 to 2015-12-31"]),
    ("melbourne_min_temp", Roles(), "D", [3652],
     ["3,650 daily rows, 1981-01-01 to 1990-12-31",
      "2 steps between them without a row: no values there, masked in state and loss"]),
    ("beijing_pm25", Roles(), "h", [43824],
     ["time: the columns year, month, day and hour, put together",
      "43,824 hourly rows, 2010-01-01 00:00 to 2014-12-31 23:00",
      "2,067 gaps in pm2.5 (4.7 %): masked in state and loss",
      "cbwd: category with 4 levels (NE, NW, SE, cv)"]),
    ("etth1", Roles(past=("*",)), "h", [17420], ["17,420 hourly rows, 2016-07-01 00:00 to 2018-06-26 19:00"]),
    ("sunspots_monthly", Roles(), "MS", [2820], ["2,820 monthly rows, 1749-01-01 to 1983-12-01"]),
    ("air_passengers", Roles(), "MS", [144], ["144 monthly rows, 1949-01-01 to 1960-12-01"]),
    ("exchange_rate", Roles(target=("col_7",), past=("*",)), "rows", [7588],
     ["no header: the columns are called col_0 to col_7",
      "no time column: the rows are the steps, in the order of the file", "7,588 rows"]),
    ("nab/data/realKnownCause/nyc_taxi.csv", Roles(), "30min", [10320],
     ["10,320 30-minute rows, 2014-07-01 00:00 to 2015-01-31 23:30"]),
    ("nab/data/realKnownCause/ambient_temperature_system_failure.csv", Roles(), "h", [7888],
     ["621 steps between them without a row: no values there, masked in state and loss"]),
    ("nab/data/realAWSCloudwatch/ec2_disk_write_bytes_1ef3de.csv", Roles(), "5min", [4730],
     ["11 rows with the stamp and the values of another one: dropped",
      "stamps moved to the regular grid, by 1 minute at most"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "roles", "alias", "lengths", "notes"), CASES, ids=[case[0] for case in CASES])
def test_read_by_name(name, roles, alias, lengths, notes):
    table = read_table(name, roles)
    assert table.frequency == Frequency(alias, rows=alias in ("rows", "B"))
    assert [len(series) for series in table.series] == lengths
    assert [note for note in notes if note not in table.notes] == []
    again = read_like(name, table.schema())
    assert again.columns == table.columns
    for one, two in zip(table.series, again.series, strict=True):
        assert one.stamps.equals(two.stamps)
        np.testing.assert_array_equal(one.values, two.values)


def test_trained_on_one_file_and_read_on_another():
    schema = read_table("traffic_pems").schema()
    later = read_like("traffic_pems/test.csv", schema)
    assert later.frequency.alias == "5min"
    assert later.series[0].stamps[0] == pd.Timestamp("2016-03-04")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("realTraffic/TravelTime_387", r"(?s)no regular grid.*--frequency rows"),
        ("realKnownCause/machine_temperature_system_failure", r"(?s)12 rows with the stamp of another.*--duplicates"),
        (
            "realKnownCause/ec2_request_latency_system_failure",
            r"(?s)11 rows with the stamp of another.*where clocks change",
        ),
        ("artificialNoAnomaly/art_flatline", "never changes: there is nothing to forecast"),
    ],
)
def test_refused_for_a_reason(name, message):
    with pytest.raises(DataError, match=message):
        read_table(f"nab/data/{name}.csv")


def times_of_pandas(path, roles: Roles, rounds: int) -> float:
    """How many times as long as ``pandas.read_csv`` it takes: processor time by turns, the least of each."""
    seconds: dict[str, list[float]] = {"ours": [], "pandas": []}
    for _ in range(rounds):
        for name, read in (("ours", lambda: read_table(path, roles)), ("pandas", lambda: pd.read_csv(path))):
            begin = time.process_time()
            read()
            seconds[name].append(time.process_time() - begin)
    return min(seconds["ours"]) / min(seconds["pandas"])


def test_forty_thousand_rows_are_read_quickly():
    """3.4 times when measured: four columns are put together to stamps, one is made into categories."""
    path = sources.locate_file("beijing_pm25")
    assert times_of_pandas(path, Roles(target=("pm2.5",), past=("*",)), rounds=3) < 8


@pytest.mark.slow
def test_a_million_rows_are_read_quickly(tmp_path):
    """2.5 times when measured."""
    rng = np.random.default_rng(0)
    stamps = pd.date_range("2010", periods=1_000_000, freq="min").strftime("%Y-%m-%d %H:%M")
    columns = {f"x{place}": rng.normal(size=1_000_000).round(3) for place in range(4)}
    path = tmp_path / "million.csv"
    pyarrow.csv.write_csv(pa.table({"when": np.asarray(stamps, object), **columns}), path)
    assert times_of_pandas(path, Roles(target=("x0",), past=("*",)), rounds=2) < 5
    assert len(read_table(path, Roles(target=("x0",), past=("*",))).series[0]) == 1_000_000
