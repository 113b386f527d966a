"""A bound at zero: kept by every forecast, and no score is the worse for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from torch import nn

from gatelab.core.config import ModelConfig, from_options
from gatelab.core.errors import DataError
from gatelab.tasks.forecasting import statespace
from gatelab.tasks.forecasting.config import ForecastingConfig
from gatelab.tasks.forecasting.task import Forecasting


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(statespace, "affordable", lambda windows: False)


def rain(days: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    amount = np.where(rng.random(days) < 0.5, 0.0, rng.exponential(5.0, days))
    return pd.DataFrame({"day": pd.date_range("2024-01-01", periods=days), "rain": amount})


def opened(table=None, **options):
    options = {"target": "rain", "horizon": 3, "lookback": 8, "normalise": "none", "calendar": False, **options}
    task = Forecasting.open(rain() if table is None else table, from_options(ForecastingConfig, options))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = task.build(ModelConfig(hidden_size=4)).eval()
        nn.init.normal_(model.highway.weight, 0, 0.3)
    return task, model


@pytest.mark.parametrize("point", ["median", "mean"])
def test_no_forecast_and_no_interval_is_below_zero(point):
    table = rain()
    free = opened(point=point)[0].predict(opened(point=point)[1], table)
    task, model = opened(positive=True, point=point)
    held = task.predict(model, table)
    numbers = held.columns[1:]
    assert (free[numbers] < 0).any(axis=None)
    np.testing.assert_array_equal(held[numbers], free[numbers].clip(lower=0))
    assert any("no forecast and no interval is below 0" in note for note in task.notes)


def test_no_score_is_worse_and_every_interval_covers_the_same():
    (free_task, model), (task, _) = opened(), opened(positive=True)
    methods = {"gru": lambda task: task.evaluate(model, "test")}
    methods |= {name: (lambda task, name=name: task.baselines()[name]("test")) for name in task.baselines()}
    better = 0
    for name, evaluate in methods.items():
        free, held = evaluate(free_task).metrics, evaluate(task).metrics
        assert held["CRPS"] <= free["CRPS"] + 1e-12, name
        assert held["MAE"] <= free["MAE"] + 1e-12, name
        for level in ("50%", "80%", "95%"):
            assert held[f"coverage {level}"] == free[f"coverage {level}"], name
        better += held["CRPS"] < free["CRPS"]
        assert (evaluate(task).arrays["shown_quantiles"] >= 0).all(), name
    assert better == len(methods)  # the simple methods are held to the same bound


def test_the_exported_graph_has_the_bound():
    pytest.importorskip("onnx")
    table = rain()
    task, model = opened(positive=True)
    exported = Forecasting.restore(task.config, task.state()).export(model)
    assert exported.difference() < exported.tolerance
    session = onnxruntime.InferenceSession(exported.content, providers=["CPUExecutionProvider"])
    forecast, quantiles = session.run(["forecast", "quantiles"], {"target": table[["rain"]].to_numpy()[None, -8:]})
    expected = task.predict(model, table)
    assert quantiles.min() == 0
    np.testing.assert_allclose(forecast[0, :, 0], expected["forecast"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(quantiles[0, :, 0, 0], expected["q2.5"], rtol=1e-4, atol=1e-6)


def test_a_target_below_zero_is_refused_in_words():
    table = rain()
    table.loc[[150, 180], "rain"] = [-9999, -1]
    with pytest.raises(DataError, match="rain is below 0") as caught:
        opened(table, positive=True)
    assert "2 values below 0, the first of them -9999 at 2024-05-30" in str(caught.value)
    opened(table, positive=True, missing=("-9999", "-1"))
    task, model = opened(positive=True)
    with pytest.raises(DataError, match="rain is below 0"):
        task.reopen(table, "evaluate")
    notes = task.predict(model, table).attrs["notes"]
    assert any("below 0 here" in note and "rain (2 values)" in note for note in notes)


def test_a_model_of_before_has_no_bound():
    task, model = opened()
    older = Forecasting.restore(replace(task.config), task.state())
    assert not older.config.positive
    assert (older.predict(model, rain())["q2.5"] < 0).any()
