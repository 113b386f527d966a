"""The unseen future: its stamps, what is known of it, and which tables are refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from gatelab.core.config import ModelConfig, from_options
from gatelab.core.errors import DataError
from gatelab.tasks.forecasting.config import ForecastingConfig
from gatelab.tasks.forecasting.task import Forecasting


def trained(table, **options):
    options = {"target": "load", "horizon": 4, "lookback": 12, "normalise": "last", **options}
    task = Forecasting.open(table, from_options(ForecastingConfig, options))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = task.build(ModelConfig("gru", hidden_size=4)).eval()
    return Forecasting.restore(task.config, task.state()), model


def ahead(hourly, rows=4, **columns):
    stamps = pd.date_range(hourly["time"].iloc[-1] + pd.Timedelta("1h"), periods=rows, freq="h")
    return pd.DataFrame({"time": stamps, "price": 1.0, **columns})


def test_dates_go_on_after_the_table(hourly):
    task, model = trained(hourly)
    predicted = task.predict(model, hourly)
    assert list(predicted.columns) == ["time", "forecast", "q2.5", "q10", "q25", "q50", "q75", "q90", "q97.5"]
    assert predicted["time"].tolist() == list(pd.date_range("2024-01-21", periods=4, freq="h"))
    np.testing.assert_array_equal(predicted["forecast"], predicted["q50"])


def test_a_table_that_goes_on_after_training_and_its_newest_rows_give_the_same(hourly):
    task, model = trained(hourly[:400])
    whole, newest = task.predict(model, hourly), task.predict(model, hourly.tail(12))
    pd.testing.assert_frame_equal(whole, newest)
    assert whole["time"].iloc[0] == pd.Timestamp("2024-01-21")


def test_rows_in_another_order_give_the_same(hourly):
    task, model = trained(hourly)
    shuffled = hourly.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(task.predict(model, shuffled), task.predict(model, hourly))


def test_local_time_stays_local(hourly):
    zoned = hourly.assign(time=pd.date_range("2024-03-11", periods=480, freq="h", tz="Europe/Vienna"))
    task, model = trained(zoned)
    stamps = task.predict(model, zoned[:480])["time"]
    assert str(stamps.dt.tz) == "Europe/Vienna"
    assert stamps.iloc[0] == zoned["time"].iloc[-1] + pd.Timedelta("1h")


def test_covariates_known_ahead_come_from_the_table_or_from_a_file_of_their_own(hourly, tmp_path):
    task, model = trained(hourly, future=("price",))
    future = ahead(hourly)
    future.to_csv(tmp_path / "future.csv", index=False)
    in_one = task.predict(model, pd.concat([hourly, future]))
    pd.testing.assert_frame_equal(task.predict(model, hourly, future=future), in_one)
    pd.testing.assert_frame_equal(task.predict(model, hourly, future=str(tmp_path / "future.csv")), in_one)
    other = task.predict(model, hourly, future=future.assign(price=2.0))
    assert not np.array_equal(other["forecast"], in_one["forecast"])


def test_more_rows_ahead_than_needed_change_nothing(hourly):
    task, model = trained(hourly, future=("price",))
    pd.testing.assert_frame_equal(
        task.predict(model, hourly, future=ahead(hourly, 9)), task.predict(model, hourly, future=ahead(hourly))
    )


@pytest.mark.parametrize("rows", [0, 3])
def test_a_covariate_that_is_missing_ahead_is_named_with_its_first_stamp(hourly, rows):
    task, model = trained(hourly, future=("price",))
    source = pd.concat([hourly, ahead(hourly, rows)]) if rows else hourly
    with pytest.raises(DataError, match="'price' is needed ahead") as caught:
        task.predict(model, source)
    assert caught.value.got == f"none at 2024-01-21 0{rows}:00:00"
    assert "--future" in caught.value.fix


def test_a_hole_in_a_covariate_ahead_is_refused_unless_training_had_some(hourly):
    holed = ahead(hourly, price=[1.0, np.nan, 1.0, 1.0])
    task, model = trained(hourly, future=("price",))
    with pytest.raises(DataError, match="'price'") as caught:
        task.predict(model, hourly, future=holed)
    assert "01:00" in str(caught.value.got)
    hourly.loc[5, "price"] = np.nan
    task, model = trained(hourly, future=("price",))
    assert np.isfinite(task.predict(model, hourly, future=holed)["forecast"]).all()


def test_a_level_that_training_did_not_show_is_like_none_and_said(hourly):
    task, model = trained(hourly, future=("wind",))
    strange = ahead(hourly).assign(wind="NE")
    predicted = task.predict(model, hourly, future=strange)
    assert any("NE not seen in training" in note for note in predicted.attrs["notes"])
    again = task.predict(model, hourly, future=strange.assign(wind="SE"))
    pd.testing.assert_frame_equal(predicted, again)
    known = task.predict(model, hourly, future=strange.assign(wind="N"))
    assert not np.array_equal(predicted["forecast"], known["forecast"])


def test_rows_without_stamps_are_numbered_on(hourly):
    plain = hourly.drop(columns="time")
    task, model = trained(plain, future=("price",))
    future = ahead(hourly).drop(columns="time")
    predicted = task.predict(model, plain, future=future)
    assert predicted["step"].tolist() == [480, 481, 482, 483]
    pd.testing.assert_frame_equal(predicted, task.predict(model, pd.concat([plain, future])))


def test_trading_days_ahead_are_those_that_are_given():
    days = pd.bdate_range("2024-01-01", periods=200).delete([50, 121])  # two holidays
    y = np.sin(np.arange(len(days)))
    table = pd.DataFrame({"date": days, "y": y, "open": 1.0 + np.arange(len(days)) % 2})
    task, model = trained(table, target="y", future=("open",), horizon=3, time="date")
    with_holiday = pd.DataFrame({"date": pd.to_datetime(["2024-10-07", "2024-10-09", "2024-10-10"]), "open": 1.0})
    assert task.predict(model, table, future=with_holiday)["date"].tolist() == with_holiday["date"].tolist()


@pytest.mark.parametrize(
    ("dates", "message"),
    [(["2020-06-08", "2020-06-09"], "there is a hole before 2020-06-08"),
     (["2020-05-20", "2020-06-22"], "there is a hole before 2020-06-22"),
     (["2020-06-01", "2020-07-01"], "there is a hole before 2020-06-01")],
    ids=["13 trading days later", "a month between", "months"],
)  # fmt: skip
def test_rows_ahead_that_are_not_the_next_trading_days_are_refused(dates, message):
    days = pd.bdate_range(end="2020-05-19", periods=80)
    table = pd.DataFrame({"time": days, "load": np.sin(np.arange(80.0)), "split": np.arange(80) % 9 == 0})
    task, model = trained(table, future=("split",), horizon=2)
    with pytest.raises(DataError, match=message):
        task.predict(model, table, future=pd.DataFrame({"time": dates, "split": True}))
    after_holidays = pd.DataFrame({"time": ["2020-05-26", "2020-05-27"], "split": True})
    assert task.predict(model, table, future=after_holidays)["time"].tolist() == [
        *pd.to_datetime(after_holidays["time"])
    ]


def test_each_shop_goes_on_from_its_own_weekday_and_takes_rows_ahead_for_it():
    monday, wednesday = (pd.date_range(first, periods=63, freq="7D") for first in ("2020-01-06", "2020-01-08"))
    load = np.sin(np.arange(63.0))
    parts = [pd.DataFrame({"time": stamps, "shop": shop, "load": load, "promo": 1.0 * (stamps.day < 8)})
             for shop, stamps in (("a", monday), ("b", wednesday))]  # fmt: skip
    table = pd.concat(parts)
    known, coming = table[table["time"] < "2021-02-28"], table[table["time"] >= "2021-02-28"].drop(columns="load")
    task, model = trained(known, id="shop", future=("promo",), horizon=3)
    predicted = task.predict(model, known, future=coming)
    assert predicted[["shop", "time"]].to_numpy().tolist() == coming[["shop", "time"]].to_numpy().tolist()
    alone, alone_model = trained(known[known["shop"] == "a"].drop(columns="promo"), horizon=1)
    other = known[known["shop"] == "b"].drop(columns=["promo", "shop"])
    assert alone.predict(alone_model, other)["time"].tolist() == [wednesday[60]]


def test_several_series_and_one_that_is_new(hourly):
    table = pd.concat([hourly.assign(id="a"), hourly.assign(id="b", load=hourly["load"] + 500)])
    task, model = trained(table, id="id")
    predicted = task.predict(model, pd.concat([table, hourly.assign(id="new")]))
    assert predicted.groupby("id").size().to_dict() == {"a": 4, "b": 4, "new": 4}
    assert any("id: new not seen in training, scaled by all series" in note for note in predicted.attrs["notes"])
    means = predicted.groupby("id")["forecast"].mean()
    assert means["b"] - means["a"] == pytest.approx(500, abs=30)
    alone = task.predict(model, table[table["id"] == "b"])
    pd.testing.assert_frame_equal(alone, predicted[predicted["id"] == "b"].reset_index(drop=True))


@pytest.mark.parametrize("written", [[1.0, 2.0], ["1", "2"], ["01", "2.00"]])
def test_numerals_that_are_equal_are_one_series_and_another_case_is_another(hourly, written):
    table = pd.concat([hourly.assign(id=1), hourly.assign(id=2, load=hourly["load"] + 500)])
    task, model = trained(table, id="id")
    again = task.predict(model, table.assign(id=table["id"].map(dict(zip([1, 2], written, strict=True)))))
    pd.testing.assert_frame_equal(again, task.predict(model, table))
    evaluated = task.reopen(table.assign(id=table["id"].map({1: "1", 2: "Two"})), "evaluate")
    assert any("id: Two not seen in training" in note for note in evaluated.notes)


@pytest.mark.parametrize(("rows", "enough"), [(11, False), (12, True)])
def test_as_many_rows_as_the_lookback_are_needed(hourly, rows, enough):
    task, model = trained(hourly)
    if enough:
        assert len(task.predict(model, hourly.tail(rows))) == 4
        return
    with pytest.raises(DataError, match="too few rows to forecast load from") as caught:
        task.predict(model, hourly.tail(rows))
    assert "at least 12 rows" in caught.value.expected


def test_another_step_between_rows_is_refused(hourly):
    task, model = trained(hourly)
    with pytest.raises(DataError, match="step that the model was trained with") as caught:
        task.predict(model, hourly.assign(time=pd.date_range("2024-01-01", periods=480, freq="D")))
    assert (caught.value.expected, caught.value.got) == ("hourly rows", "daily rows")


def test_a_column_that_is_not_there_is_named(hourly):
    task, model = trained(hourly, past=("temperature",))
    with pytest.raises(DataError, match="no column 'temperature'"):
        task.predict(model, hourly.drop(columns="temperature"))


def test_what_matters_most_fits_a_terminal(hourly):
    task, model = trained(hourly)
    assert task.predict(model, hourly).attrs["brief"] == ["time", "forecast", "q2.5", "q10", "q90", "q97.5"]


def test_a_short_series_does_not_stop_the_others_and_is_named(hourly):
    parts = {"a": hourly, "b": hourly.assign(load=hourly["load"] + 5), "c": hourly[:7], "d": hourly.assign(load=np.nan)}
    table = pd.concat([frame.assign(id=id) for id, frame in parts.items()])
    task, model = trained(table, id="id")
    opened = Forecasting.open(table, task.config)
    assert any(note.startswith("too short to learn from: c (7 rows)") for note in opened.notes)
    predicted = task.predict(model, table)
    assert predicted["id"].unique().tolist() == ["a", "b"]
    (note,) = [note for note in predicted.attrs["notes"] if note.startswith("no forecast for")]
    assert "c (7 rows)" in note
    assert "d (0 rows)" in note
    alone = task.predict(model, table[table["id"].isin(["a", "b"])])
    pd.testing.assert_frame_equal(predicted, alone)
    with pytest.raises(DataError, match=r"(?s)series c, the longest.*7 rows"):
        task.predict(model, table[table["id"].isin(["c", "d"])])


@pytest.mark.parametrize("name", ["forecast", "target", "q50", "step"])
def test_a_column_of_the_table_with_a_name_of_ours_stays_in_the_result(hourly, name):
    table = pd.concat([hourly.assign(**{name: id}) for id in "ab"])
    task, model = trained(table, id=name, target=("load", "temperature"))
    predicted = task.predict(model, table)
    assert predicted[f"{name} (id)"].unique().tolist() == ["a", "b"]
    assert predicted["target"].unique().tolist() == ["load", "temperature"]
    assert predicted["forecast"].dtype == float
    dated = hourly.rename(columns={"time": name})
    task, model = trained(dated, time=name)
    assert task.predict(model, dated)[f"{name} (time)"].iloc[0] == pd.Timestamp("2024-01-21")
