"""The picture of a forecast: what is drawn, and what is left out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from gatelab import Forecaster
from gatelab.core.config import ModelConfig, from_options
from gatelab.tasks.forecasting.config import ForecastingConfig
from gatelab.tasks.forecasting.picture import MOST_PANELS
from gatelab.tasks.forecasting.task import Forecasting


def drawn(table, **options):
    options = {"target": "load", "horizon": 4, "lookback": 12, "normalise": "last", "calendar": False, **options}
    task = Forecasting.open(table, from_options(ForecastingConfig, options))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = task.build(ModelConfig("gru", hidden_size=2)).eval()
    return Forecasting.restore(task.config, task.state()).draw(model, table)


def series(hourly, count):
    return pd.concat([hourly[["time", "load"]][:150].assign(shop=f"shop {k}") for k in range(count)])


def test_history_forecast_and_intervals_are_those_of_predict(hourly):
    found = drawn(hourly)
    (panel,) = found.picture.parts
    observed, forecast = panel.lines
    assert panel.title == "load: 4 hourly steps ahead"
    assert panel.ylabel == "load"
    np.testing.assert_array_equal(observed.y, hourly["load"][-24:])
    np.testing.assert_array_equal(observed.x, hourly["time"][-24:].to_numpy())
    last = hourly["load"].iloc[-1]  # the forecast sets out from what was seen last, so that one step has a width, too
    np.testing.assert_array_equal(forecast.y, [last, *found.frame["forecast"]])
    np.testing.assert_array_equal(forecast.x[1:], found.frame["time"].to_numpy())
    assert len(forecast.bands) == 3
    np.testing.assert_array_equal(forecast.bands[0][0], [last, *found.frame["q2.5"]])
    np.testing.assert_array_equal(forecast.bands[0][1], [last, *found.frame["q97.5"]])
    assert "95, 80, 50 %" in forecast.label
    assert found.notes == []


def test_many_series_are_bounded_in_number_and_it_is_said(hourly):
    found = drawn(series(hourly, MOST_PANELS + 2), id="shop")
    assert [panel.title for panel in found.picture.parts] == [f"shop {k}" for k in range(MOST_PANELS)]
    (line,) = found.notes
    assert f"first {MOST_PANELS} of {MOST_PANELS + 2}" in line
    assert "left out: shop 12, shop 13" in line


def test_each_target_of_each_series_has_its_plot(hourly):
    table = series(hourly, 2).assign(heat=lambda t: t["load"] * 2)
    found = drawn(table, id="shop", target=("load", "heat"))
    titles = ["shop 0: load", "shop 0: heat", "shop 1: load", "shop 1: heat"]
    assert [panel.title for panel in found.picture.parts] == titles
    heat = found.frame[(found.frame["shop"] == "shop 1") & (found.frame["target"] == "heat")]
    np.testing.assert_array_equal(found.picture.parts[3].lines[1].y[1:], heat["forecast"])


def test_times_stay_on_the_clock_of_the_table(hourly):
    zoned = hourly.assign(time=pd.date_range("2024-05-11", periods=480, freq="h", tz="Europe/Vienna"))
    forecast = drawn(zoned).picture.parts[0].lines[1]
    assert pd.Timestamp(forecast.x[0]) == zoned["time"].iloc[-1].tz_localize(None)


@pytest.mark.parametrize("dated", [True, False])
def test_rows_whose_dates_ahead_are_not_known_are_counted(hourly, dated):
    uneven = hourly["time"] + pd.to_timedelta(np.arange(480) ** 2, "s")
    found = drawn(hourly.assign(time=uneven) if dated else hourly.drop(columns="time"), frequency="rows")
    panel = found.picture.parts[0]
    assert panel.xlabel == ("steps after the last observation" if dated else "row")
    assert panel.lines[1].x.tolist() == ([0, 1, 2, 3, 4] if dated else [479, 480, 481, 482, 483])


def test_a_gap_at_the_end_and_no_intervals(hourly):
    table = hourly.assign(heat=hourly["load"])
    table.loc[475:, "heat"] = np.nan
    found = drawn(table, target=("load", "heat"), quantiles=(0.5,))
    forecast = found.picture.parts[1].lines[1]
    assert forecast.y[0] == table["heat"][474]
    assert forecast.x[0] == table["time"][474].to_numpy()
    assert forecast.bands == []
    assert forecast.label == "forecast"


def test_python_has_it(hourly, tmp_path):
    forecaster = Forecaster("load", horizon=1, lookback=6, normalise="last", calendar=False, hidden_size=2, epochs=1)
    picture = forecaster.fit(hourly[["time", "load"]][:120]).plot(file=tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    assert "one step ahead" in picture._repr_svg_()
