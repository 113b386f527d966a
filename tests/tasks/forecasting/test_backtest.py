"""Rolling-origin backtest: which rows each fold trains, validates and tests on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatelab.core.config import ModelConfig, from_options
from gatelab.core.errors import DataError, InputError
from gatelab.tasks.forecasting import statespace
from gatelab.tasks.forecasting.backtest import backtest, folds_of
from gatelab.tasks.forecasting.config import ForecastingConfig
from gatelab.tasks.forecasting.task import Forecasting
from gatelab.tasks.loading import load


@given(rows=st.integers(50, 2000), folds=st.integers(1, 6), horizon=st.integers(1, 5))
def test_folds_test_the_end_without_a_gap_or_an_overlap(rows, folds, horizon):
    config = ForecastingConfig(horizon=horizon)
    if int(rows * 0.2) // folds < horizon:
        with pytest.raises(DataError, match="test rows each"):
            list(folds_of(rows, config, folds))
        return
    found = list(folds_of(rows, config, folds))
    starts = [fold.train + fold.validation for fold in found]
    ends = [start + fold.test for start, fold in zip(starts, found, strict=True)]
    assert starts[1:] == ends[:-1]
    assert ends[-1] == rows
    assert all(fold.validation >= horizon for fold in found)
    assert [fold.train for fold in found] == sorted(fold.train for fold in found)
    assert rows - starts[0] <= 0.2 * rows


@pytest.fixture
def _quick(monkeypatch):
    """Without the baselines that take seconds; what they forecast is tested elsewhere."""
    monkeypatch.setattr(statespace, "affordable", lambda windows: False)


@pytest.mark.usefixtures("_quick")
def test_a_fold_is_a_plain_training_on_its_rows(hourly, tmp_path):
    options = {"target": "load", "horizon": 4, "lookback": 12, "normalise": "last", "calendar": False}
    config, model = from_options(ForecastingConfig, options), ModelConfig("rnn", hidden_size=4)
    found = backtest(hourly, config, model, {"epochs": 1}, folds=2, folder=tmp_path, seed=3)
    first = found[found["fold"] == 1].set_index("method")
    task = Forecasting.open(hourly, from_options(ForecastingConfig, {**options, "split": (336, 48, 48)}))
    assert first.loc["last value", "MAE"] == pytest.approx(task.baselines()["last value"]("test").metrics["MAE"])
    assert task.windows.bounds["test"] == [(384, 432)]
    assert first.loc["rnn", "test_rows"] == 48
    assert found["fold"].unique().tolist() == [1, 2]


@pytest.mark.usefixtures("_quick")
def test_horizon_and_lookback_left_open_are_the_same_in_all_folds(hourly, tmp_path):
    config = from_options(ForecastingConfig, {"target": "load", "normalise": "last", "calendar": False})
    backtest(hourly, config, ModelConfig("rnn", hidden_size=2), {"epochs": 1}, folds=2, folder=tmp_path)
    configs = [load(tmp_path / f"fold-{number}").task.config for number in (1, 2)]
    assert configs[0].lookback == configs[1].lookback
    assert configs[0].horizon == configs[1].horizon == 24


def test_no_folds_are_refused():
    with pytest.raises(InputError, match="folds"):
        list(folds_of(100, ForecastingConfig(horizon=1), 0))
