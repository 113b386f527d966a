"""Forecasting as a task: parts, rows that are needed, reopening, forecasts at an origin, own test files."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatelab.core.config import ModelConfig, from_options
from gatelab.core.errors import DataError, GatelabError, InputError
from gatelab.core.random import generator
from gatelab.data.sources import own_test
from gatelab.tasks.forecasting import prepare
from gatelab.tasks.forecasting.config import ForecastingConfig
from gatelab.tasks.forecasting.task import Forecasting


def table_of(rows: int, seed: int = 0) -> pd.DataFrame:
    values = generator(seed, "y").normal(size=rows)
    return pd.DataFrame({"time": pd.date_range("2024-01-01", periods=rows, freq="h"), "y": values})


def opened(table, **options) -> Forecasting:
    return Forecasting.open(table, from_options(ForecastingConfig, options))


def network(task: Forecasting, **settings):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return task.build(ModelConfig("gru", hidden_size=4, **settings)).eval()


# ---- how many rows are needed -------------------------------------------------------------------------------------


@given(
    horizon=st.integers(2, 30),
    lookback=st.one_of(st.none(), st.integers(1, 40)),
    shares=st.sampled_from([(0.7, 0.1, 0.2), (0.8, 0.2), (0.5, 0.3, 0.2), (0.6, 0.2, 0.2)]),
)
@settings(max_examples=25, deadline=None)
def test_the_rows_that_are_asked_for_are_enough(horizon, lookback, shares):
    options = {"horizon": horizon, "lookback": lookback, "split": shares, "normalise": "last", "calendar": False}
    with pytest.raises(DataError, match="too few rows") as caught:
        opened(table_of(3), **options)
    needed = int(str(caught.value.expected).split()[0].replace(",", ""))
    assert all(
        len(origins) or part == "test" for part, origins in opened(table_of(needed), **options).windows.origins.items()
    )
    with pytest.raises(DataError):
        opened(table_of(needed - 1), **options)


def test_a_split_in_rows_says_which_part_is_short():
    with pytest.raises(DataError, match="the validation part") as caught:
        opened(table_of(100), horizon=5, lookback=5, split=(50, 3, 20))
    assert caught.value.expected == "5 rows in that part of --split"


def test_a_split_in_rows_is_that():
    windows = opened(table_of(100), horizon=2, lookback=3, split=(50, 20, 10)).windows
    assert windows.bounds == {"train": [(0, 50)], "validation": [(50, 70)], "test": [(70, 80)]}


def test_gaps_everywhere_in_a_part_are_said():
    table = table_of(100)
    table.loc[70:79, "y"] = np.nan
    with pytest.raises(DataError, match="no window in the validation part has an observed target"):
        opened(table, horizon=2, lookback=3)


def test_a_part_that_is_not_asked_for_is_not_needed():
    task = opened(table_of(60), horizon=2, lookback=3, split=(0.8, 0.2))
    assert not task.has("test")
    assert task.count("test", 8) == 0
    assert task.count("validation", 8) > 0


# ---- forecasts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("point", ["median", "mean"])
def test_predict_is_the_forecast_of_evaluate_at_the_same_origin(hourly, bidirectional, point):
    options = {"target": ("load", "temperature"), "past": ("wind",), "future": ("price",), "horizon": 4, "lookback": 12}
    task = opened(hourly, point=point, calendar=True, **options)
    model = network(task, bidirectional=bidirectional)
    for origin in task.windows.origins["test"][[0, 7, -1]]:
        quantiles, points = task.forecast(model, np.array([origin]))
        known = hourly[: origin + 5].copy()
        known.loc[origin + 1 :, ["load", "temperature", "wind"]] = None
        predicted = task.predict(model, known)
        assert predicted["time"].tolist() == hourly["time"][origin + 1 : origin + 5].tolist() * 2
        for o, name in enumerate(["load", "temperature"]):
            rows = predicted[predicted["target"] == name]
            np.testing.assert_array_equal(rows["forecast"], points[:, 0, o])
            np.testing.assert_array_equal(rows.filter(regex="^q"), quantiles[:, 0, o])


def test_quantiles_never_cross(hourly):
    task = opened(hourly, target="load", horizon=4, lookback=12)
    model = network(task)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    quantiles, point = task.forecast(model, task.windows.origins["test"])
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    np.testing.assert_array_equal(point, quantiles[..., 3])


def test_the_mean_is_trained_and_given(hourly):
    task = opened(hourly, target="load", horizon=4, lookback=12, point="mean")
    batch = next(iter(task.batches("train", 16)))
    model = network(task)
    assert task.metrics[0].name == "RMSE"
    mean = model(batch).mean
    assert mean is not None
    squared = ((mean - batch.truth) ** 2 * batch.seen).sum() / batch.seen.sum()
    plain = replace(task.config, point="median")
    without = Forecasting(plain, task.features, task.schema, ()).loss(lambda b: model(b)._replace(mean=None), batch)
    assert float(task.loss(model, batch).mean.detach()) == pytest.approx(
        float(squared.detach() + without.mean.detach())
    )


def test_evaluation_is_in_the_users_units(hourly):
    scaled = hourly.assign(load=1000 * hourly["load"])
    config = {"target": "load", "horizon": 4, "lookback": 12, "normalise": "last", "calendar": False}
    small, large = opened(hourly, **config), opened(scaled, **config)
    model = network(small)
    a, b = (task.evaluate(model, "test").metrics for task in (small, large))
    assert b["MAE"] == pytest.approx(1000 * a["MAE"], rel=1e-4)
    assert b["MASE"] == pytest.approx(a["MASE"], rel=1e-4)
    assert b["MSE standardised"] == pytest.approx(a["MSE standardised"], rel=1e-4)


# ---- reopening ----------------------------------------------------------------------------------------------------


def test_reopened_to_evaluate_all_rows_are_the_test_part(hourly):
    task = opened(hourly, target="load", horizon=4, lookback=12)
    again = Forecasting.restore(task.config, task.state()).reopen(hourly.tail(16), "evaluate")
    assert again.windows.origins["test"].tolist() == [11]
    assert set(again.baselines()) == {"last value", "drift"}
    with pytest.raises(DataError, match="too few rows to evaluate") as caught:
        task.reopen(hourly.tail(15), "evaluate")
    assert str(caught.value.expected).startswith("16 rows")


def test_reopened_baselines_look_at_nothing_that_was_fitted(hourly):
    task = opened(hourly, target="load", horizon=4, lookback=12).reopen(hourly, "evaluate")
    scored = {name: evaluate("test") for name, evaluate in task.baselines().items()}
    assert set(scored) == {"last value", "seasonal naive (24)", "seasonal naive (168)", "drift"}
    assert all("CRPS" not in found.metrics and np.isfinite(found.metrics["MAE"]) for found in scored.values())


def test_reopened_to_update_the_newest_rows_validate(hourly):
    task = opened(hourly, target="load", horizon=4, lookback=12)
    again = task.reopen(hourly.tail(20), "update")
    assert again.windows.bounds == {"train": [(0, 16)], "validation": [(16, 20)], "test": [(20, 20)]}
    assert task.reopen(hourly, "update").windows.bounds["validation"] == [(432, 480)]
    assert again.features is task.features
    with pytest.raises(DataError, match="too few rows to update") as caught:
        task.reopen(hourly.tail(19), "update")
    assert str(caught.value.expected).startswith("20 rows")


def test_a_run_is_tied_to_its_data(hourly):
    options = {"target": "load", "horizon": 4, "lookback": 12, "normalise": "last", "calendar": False}
    state = opened(hourly, **options).state()
    changed = hourly.copy()
    changed.loc[479, "load"] += 1  # in the test part: no scale moves
    assert opened(changed, **options).state() != state
    assert opened(hourly.copy(), **options).state() == state


# ---- test files of their own --------------------------------------------------------------------------------------


def test_a_test_table_of_its_own(hourly, tmp_path):
    hourly[400:].to_csv(tmp_path / "test.csv", index=False)
    config = {"target": "load", "horizon": 4, "lookback": 12}
    task = opened(hourly[:400], test_data=str(tmp_path / "test.csv"), **config)
    assert task.windows.bounds["train"][0] == (0, 350)  # 0.7 of 0.8
    assert task.windows.bounds["test"] == [(0, 0), (0, 80)]
    model = network(task)
    alone = task.reopen(hourly[400:], "evaluate")
    assert task.evaluate(model, "test").metrics["MAE"] == pytest.approx(alone.evaluate(model, "test").metrics["MAE"])


def test_the_own_test_file_of_a_data_set_is_taken_unless_another_part_is_chosen(monkeypatch):
    monkeypatch.setattr(prepare, "own_test", lambda source: "set/test.csv")
    default = ForecastingConfig()
    found, notes = prepare.with_own_test("set", default)
    assert found.test_data == "set/test.csv"
    assert "set/test.csv" in notes[0]
    assert prepare.with_own_test("set", replace(default, split=(0.9, 0.1)))[0].test_data == "set/test.csv"
    for chosen in (replace(default, split=(0.6, 0.2, 0.2)), replace(default, test_data="mine.csv")):
        assert prepare.with_own_test("set", chosen) == (chosen, [])


@pytest.mark.skipif("GATELAB_DATA" not in os.environ, reason="needs the public data")
def test_traffic_is_tested_on_its_own_file():
    task = opened("traffic_pems", horizon=1, lookback=12, normalise="last", calendar=False)
    assert task.config.test_data == own_test("traffic_pems") == "traffic_pems/test.csv"
    assert task.config.split == (0.7, 0.1)
    assert any("traffic_pems/test.csv" in note for note in task.notes)
    assert task.windows.bounds["test"][0] == (0, 0)


# ---- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "split", [(0.7, 0.0, 0.3), (0.0, 0.5, 0.5), (0.5,), (0.25, 0.25, 0.25, 0.25), (-0.1, 0.6, 0.5)]
)
def test_a_split_without_training_or_validation_is_refused(split):
    with pytest.raises(InputError, match="split"):
        opened(table_of(100), split=split)


def test_data_is_needed_for_batches(hourly):
    task = opened(hourly, target="load", horizon=4, lookback=12)
    bare = Forecasting.restore(task.config, task.state())
    with pytest.raises(RuntimeError, match="reopen"):
        bare.count("train", 8)
    with pytest.raises(GatelabError):
        bare.predict(network(bare), hourly.head(3))
