"""``gatelab.Forecaster``: scikit-learn's manners, and every verb on a small table."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import gatelab
from gatelab.core.config import TrainingConfig
from gatelab.core.errors import DataError, InputError, RunError
from gatelab.tasks.forecasting import statespace
from gatelab.tasks.loading import load

QUICK = {"horizon": 4, "lookback": 12, "normalise": "last", "calendar": False, "hidden_size": 4, "epochs": 1}


@pytest.fixture
def fitted(hourly):
    return gatelab.Forecaster("load", **QUICK).fit(hourly)


def test_parameters_are_kept_as_given():
    forecaster = gatelab.Forecaster(target=("a", "b"), horizon=3, cell="lstm", patience=None)
    params = forecaster.get_params()
    assert (params["target"], params["horizon"], params["cell"], params["patience"]) == (("a", "b"), 3, "lstm", None)
    assert clone(forecaster).get_params() == params
    assert forecaster.set_params(horizon=5).horizon == 5
    with pytest.raises(ValueError, match="horizn"):
        forecaster.set_params(horizn=5)


def test_every_parameter_is_a_setting_somewhere(hourly):
    """What no configuration knows would be ignored in silence."""
    forecaster = gatelab.Forecaster("load", **QUICK, past="temperature", quantiles=(0.1, 0.5, 0.9), seed=7)
    config = forecaster._task_config()
    assert config.roles.past == ("temperature",)
    assert config.quantiles == (0.1, 0.5, 0.9)
    training = forecaster._training()
    assert training["epochs"] == 1
    assert "batch_size" not in training
    assert gatelab.Forecaster(patience=None)._training()["patience"] is None


def test_what_is_left_open_suits_the_data(hourly):
    forecaster = gatelab.Forecaster("load", **{**QUICK, "epochs": None}, max_seconds=0.01).fit(hourly)
    defaults = forecaster.task_.training_defaults()
    assert defaults.batch_size != TrainingConfig.batch_size  # or this test shows nothing
    training = load(forecaster.folder_).run.training
    assert (training.batch_size, training.epochs) == (defaults.batch_size, defaults.epochs)


def test_fit_gives_itself_and_forecasts_what_follows(hourly):
    forecaster = gatelab.Forecaster("load", **QUICK)
    assert forecaster.fit(hourly) is forecaster
    predicted = forecaster.predict()
    assert predicted["time"].tolist() == list(pd.date_range("2024-01-21", periods=4, freq="h"))
    assert forecaster.feature_names_in_ == ["load"]
    assert any("480 hourly rows" in note for note in forecaster.notes_)
    assert len(forecaster.history_) == 1


def test_the_same_seed_gives_the_same_model(hourly, fitted):
    again = clone(fitted).fit(hourly)
    pd.testing.assert_frame_equal(again.predict(), fitted.predict(), check_exact=True)
    other = clone(fitted).set_params(seed=1).fit(hourly)
    assert not np.array_equal(other.predict()["forecast"], fitted.predict()["forecast"])


def test_predicts_from_a_table_that_goes_on(hourly):
    forecaster = gatelab.Forecaster("load", **QUICK).fit(hourly[:400])
    assert forecaster.predict(hourly)["time"].iloc[0] == pd.Timestamp("2024-01-21")
    assert forecaster.predict()["time"].iloc[0] == hourly["time"][400]


def test_covariates_known_ahead(hourly):
    forecaster = gatelab.Forecaster("load", **QUICK, future="price").fit(hourly)
    future = pd.DataFrame({"time": pd.date_range("2024-01-21", periods=4, freq="h"), "price": 1.0})
    assert len(forecaster.predict(future=future)) == 4
    with pytest.raises(DataError, match="'price'"):
        forecaster.predict()


def test_evaluates_the_test_part_and_other_tables(hourly, fitted):
    ours = fitted.evaluate()
    assert ours == dict(fitted.task_.evaluate(fitted.model_, "test").metrics)
    theirs = fitted.evaluate(hourly.tail(60))
    assert set(theirs) == set(ours)
    assert fitted.score(hourly.tail(60)) == -theirs["MAE"]


def test_a_model_without_a_test_part_asks_for_a_table(hourly):
    forecaster = gatelab.Forecaster("load", **QUICK, split=(0.8, 0.2)).fit(hourly)
    with pytest.raises(InputError, match="no test part"):
        forecaster.evaluate()
    assert forecaster.evaluate(hourly.tail(60))["MAE"] > 0


def test_update_goes_on_from_the_present_weights(hourly, tmp_path):
    forecaster = gatelab.Forecaster("load", **QUICK).fit(hourly[:300])
    scales, before = forecaster.task_.features, [p.clone() for p in forecaster.model_.parameters()]
    assert forecaster.update(hourly, epochs=2, folder=tmp_path / "new") is forecaster
    moved = max(
        float((a - b).detach().abs().max()) for a, b in zip(before, forecaster.model_.parameters(), strict=True)
    )
    assert 0 < moved < 0.5
    assert forecaster.task_.features is scales
    assert forecaster.predict()["time"].iloc[0] == pd.Timestamp("2024-01-21")
    run = load(tmp_path / "new").run
    assert (run.training.epochs, run.training.learning_rate) == (2, pytest.approx(3e-4))
    forecaster.update(hourly, epochs=1)
    assert load(forecaster.folder_).run.training.learning_rate == pytest.approx(3e-4)  # not a tenth again


def test_backtest_refits_at_rising_origins(hourly, monkeypatch):
    monkeypatch.setattr(statespace, "affordable", lambda windows: False)
    found = gatelab.Forecaster("load", **QUICK).backtest(hourly, folds=2)
    assert found.groupby("fold")["train_rows"].first().tolist() == [336, 378]
    assert {"gru", "last value", "linear autoregression"} <= set(found["method"])
    assert np.isfinite(found["MAE"]).all()


def test_load_brings_everything_back(hourly, tmp_path):
    fitted = gatelab.Forecaster("load", **QUICK, past=("temperature",), cell="lstm", folder=tmp_path / "run").fit(
        hourly
    )
    loaded = gatelab.Forecaster.load(tmp_path / "run")
    pd.testing.assert_frame_equal(loaded.predict(hourly), fitted.predict(hourly), check_exact=True)
    assert (loaded.cell, loaded.target, loaded.past, loaded.epochs) == ("lstm", ("load",), ("temperature",), 1)
    assert loaded.notes_ == fitted.notes_
    assert loaded.evaluate(hourly) == fitted.evaluate(hourly)
    assert isinstance(clone(loaded).fit(hourly), gatelab.Forecaster)
    with pytest.raises(InputError, match="no table"):
        loaded.predict()
    with pytest.raises(InputError, match="no test part"):
        loaded.evaluate()
    loaded.update(hourly, epochs=1)
    assert len(loaded.predict()) == 4


def test_a_folder_keeps_its_run(hourly, tmp_path):
    forecaster = gatelab.Forecaster("load", **QUICK, folder=tmp_path)
    before = forecaster.fit(hourly).predict()
    pd.testing.assert_frame_equal(forecaster.fit(hourly).predict(), before)
    with pytest.raises(RunError, match="other settings"):
        clone(forecaster).set_params(cell="rnn").fit(hourly)
    changed = hourly.copy()
    changed.loc[479, "load"] += 5
    with pytest.raises(RunError, match="other settings"):
        clone(forecaster).fit(changed)


def test_a_temporary_folder_goes_with_the_estimator(hourly):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forecaster = gatelab.Forecaster("load", **QUICK).fit(hourly)
        folder = forecaster.folder_
        assert Path(folder).exists()
        del forecaster
    assert not Path(folder).exists()


def test_travels_by_pickle(hourly, fitted):
    copy = pickle.loads(pickle.dumps(fitted))
    pd.testing.assert_frame_equal(copy.predict(), fitted.predict(), check_exact=True)
    copy.update(hourly, epochs=1)


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_an_unfitted_one_says_so(verb):
    with pytest.raises(NotFittedError):
        getattr(gatelab.Forecaster("load"), verb)()


@pytest.mark.parametrize(
    ("params", "named"),
    [({"horizon": 0}, "horizon"), ({"dropout": 1.0}, "dropout"), ({"cell": "grü"}, "grü"), ({"target": "lod"}, "load"),
     ({"quantiles": (0.1, 0.9)}, "quantiles"), ({"device": "cuda:9"}, "cuda:9")],
)  # fmt: skip
def test_bad_parameters_are_refused_at_fit(hourly, params, named):
    with pytest.raises(InputError, match=named):
        gatelab.Forecaster(**{"target": "load", **QUICK, **params}).fit(hourly)


def test_fitting_leaves_the_users_random_numbers_alone(hourly):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    gatelab.Forecaster("load", **QUICK).fit(hourly)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.slow
def test_learns_a_wave_better_than_the_naive_forecast(hourly):
    forecaster = gatelab.Forecaster("load", horizon=4, lookback=24, epochs=12).fit(hourly)
    naive = forecaster.task_.baselines()["seasonal naive (24)"]("test").metrics
    ours = forecaster.evaluate()
    assert ours["MAE"] < naive["MAE"]
    assert 0.85 < ours["coverage 95%"] <= 1
