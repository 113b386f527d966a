"""A forecasting model as a graph: numbers of a table in, the forecast of ``predict`` out."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from torch import nn

from gatelab.core.config import ModelConfig
from gatelab.core.errors import InputError
from gatelab.core.random import generator
from gatelab.data.roles import Roles
from gatelab.nn.onnx import Export, quantised, rounded
from gatelab.tasks.forecasting.config import ForecastingConfig
from gatelab.tasks.forecasting.task import Forecasting

ROWS, LOOKBACK, HORIZON = 24 * 15, 12, 4
KINDS, DAYS = ("rain", "sun"), ("feast", "work")


def frame(id: str, gaps: bool) -> pd.DataFrame:
    """An hourly table with two targets, covariates of every kind, and a level far from zero."""
    rng, rows = generator(0, "table", id), np.arange(ROWS)
    columns = {
        "time": pd.date_range("2026-01-01", periods=ROWS, freq="h"),
        "load": 50_000 + 10 * np.sin(2 * np.pi * rows / 24) + rng.normal(0, 1, ROWS),
        "price": rng.normal(-3, 0.1, ROWS),
        "wind": rng.normal(5, 2, ROWS),
        "sky": rng.choice(KINDS, ROWS),
        "day": rng.choice(DAYS, ROWS),
        "degrees": rng.normal(15, 5, ROWS),
        "id": id,
    }
    table = pd.DataFrame(columns)
    if gaps:
        for column, start, stop in (("load", 30, 34), ("price", 32, 36), ("wind", 60, 62), ("degrees", 70, 72)):
            table.loc[start : stop - 1, column] = np.nan
        start = ROWS - HORIZON - LOOKBACK  # of the last window
        table.loc[start - 2 : start + 1, ["load", "price"]] = np.nan
        table.loc[start + 5 : start + 7, ["load", "price", "wind"]] = np.nan
        table.loc[start + 6, "sky"] = None
    return table


def opened(table: pd.DataFrame, **settings) -> Forecasting:
    roles = {"target": ("load",), "time": "time", **settings.pop("roles", {})}
    config = ForecastingConfig(roles=Roles(**roles), horizon=HORIZON, lookback=LOOKBACK, **settings)
    return Forecasting.open(table, config)


def network(task: Forecasting, cell: str = "gru", **settings) -> nn.Module:
    """A network whose every part matters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = task.build(ModelConfig(cell, hidden_size=6, **settings))
        if hasattr(model, "highway"):
            nn.init.normal_(model.highway.weight, 0, 0.1)
    return model.eval()


def run(exported: Export, feed: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    session = onnxruntime.InferenceSession(exported.content, providers=["CPUExecutionProvider"])
    assert {port.name for port in session.get_inputs()} == set(feed)
    return tuple(session.run(["forecast", "quantiles"], feed))


def predicted(task: Forecasting, model: nn.Module, source: pd.DataFrame, **options) -> np.ndarray:
    """The forecast (K, O) of one series, as people get it."""
    found = task.predict(model, source, **options)
    return found["forecast"].to_numpy().reshape(len(task.features.targets), HORIZON).T


def seconds(stamps: pd.Series) -> np.ndarray:
    return stamps.to_numpy().astype("datetime64[s]").astype(np.int64)[None]


@pytest.mark.parametrize("normalise", ["none", "last", "mean", "standard"])
@pytest.mark.parametrize("point", ["median", "mean"])
def test_a_window_of_a_table_gives_the_forecast_of_predict(normalise, point):
    table = frame("a", gaps=False)
    task = opened(table, normalise=normalise, point=point, calendar=False)
    model = network(task, bidirectional=point == "mean")
    exported = task.export(model)
    forecast, quantiles = run(exported, {"target": table[["load"]].to_numpy()[None, -LOOKBACK:]})
    scale = table["load"].std()
    np.testing.assert_allclose(forecast[0], predicted(task, model, table), rtol=0, atol=1e-5 * scale)
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    assert quantiles.shape == (1, HORIZON, 1, 7)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_gaps_covariates_categories_calendar_and_several_series(bidirectional):
    table = pd.concat([frame("a", gaps=True), frame("b", gaps=True)])
    roles = {"target": ("load", "price"), "id": "id", "past": ("wind", "sky"), "future": ("day", "degrees")}
    task = opened(table, roles=roles, normalise="standard", calendar=True)
    assert set(task.features.gappy) == {"load", "price", "wind", "degrees"}
    model = network(task, "lstm", bidirectional=bidirectional, num_layers=2, residual=bidirectional)
    exported = task.export(model)
    codes = {kind: code for code, kind in enumerate(KINDS)}
    listed = {entry.key: json.loads(entry.value) for entry in exported.model.metadata_props}["series"]
    for id in ("a", "b", "new"):
        whole = frame(id, gaps=True)
        past, ahead = whole[:-HORIZON].copy(), whole[-HORIZON:]
        past.loc[len(past) - 1, "load"] = 50_000.0  # the last row holds a target: what follows is the future
        window = whole[-LOOKBACK - HORIZON :]
        seen = past[-LOOKBACK:]
        before = past[:-LOOKBACK][["load", "price"]].isna().all(axis=1).to_numpy()[::-1]
        feed = {
            "series": np.array([listed.index(id) if id in listed else 0]),
            "target": seen[["load", "price"]].to_numpy()[None],
            "past": np.stack([seen["wind"], seen["sky"].map(codes)], axis=1)[None].astype(float),
            "known": np.stack([window["day"].map(DAYS.index), window["degrees"]], axis=1)[None].astype(float),
            "time": seconds(window["time"]),
            "gap": np.array([int(before.argmin())]),
        }
        assert feed["gap"] == 2
        forecast, _ = run(exported, feed)
        source = pd.concat([past, ahead.assign(load=np.nan, price=np.nan, wind=np.nan)])
        expected = predicted(task, model, source)
        scale = whole[["load", "price"]].std().to_numpy()
        assert np.abs((forecast[0] - expected) / scale).max() < 1e-5


@pytest.mark.parametrize("cell", ["rnn", "lstm", "lstm_coupled", "gru", "gru_reset_before"])
def test_every_cell_stacked_with_extras(cell):
    task = opened(frame("a", gaps=True), calendar=False)
    extras = {"peephole": True} if cell.startswith("lstm") else {"layer_norm": True}
    model = network(task, cell, num_layers=2, learn_initial_state=True, recurrent_dropout=0.3, **extras)
    nn.init.normal_(model.encoder.initial_h)
    assert task.export(model).difference() < 1e-5
    assert quantised(task.export(rounded(model))).difference() < 1e-5


def test_the_proof_sees_every_parameter_and_input():
    table = pd.concat([frame("a", gaps=True), frame("b", gaps=True)])
    roles = {"id": "id", "past": ("wind", "sky"), "future": ("day", "degrees")}
    task = opened(table, roles=roles, normalise="standard", calendar=True)
    model = network(task)
    exported = task.export(model)
    assert exported.difference() < 1e-5
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            kept = parameter.clone()
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
        other = Export(task.export(model).model, exported.samples, exported.network)
        assert other.difference() > 1e-5, name
        with torch.no_grad():
            parameter.copy_(kept)


def test_the_restored_task_exports_the_same():
    task = opened(frame("a", gaps=True))
    model = network(task)
    restored = Forecasting.restore(task.config, json.loads(json.dumps(task.state())))
    assert restored.export(model).content == task.export(model).content


def test_double_precision_is_exported_in_single():
    task = opened(frame("a", gaps=False))
    model = network(task).double()
    assert task.export(model).difference() < 1e-5
    assert next(model.parameters()).dtype == torch.float64


def test_an_encoder_that_cannot_be_written_is_refused():
    task = opened(frame("a", gaps=False))
    with pytest.raises(InputError, match="batch_norm"):
        task.export(network(task, batch_norm=True))
