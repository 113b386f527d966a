"""``gatelab.Forecaster``: forecasting with scikit-learn's manners."""

from __future__ import annotations

import dataclasses
import inspect
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from gatelab.core.config import ModelConfig, TrainingConfig, from_options
from gatelab.core.errors import InputError
from gatelab.core.files import writable_folder
from gatelab.tasks.forecasting.backtest import backtest
from gatelab.tasks.forecasting.config import ForecastingConfig
from gatelab.tasks.forecasting.task import Forecasting
from gatelab.tasks.loading import load
from gatelab.training import fit


class Forecaster(BaseEstimator):
    """Forecasts the next steps of one or many series with an RNN, LSTM or GRU.

    A table is a ``DataFrame``, a path (CSV, Parquet) or the name of a data set; what is left ``None`` is chosen from
    the data and said in ``notes_``. Every parameter is a setting of ``ForecastingConfig``, ``ModelConfig`` or
    ``TrainingConfig`` under the same name, and explained there.

    >>> forecaster = Forecaster(target="co2", horizon=8, epochs=5)
    >>> forecaster.fit("co2_weekly").predict()  # doctest: +SKIP

    Attributes:
        task_: the data as the network sees it.
        model_: the trained network, best validation weights.
        history_: one record per epoch.
        notes_: what was decided about the data.
        folder_: the run folder; ``Forecaster.load`` opens it again.
    """

    def __init__(
        self,
        target: str | tuple[str, ...] = (),
        *,
        horizon: int | None = None,
        lookback: int | None = None,
        time: str | None = None,
        id: str | None = None,
        past: tuple[str, ...] | None = None,
        future: tuple[str, ...] = (),
        missing: tuple[str, ...] = (),
        frequency: str | None = None,
        day_first: bool | None = None,
        time_zone: str | None = None,
        split: tuple[float, ...] = (0.8, 0.1, 0.1),
        normalise: str = "auto",
        calendar: bool | None = None,
        highway: bool = True,
        quantiles: tuple[float, ...] = ForecastingConfig.quantiles,
        point: str = "median",
        cell: str = "gru",
        hidden_size: int = 32,
        num_layers: int = 1,
        dropout: float = 0.0,
        reset_after: bool = True,
        epochs: int = 50,
        max_seconds: float | None = None,
        batch_size: int | None = None,
        learning_rate: float = 3e-3,
        patience: int | None = 8,
        device: str = "cpu",
        threads: int = 1,
        seed: int = 0,
        folder: str | Path | None = None,
    ):
        self.target = target
        self.horizon = horizon
        self.lookback = lookback
        self.time = time
        self.id = id
        self.past = past
        self.future = future
        self.missing = missing
        self.frequency = frequency
        self.day_first = day_first
        self.time_zone = time_zone
        self.split = split
        self.normalise = normalise
        self.calendar = calendar
        self.highway = highway
        self.quantiles = quantiles
        self.point = point
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.dropout = dropout
        self.reset_after = reset_after
        self.epochs = epochs
        self.max_seconds = max_seconds
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.patience = patience
        self.device = device
        self.threads = threads
        self.seed = seed
        self.folder = folder

    def _settings(self, kind: type) -> dict[str, Any]:
        """The parameters that are settings of ``kind``; what was left open keeps its default there."""
        names = {field.name for field in dataclasses.fields(kind)}
        return {name: value for name, value in self.get_params().items() if name in names}

    def _task_config(self) -> ForecastingConfig:
        elsewhere = {field.name for kind in (ModelConfig, TrainingConfig) for field in dataclasses.fields(kind)}
        options = {n: v for n, v in self.get_params().items() if n not in elsewhere | {"seed", "folder"}}
        return from_options(ForecastingConfig, options)

    # ---- scikit-learn's verbs -----------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> Forecaster:
        """Reads the table ``X``, trains, keeps the best validation weights. ``y`` is ignored: the target is in X.

        Raises:
            DataError: the table cannot be used.
            InputError: a parameter that cannot be.
            TrainingError: the loss stopped being finite.
        """
        self.task_ = Forecasting.open(X, self._task_config())
        settings = {k: v for k, v in self._settings(TrainingConfig).items() if not (k == "batch_size" and v is None)}
        training = dataclasses.replace(self.task_.training_defaults(), **settings)
        if self.folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="gatelab-")
        folder = writable_folder(self.folder if self.folder is not None else self._temporary.name)
        fitted = fit(self.task_, ModelConfig(**self._settings(ModelConfig)), training, seed=self.seed, folder=folder)
        self._keep(fitted)
        self._last = X
        return self

    def _keep(self, fitted: Any) -> None:
        self.model_, self.history_, self.folder_ = fitted.model, fitted.history, Path(fitted.folder)
        self.notes_ = list(self.task_.notes)
        self.feature_names_in_ = [column.name for column in self.task_.features.columns]

    def predict(self, X: Any = None, *, future: Any = None) -> pd.DataFrame:
        """The steps after the end of ``X`` (of the training table, if none): dates, forecast, quantiles.

        Args:
            X: a table that goes on after training; its newest ``lookback`` rows suffice.
            future: covariates known ahead for the steps to forecast, where ``X`` does not hold them.
        """
        check_is_fitted(self, "model_")
        source = X if X is not None else getattr(self, "_last", None)
        if source is None:
            raise InputError("there is no table to forecast from", fix="give one: predict(table)")
        return self.task_.predict(self.model_, source, future=future)

    def evaluate(self, X: Any = None) -> dict[str, float]:
        """All metrics: on the test part, or with ``X`` on every window of a table of its own."""
        check_is_fitted(self, "model_")
        task = self.task_ if X is None else self.task_.reopen(X, "evaluate")
        return dict(task.evaluate(self.model_, "test").metrics)

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the first metric on ``X``, so that more is better, as scikit-learn expects."""
        return -self.evaluate(X)[self.task_.metrics[0].name]

    def update(self, X: Any, *, epochs: int = 5, learning_rate: float | None = None) -> Forecaster:
        """Goes on training with the rows of ``X`` from the present weights; scales and channels stay.

        Args:
            X: new rows, alone or after the old ones.
            epochs: passes over them, at most.
            learning_rate: step size; a tenth of the first training's by default.
        """
        check_is_fitted(self, "model_")
        run = load(self.folder_).run
        task = self.task_.reopen(X, "update")
        rate = learning_rate if learning_rate is not None else run.training.learning_rate / 10
        training = dataclasses.replace(run.training, epochs=epochs, learning_rate=rate)
        folder = self.folder_.with_name(f"{self.folder_.name}-updated-{len(X) if hasattr(X, '__len__') else 0}")
        weights = self.model_.state_dict()
        fitted = fit(task, run.model, training, seed=self.seed, folder=folder, initial=weights, resume=False)
        self.task_ = task
        self._keep(fitted)
        self._last = X
        return self

    def backtest(self, X: Any, *, folds: int = 4) -> pd.DataFrame:
        """Refits at ``folds`` successive origins and scores each on what came next, beside the baselines."""
        config = self._task_config()
        training = TrainingConfig(**{k: v for k, v in self._settings(TrainingConfig).items() if v is not None})
        with tempfile.TemporaryDirectory(prefix="gatelab-") as folder:
            model = ModelConfig(**self._settings(ModelConfig))
            return backtest(X, config, model, training, folds=folds, folder=Path(folder), seed=self.seed)

    @classmethod
    def load(cls, folder: str | Path) -> Forecaster:
        """A fitted forecaster from a run folder, such as ``gatelab compare`` leaves under ``best``."""
        loaded = load(folder)
        names = set(inspect.signature(cls.__init__).parameters)
        config = loaded.task.config
        flat = {f.name: getattr(part, f.name)
                for part in (config, config.roles, loaded.run.model, loaded.run.training)
                for f in dataclasses.fields(part)}  # fmt: skip
        forecaster = cls(**{name: value for name, value in flat.items() if name in names}, seed=loaded.run.seed)
        forecaster.task_ = loaded.task
        forecaster.model_, forecaster.history_ = loaded.model, loaded.run.history()
        forecaster.folder_, forecaster.notes_ = Path(folder), list(loaded.task.notes)
        return forecaster
