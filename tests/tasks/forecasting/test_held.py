"""Series of one value among series that move: forecast as that value, by networks, baselines and graphs alike."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch

from gatelab.core.config import ModelConfig, from_options
from gatelab.data import read_like
from gatelab.tasks.forecasting.config import ForecastingConfig
from gatelab.tasks.forecasting.scores import naive_errors
from gatelab.tasks.forecasting.task import Forecasting

ROWS, LOOKBACK, HORIZON = 120, 6, 3
STAMPS = pd.date_range("2024-01-01", periods=ROWS)


def series(id: str, y, rows: int = ROWS) -> pd.DataFrame:
    return pd.DataFrame({"date": STAMPS[:rows], "id": id, "y": y})


def moving(size: float, id: str = "a", rows: int = ROWS) -> pd.DataFrame:
    return series(id, size * (1 + np.random.default_rng(0).normal(0, 0.3, rows)), rows)


def trained(table, **options):
    given = {"target": "y", "id": "id", "horizon": HORIZON, "lookback": LOOKBACK, "calendar": False, **options}
    task = Forecasting.open(table, from_options(ForecastingConfig, given))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return task, task.build(ModelConfig("gru", hidden_size=4)).eval()


def of(forecast: pd.DataFrame, id: str) -> np.ndarray:
    """Forecasts and quantiles of one series, (K, 1 + Q)."""
    return forecast.loc[forecast["id"] == id].filter(regex="forecast|^q").to_numpy()


@pytest.mark.parametrize("normalise", ["none", "last", "standard"])
@pytest.mark.parametrize(("size", "constant"), [(1e-5, 1e-6), (1.0, 0.0), (1e-5, -0.0), (1.0, 0.1), (1e9, -3e9)])
def test_a_constant_series_is_forecast_as_its_constant(size, constant, normalise):
    table = pd.concat([moving(size), series("b", constant)])
    task, model = trained(table, normalise=normalise)
    assert any(f"1 series of one value, forecast as that while it lasts: b ({constant + 0:g})" in n for n in task.notes)
    restored = Forecasting.restore(task.config, json.loads(json.dumps(task.state())))
    for source in (table, table.tail(LOOKBACK), table.assign(date=table["date"] + pd.Timedelta("300D"))):
        forecast = restored.predict(model, source)
        assert (of(forecast, "b") == constant).all()
        assert any("b (" in note for note in forecast.attrs["notes"])
    assert not (of(restored.predict(model, table), "a") == constant).any()


def test_gaps_are_no_other_value():
    holed = series("b", 7.0)
    holed.loc[[20, 21, ROWS - 2], "y"] = np.nan
    task, model = trained(pd.concat([moving(1.0), holed]))
    assert (of(task.predict(model, pd.concat([moving(1.0), holed])), "b") == 7).all()


def test_baselines_hold_it_too_and_it_narrows_no_interval_of_others():
    table = pd.concat([moving(1e-5), series("b", 1e-6)])
    task, _ = trained(table)
    alone, _ = trained(moving(1e-5))
    baselines = task.baselines()
    assert {"ARIMA", "ETS", "drift", "linear autoregression"} <= set(baselines)
    for name, evaluate in baselines.items():
        found = evaluate("test")
        of_b = found.arrays["error_by_item"].size // 2
        assert (found.arrays["error_by_item"][of_b:] == 0).all(), name
        own = alone.baselines()[name]("test").metrics
        if name in ("last value", "drift"):
            assert found.metrics["MAE"] == pytest.approx(own["MAE"] / 2), name
            assert found.metrics["coverage 95%"] == pytest.approx((own["coverage 95%"] + 1) / 2), name
            assert found.metrics["MASE"] == pytest.approx(own["MASE"] / 2), name


def test_once_it_moves_it_is_forecast_by_the_network_in_the_units_of_all():
    moved = series("b", np.where(np.arange(ROWS) < 110, 0.0, 2.0))
    task, model = trained(pd.concat([moving(1.0), moved]))
    assert any("of one value in training, and no longer: b" in note for note in task.notes)
    forecast = task.predict(model, pd.concat([moving(1.0), moved]))
    assert (np.diff(of(forecast, "b")[:, 1:]) > 0).all()
    assert any("no longer: b" in note for note in forecast.attrs["notes"])
    assert np.abs(of(forecast, "b")).max() < 20
    before = task.predict(model, pd.concat([moving(1.0, rows=100), moved[:100]]))
    assert (of(before, "b") == 0).all()
    errors = task.evaluate(model, "test").arrays["error_by_item"]
    assert 0 < errors[-1] < 10


def test_few_observations_of_one_value_make_no_constant():
    table = pd.concat([moving(1.0), series("b", 3.0)[:12]])  # nine rows or fewer in training
    task, model = trained(table, split=(0.6, 0.2, 0.2))
    assert task.features.constants == {}
    assert (np.diff(of(task.predict(model, table), "b")[:, 1:]) > 0).all()


def test_a_series_that_training_did_not_show_is_known_by_its_first_rows():
    task, model = trained(pd.concat([moving(1.0), moving(2.0, "c")]))
    new = series("new", 5.0)
    assert (of(task.predict(model, new), "new") == 5).all()
    assert not (of(task.predict(model, new[:12]), "new") == 5).any(), "too few rows to tell"
    again = task.reopen(pd.concat([new, series("later", np.where(np.arange(ROWS) < 60, 5.0, 8.0))]), "evaluate")
    held = again.windows.held(again.windows.origins["test"])[:, 0]  # (N,)
    number, row = again.windows.locate(again.windows.origins["test"])
    np.testing.assert_array_equal(held == 5, (row >= 10 + LOOKBACK - 1) & ((number == 0) | (row < 60)))


def test_all_series_constant():
    table = pd.concat([series("a", 1.0), series("b", 2.0)])
    task, model = trained(table)
    forecast = task.predict(model, table)
    assert (of(forecast, "a") == 1).all()
    assert (of(forecast, "b") == 2).all()
    for name, evaluate in task.baselines().items():
        assert evaluate("test").metrics["MAE"] == 0, name


def test_the_denominator_of_a_series_that_never_moves_is_that_of_the_others():
    raws = {"a": np.array([[0.0], [2e-6], [0.0]]), "b": np.full((3, 1), 7.0), "c": np.array([[0.0], [4e-6], [0.0]])}
    found = naive_errors(raws, 1)
    assert found["b"] == found[""] == pytest.approx(3e-6)
    assert naive_errors({"b": raws["b"]}, 1)["b"] == 1


@pytest.mark.parametrize("normalise", ["none", "standard"])
def test_an_exported_graph_holds_it_and_bounds_covariates(normalise):
    parts = [moving(1.0), series("b", 1e-6), series("c", np.where(np.arange(ROWS) < 110, 7.0, 9.0))]
    table = pd.concat([part.assign(flag=np.arange(ROWS) % 4.0) for part in parts])
    task, model = trained(table, normalise=normalise, past=("flag",))
    exported = task.export(model)
    assert exported.difference() < exported.tolerance
    session = onnxruntime.InferenceSession(exported.content, providers=["CPUExecutionProvider"])
    listed = list(task.features.scales)
    strange = table.assign(flag=np.where(table["flag"] == 1, 1e7, table["flag"]))
    for source in (table, strange):
        forecast = task.predict(model, source)
        for each in read_like(source, task.schema).series:
            feed = {
                "series": np.array([listed.index(each.id)]),
                "target": each.values[None, -LOOKBACK:, :1],
                "past": each.values[None, -LOOKBACK:, 1:],
            }
            point, quantiles = session.run(["forecast", "quantiles"], feed)
            expected = of(forecast, each.id)
            both = np.concatenate([point[0], quantiles[0, :, 0]], axis=1)
            np.testing.assert_allclose(both, expected, rtol=0, atol=1e-5)
            assert (both == 1e-6).all() == (each.id == "b")
