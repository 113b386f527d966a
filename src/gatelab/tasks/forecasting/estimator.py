"""``gatelab.Forecaster``: forecasting with scikit-learn's manners."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
from sklearn.utils.validation import check_is_fitted

from gatelab.core.config import ModelConfig
from gatelab.core.errors import InputError
from gatelab.core.task import Part, Task
from gatelab.tasks.estimating import Estimator
from gatelab.tasks.forecasting.backtest import backtest
from gatelab.tasks.forecasting.config import ForecastingConfig
from gatelab.tasks.forecasting.importance import importances, ranked
from gatelab.tasks.forecasting.task import Forecasting

if TYPE_CHECKING:
    from gatelab.report.plots import Picture


class Forecaster(Estimator):
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

    kind: ClassVar[type[Task]] = Forecasting

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
        holidays: str | None = None,
        highway: bool = True,
        quantiles: tuple[float, ...] = ForecastingConfig.quantiles,
        point: str = "median",
        positive: bool = False,
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
        self.holidays = holidays
        self.highway = highway
        self.quantiles = quantiles
        self.point = point
        self.positive = positive
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

    # ---- scikit-learn's verbs -----------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> Forecaster:
        """Reads the table ``X``, trains, keeps the best validation weights. ``y`` is ignored: the target is in X.

        Raises:
            DataError: the table cannot be used.
            InputError: a parameter that cannot be.
            TrainingError: the loss stopped being finite.
        """
        self._train(X)
        self._last = X
        return self

    def _adopt(self, task: Any, model: Any, history: Sequence[Mapping[str, Any]], folder: Path) -> None:
        super()._adopt(task, model, history, folder)
        self.feature_names_in_ = [column.name for column in task.features.columns]

    def predict(self, X: Any = None, *, future: Any = None) -> pd.DataFrame:
        """The steps after the end of ``X`` (of the training table, if none): dates, forecast, quantiles.

        Args:
            X: a table that goes on after training; its newest ``lookback`` rows suffice.
            future: covariates known ahead for the steps to forecast, where ``X`` does not hold them.
        """
        source = self._table(X)
        return self.task_.predict(self.model_, source, future=future)

    def plot(self, X: Any = None, *, future: Any = None, file: str | Path | None = None) -> Picture:
        """A picture of what ``predict`` gives: the newest history, the forecast and its intervals.

        A notebook shows it; ``.save("forecast.png")``, or ``file``, writes it as PNG or SVG.

        Args:
            X: as for ``predict``.
            future: as for ``predict``.
            file: where to write it.
        """
        source = self._table(X)
        drawn = self.task_.draw(self.model_, source, future=future)
        for line in drawn.notes:
            warnings.warn(line, stacklevel=2)
        if file is not None:
            drawn.picture.save(file)
        return drawn.picture

    def _table(self, X: Any) -> Any:
        """``X``, or what the forecaster was last fitted on."""
        check_is_fitted(self, "model_")
        source = X if X is not None else getattr(self, "_last", None)  # a loaded forecaster has none
        if source is None:
            raise InputError("there is no table to forecast from", fix="give one: predict(table)")
        return source

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

    def importances(self, X: Any = None) -> pd.DataFrame:
        """Which covariates matter: the share by which the error grows where each is exchanged among windows.

        Columns ``covariate``, ``share`` (0.12: the mean absolute error grows by 12 %), and ``low`` and ``high``, its
        95 % interval over the windows; the greatest first. No rows where the network sees no covariates.

        Args:
            X: a table of its own; the test part, or the validation part where there is none, without.
        """
        check_is_fitted(self, "model_")
        task = self.task_ if X is None else self.task_.reopen(X, "evaluate")
        part: Part = "test" if task.has("test") else "validation"
        if not task.has(part):
            raise InputError("there are no data to look at", fix="give a table: importances(table)")
        rows = ranked(task.features, [importances(task, self.model_, task.windows.origins[part])])
        return pd.DataFrame(rows, columns=["covariate", "share", "low", "high"])

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
        self._update(X, epochs, learning_rate, folder)
        self._last = X
        return self

    def backtest(self, X: Any, *, folds: int = 4) -> pd.DataFrame:
        """Refits at ``folds`` successive origins and scores each on what came next, beside the baselines."""
        model = ModelConfig(**self._settings(ModelConfig))
        with tempfile.TemporaryDirectory(prefix="gatelab-") as folder:
            return backtest(
                X, self._task_config(), model, self._training(), folds=folds, folder=Path(folder), seed=self.seed
            )
