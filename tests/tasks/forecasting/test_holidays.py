"""Public holidays: known ahead, kept with the model, and worth it where they matter."""

from __future__ import annotations

import json
import sys

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from torch import nn

from gatelab import Forecaster
from gatelab.core.config import ModelConfig, from_options
from gatelab.core.errors import DataError, InputError
from gatelab.tasks.forecasting import statespace
from gatelab.tasks.forecasting.config import ForecastingConfig
from gatelab.tasks.forecasting.task import Forecasting

holidays = pytest.importorskip("holidays")


def sales(rows: int = 700, frequency: str = "D", start: str = "2022-01-01") -> pd.DataFrame:
    """Ten a day, and half of it on a holiday of Bavaria."""
    stamps = pd.date_range(start, periods=rows, freq=frequency)
    days = holidays.country_holidays("DE", subdiv="BY", years=range(2020, 2027))
    closed = np.array([stamp.date() in days for stamp in stamps])
    noise = np.random.default_rng(0).normal(0, 0.3, rows)
    return pd.DataFrame({"day": stamps, "sales": 10 + noise - 5 * closed})


def opened(table, place="DE-BY", **options):
    options = {"target": "sales", "horizon": 4, "lookback": 8, "normalise": "none", "calendar": False, **options}
    return Forecasting.open(table, from_options(ForecastingConfig, {"holidays": place, **options}))


def network(task):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return task.build(ModelConfig(hidden_size=4)).eval()


def test_a_day_its_eve_and_its_morrow_are_channels_of_history_and_future_alike():
    task = opened(sales())
    assert task.features.known_channels == ["holiday", "day before a holiday", "day after a holiday"]
    (series,) = task.windows.series
    feasts = series.stamps[series.known[:, 0] > 0]
    assert pd.Timestamp("2022-08-15") not in feasts  # a Catholic holiday: not in all of Bavaria
    assert pd.Timestamp("2022-01-06") in feasts  # Epiphany, not a holiday of all Germany
    np.testing.assert_array_equal(series.known[:-1, 1], series.known[1:, 0])
    np.testing.assert_array_equal(series.known[1:, 2], series.known[:-1, 0])
    assert pd.Timestamp("2022-01-06") not in _feasts(opened(sales(), "DE"))
    assert any(note.startswith("holidays of DE-BY: about 12 a year") for note in task.notes)


def _feasts(task):
    (series,) = task.windows.series
    return series.stamps[series.known[:, 0] > 0]


def test_hours_have_the_holiday_of_their_day_on_the_local_clock():
    hours = pd.date_range("2022-10-01", periods=24 * 8, freq="h", tz="Europe/Berlin")
    task = opened(pd.DataFrame({"day": hours, "sales": np.arange(192.0)}), "DE", split=(0.6, 0.2, 0.2))
    (series,) = task.windows.series
    local = series.stamps.tz_convert("Europe/Berlin")
    assert set(local[series.known[:, 0] > 0].strftime("%d %H")) == {f"03 {hour:02}" for hour in range(24)}


def test_a_week_is_told_of_both_its_sides():
    task = opened(sales(200, "W-SUN"))
    (series,) = task.windows.series
    week = series.stamps.get_loc(pd.Timestamp("2022-12-25"))
    assert series.known[week].tolist() == [2, 1]  # 25th and 26th; the 25th


def test_nothing_is_needed_at_predict_not_even_the_library(monkeypatch, tmp_path):
    table = sales()
    task, model = opened(table), network(opened(table))
    state = json.loads(json.dumps(task.state()))
    monkeypatch.setitem(sys.modules, "holidays", None)
    again = Forecasting.restore(task.config, state)
    expected = task.predict(model, table)
    pd.testing.assert_frame_equal(again.predict(model, table), expected)
    assert again.reopen(table, "evaluate").evaluate(model, "test").metrics["MAE"] > 0
    with pytest.raises(InputError, match=r"gatelab\[holidays\]"):
        opened(table)


def test_years_that_are_not_known_are_refused():
    table = sales()
    task = opened(table)
    later = table.assign(day=pd.date_range("2060-01-01", periods=len(table)))
    with pytest.raises(DataError, match="2012 to 2048"):
        task.predict(network(task), later)


def test_they_help_where_they_matter(monkeypatch):
    monkeypatch.setattr(statespace, "affordable", lambda windows: False)
    table, errors = sales(1000), {}
    for place in (None, "DE-BY"):
        forecaster = Forecaster("sales", horizon=4, lookback=8, holidays=place, normalise="none", calendar=False,
                                hidden_size=4, epochs=8, learning_rate=0.02)  # fmt: skip
        forecaster.fit(table)
        task = forecaster.task_
        origins = task.windows.origins["test"]
        _, point = task.forecast(forecaster.model_, origins)
        feast = _at(task, origins)
        truth = np.stack([task.windows.series[0].raw[origins + k, 0] for k in range(1, 5)])  # (K, N)
        errors[place] = np.abs(truth - point[:, :, 0])[feast].mean()
    assert errors["DE-BY"] < 0.4 * errors[None]


def _at(task, origins):
    stamps = task.windows.series[0].stamps
    days = holidays.country_holidays("DE", subdiv="BY", years=range(2020, 2027))
    return np.array([[stamps[t + k].date() in days for t in origins] for k in range(1, 5)])  # (K, N)


@pytest.mark.parametrize("frequency", ["D", "W-SUN", "h"])
@pytest.mark.parametrize("calendar", [False, True])
def test_the_exported_graph_knows_them(frequency, calendar):
    pytest.importorskip("onnx")
    table = sales(400, frequency, "1960-12-20")
    task = opened(table, "US", calendar=calendar)
    model = network(task)
    nn.init.normal_(model.local[0].weight)
    exported = task.export(model)
    assert exported.difference() < exported.tolerance
    session = onnxruntime.InferenceSession(exported.content, providers=["CPUExecutionProvider"])
    assert "holidays of US from 1950" in session.get_modelmeta().custom_metadata_map["inputs"]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("XX", "ISO 3166"),
        ("Germany", r"DE \(Germany\)"),
        ("DE-XY", "DE alone, or with one of BB, BE"),
        ("D", "did you mean"),
    ],
)
def test_an_unknown_place_is_refused_with_near_ones(place, words):
    with pytest.raises(InputError, match=words):
        opened(sales(), place)


def test_a_name_of_a_part_and_any_case_will_do():
    assert opened(sales(), "de-by").features.holidays.days == opened(sales(), "DE-Bayern").features.holidays.days


@pytest.mark.parametrize("table", [sales(200, "MS"), sales().drop(columns="day")])
def test_steps_that_are_no_days_are_refused(table):
    with pytest.raises(InputError, match="--holidays"):
        opened(table)


def test_a_folder_of_before_has_none():
    task = opened(sales(), None)
    assert "holidays" not in task.state()["features"]
    assert Forecasting.restore(task.config, task.state()).features.holidays is None
