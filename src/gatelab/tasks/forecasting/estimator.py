"""``gatelab.Forecaster``: forecasting with scikit-learn's manners."""

from __future__ import annotations

import dataclasses
import inspect
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from gatelab.core.config import ModelConfig, TrainingConfig, from_options
from gatelab.core.errors import InputError, RunError
from gatelab.core.files import writable_folder
from gatelab.tasks.forecasting.backtest import backtest
from gatelab.tasks.forecasting.config import ForecastingConfig
from gatelab.tasks.forecasting.task import Forecasting
from gatelab.tasks.loading import load, update_settings
from gatelab.training import fit

_BY_DATA = ("epochs", "batch_size")
"""Training settings that depend on the size of the data where they are left None."""


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
        split: tuple[float, ...] = ForecastingConfig.split,
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
        epochs: int | None = None,
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
        """The parameters that are settings of ``kind``."""
        names = {field.name for field in dataclasses.fields(kind)}
        return {name: value for name, value in self.get_params().items() if name in names}

    def _training(self) -> dict[str, Any]:
        """Settings of the training; what was left open suits the data."""
        settings = self._settings(TrainingConfig)
        return {name: value for name, value in settings.items() if value is not None or name not in _BY_DATA}

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
        task, model = Forecasting.open(X, self._task_config()), ModelConfig(**self._settings(ModelConfig))
        training = dataclasses.replace(task.training_defaults(), **self._training())
        fitted = fit(task, model, training, seed=self.seed, folder=self._folder(self.folder))
        self._adopt(task, fitted.model, fitted.history, fitted.folder, X)
        self._run = (model, training)
        return self

    def _folder(self, wanted: str | Path | None) -> Path:
        """The run folder that is wanted, or one that lives as long as the estimator."""
        if wanted is not None:
            return writable_folder(wanted)
        folder = Path(tempfile.mkdtemp(prefix="gatelab-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _adopt(self, task: Forecasting, model: Any, history: list[dict[str, Any]], folder: Path, source: Any) -> None:
        self.task_, self._last = task, source
        self.model_, self.history_, self.folder_ = model, history, folder
        self.notes_ = list(task.notes)
        self.feature_names_in_ = [column.name for column in task.features.columns]

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
        """All metrics: on the test part, or with ``X`` on every window of a table of its own.

        Raises:
            InputError: without ``X``, where there is no test part.
        """
        check_is_fitted(self, "model_")
        task = self.task_ if X is None else self.task_.reopen(X, "evaluate")
        if not task.has("test"):
            raise InputError("there is no test part to evaluate on", fix="give a table: evaluate(table)")
        return dict(task.evaluate(self.model_, "test").metrics)

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the first metric on ``X``, so that more is better, as scikit-learn expects."""
        return -self.evaluate(X)[self.task_.metrics[0].name]

    def update(
        self, X: Any, *, epochs: int = 5, learning_rate: float | None = None, folder: str | Path | None = None
    ) -> Forecaster:
        """Goes on training with the rows of ``X`` from the present weights; scales and channels stay.

        Args:
            X: new rows, alone or after the old ones.
            epochs: passes over them, at most.
            learning_rate: step size; a tenth of the first training's by default.
            folder: run folder of the updated model; a temporary one by default.
        """
        check_is_fitted(self, "model_")
        model, before = self._run
        task = self.task_.reopen(X, "update")
        training = update_settings(before, epochs, learning_rate)
        weights = self.model_.state_dict()
        fitted = fit(task, model, training, seed=self.seed, folder=self._folder(folder), initial=weights)
        self._adopt(task, fitted.model, fitted.history, fitted.folder, X)
        return self

    def backtest(self, X: Any, *, folds: int = 4) -> pd.DataFrame:
        """Refits at ``folds`` successive origins and scores each on what came next, beside the baselines."""
        model = ModelConfig(**self._settings(ModelConfig))
        with tempfile.TemporaryDirectory(prefix="gatelab-") as folder:
            return backtest(
                X, self._task_config(), model, self._training(), folds=folds, folder=Path(folder), seed=self.seed
            )

    @classmethod
    def load(cls, folder: str | Path) -> Forecaster:
        """A fitted forecaster from a run folder, such as ``gatelab compare`` leaves under ``best``.

        Raises:
            RunError: the folder is incomplete, altered, of a newer version, or of another task.
        """
        loaded = load(folder)
        if not isinstance(loaded.task, Forecasting):
            raise RunError(f"the model in {folder} is for {loaded.task.name}", expected="a model for forecasting")
        names = set(inspect.signature(cls.__init__).parameters)
        config = loaded.task.config
        flat = {f.name: getattr(part, f.name)
                for part in (config, config.roles, loaded.run.model, loaded.run.training)
                for f in dataclasses.fields(part)}  # fmt: skip
        forecaster = cls(**{name: value for name, value in flat.items() if name in names}, seed=loaded.run.seed)
        run = loaded.run
        forecaster._adopt(loaded.task, loaded.model, run.history(), Path(folder), None)
        forecaster._run = (run.model, run.training)
        return forecaster
