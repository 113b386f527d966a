"""Forecasting as a task: what training, compare and the reports ask of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property, partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from gatelab.core.config import ModelConfig, TrainingConfig, check_fields, from_dict
from gatelab.core.errors import InputError
from gatelab.core.task import Drawn, Evaluation, Loss, Part, Task
from gatelab.data.frequency import Frequency
from gatelab.data.roles import Column, Roles
from gatelab.data.table import SeriesTable, read_like, read_table
from gatelab.tasks.forecasting import (
    baselines,
    covariates,
    figures,
    held,
    importance,
    positive,
    prepare,
    public_holidays,
    scores,
    statespace,
)
from gatelab.tasks.forecasting.baselines import Points
from gatelab.tasks.forecasting.config import ForecastingConfig
from gatelab.tasks.forecasting.features import Features
from gatelab.tasks.forecasting.model import ForecastNet, forecast_loss
from gatelab.tasks.forecasting.predict import predict_unseen
from gatelab.tasks.forecasting.windows import WindowBatch, Windows

Array = np.ndarray
_MOST_SCORED = 2_000_000  # forecast values held at once; above that the test windows are thinned, and it is said
_MOST_EPOCH = 20_000  # windows in one epoch: neighbours differ by one row, and long series need no more to learn from
_STEPS = 3_000  # optimizer steps of a training: where the validation loss of these series flattens
_SHOWN = 200  # windows kept for pictures


class Forecasting(Task):
    """Forecast the next steps of one or many series."""

    name: ClassVar[str] = "forecasting"
    Config: ClassVar[type] = ForecastingConfig

    def __init__(self, config: ForecastingConfig, features: Features, schema: Mapping[str, Any], notes: Sequence[str]):
        self.config, self.features, self.schema, self.notes = config, features, schema, list(notes)
        self.metrics = scores.metrics_of(features.targets, _metric(config, features))
        self._windows: Windows | None = None
        self._naive: dict[str, list[float]] = {}
        self._data = ""

    # ---- from data to task, and back ----------------------------------------------------------------------------

    @classmethod
    def open(cls, source: Any, config: ForecastingConfig) -> Forecasting:
        """Reads the table, divides it in time order and fits scales and channels on the training rows.

        Raises:
            DataError: no usable target, too few rows, dates that cannot be read and the like.
        """
        prepare.require_split(config)
        table = read_table(source, config.roles)
        config, said = prepare.with_own_test(source, config)
        own_test = config.test_data is not None
        asked = replace(config, roles=table.roles, split=config.split[:2] if own_test else config.split)
        division = prepare.divide(table, asked.split)
        config, chosen = prepare.resolve(table, asked, division)
        said += chosen
        prepare.need_rows(table, asked, config, division)
        rows = division.train_rows(table)
        prepare.check_targets(table, division)
        positive.require_none_below(table, config)
        whole, (table, left_out) = table, covariates.without_still(table, rows)
        test = read_like(config.test_data, table.schema()) if config.test_data is not None else None
        if test is not None:
            prepare.need_new_rows(test, config, "evaluate")
            positive.require_none_below(test, config)
        feasts = public_holidays.look_up(config.holidays, table)
        features = replace(Features.fit(table, rows, calendar=config.calendar is not False), holidays=feasts)

        def make(normalise: Any, features: Features) -> Windows:
            return prepare.make_windows(table, test, replace(config, normalise=normalise), features, division)

        plain = replace(features, calendar=())
        shares = [*asked.split, float(test is not None)]
        parts = [part for part, share in zip(prepare.PARTS, shares, strict=False) if share]
        prepare.need_windows(make("none", plain), parts)
        if config.normalise == "auto":
            normalise, line = prepare.choose_normalisation(lambda name: make(name, plain))
            config, said = replace(config, normalise=normalise), [*said, line]
        if config.calendar is None and features.calendar:
            shown, line = prepare.choose_calendar(lambda on: make(config.normalise, features if on else plain))
            config, said = replace(config, calendar=shown), [*said, line]
        features = features if config.calendar else plain
        config = replace(config, calendar=bool(features.calendar))
        windows = make(config.normalise, features)
        tables = [table] if test is None else [table, test]
        said += [
            *held.said(features.constants, features.targets),
            *positive.said(config),
            *public_holidays.said(feasts),
        ]
        said += prepare.said_of(features, [series for each in tables for series in each.series])
        notes = [*table.notes, *(test.notes if test is not None else ()), *left_out, *said, _parts_note(windows)]
        task = cls(config, features, table.schema(), notes)
        task._adopt(windows, table, rows)
        task.notes = [*task.notes, *prepare.said_short(windows), *task._thinned_note()]
        task._data = prepare.fingerprint(whole, *tables[1:])
        return task

    def _adopt(self, windows: Windows, table: SeriesTable, train_rows: Mapping[str, int]) -> None:
        """Takes the windows, and MASE's denominators from the training rows."""
        self._windows = windows
        at = table.indices("target")
        raws = {s.id: s.values[: train_rows[s.id], at] for s in table.series}  # (T, O) each
        self._naive = {id: error.tolist() for id, error in scores.naive_errors(raws, self.season).items()}

    def reopen(self, source: Any, purpose: Literal["evaluate", "update"]) -> Forecasting:
        """The same task over new rows, scales and channels kept.

        ``evaluate`` makes all rows the test part; ``update`` makes them training and validation (the last tenth).
        """
        table = read_like(source, self.schema)
        prepare.need_new_rows(table, self.config, purpose)
        positive.require_none_below(table, self.config)
        division = prepare.divide_new(table, self.config.horizon, purpose)
        windows = prepare.make_windows(table, None, self.config, self.features, division)
        prepare.need_windows(windows, ("test",) if purpose == "evaluate" else ("train", "validation"))
        task = self.with_windows(windows)
        said = [*prepare.said_left_out(self.features, self.config), *prepare.said_of(self.features, table.series)]
        task.notes, task._data = [*table.notes, *said, _parts_note(windows)], prepare.fingerprint(table)
        return task

    def state(self) -> dict[str, Any]:
        """Columns, scales and channels as plain JSON values, and a digest of the data: a run is tied to its data."""
        return {
            "schema": self.schema,
            "features": self.features.to_dict(),
            "naive": self._naive,
            "notes": self.notes,
            "data": self._data,
        }

    @classmethod
    def restore(cls, config: ForecastingConfig, state: Mapping[str, Any]) -> Forecasting:
        """The task without data: able to ``build``, ``predict`` and ``reopen``."""
        columns = [Column.from_dict(column) for column in state["schema"]["columns"]]
        frequency = check_fields(Frequency(**state["schema"]["frequency"]))
        features = Features.from_dict(state["features"], columns, frequency)
        # Older folders name the series in the scales alone, where "" is all of them pooled.
        schema = {"series": [id for id in features.scales if id], **state["schema"]}
        if not all(isinstance(id, str) for id in schema["series"]):
            raise InputError("the names of the series are not all text", got=str(schema["series"])[:60])
        from_dict(Roles, state["schema"]["roles"])
        task = cls(config, features, schema, state["notes"])
        task._naive = {id: [float(value) for value in error] for id, error in state["naive"].items()}
        task._data = state["data"]
        return task

    def fingerprint(self) -> str:
        """Which data this task is about."""
        return self._data

    def with_windows(self, windows: Windows) -> Forecasting:
        """The same task over other windows."""
        task = Forecasting(self.config, self.features, self.schema, self.notes)
        task._windows, task._naive, task._data = windows, self._naive, self._data
        return task

    # ---- what the training loop needs ---------------------------------------------------------------------------

    @property
    def windows(self) -> Windows:
        """The windows over the data this task was opened with."""
        if self._windows is None:
            raise RuntimeError("this task was restored without data: call reopen(source, purpose) first")
        return self._windows

    def has(self, part: Part) -> bool:
        """Whether there are windows in a part."""
        return self._windows is not None and len(self._windows.origins.get(part, ())) > 0

    @property
    def season(self) -> int:
        """The likeliest season in steps; 1 where none is known."""
        return self.features.frequency.seasons[0] if self.features.frequency.seasons else 1

    def training_defaults(self) -> TrainingConfig:
        """Smaller batches and more epochs for shorter series: some thousand steps whatever the length."""
        windows = max(min(len(self.windows.origins["train"]), _MOST_EPOCH), 1)
        batch_size = int(np.clip(2 ** np.floor(np.log2(max(windows / 25, 1))), 8, 64))
        epochs = round(_STEPS / max(windows / batch_size, 1))
        return TrainingConfig(batch_size=batch_size, epochs=int(np.clip(epochs, 5, 60)))

    def build(self, model: ModelConfig) -> ForecastNet:
        """An encoder as ``model`` says, with the head this task's channels and horizon need."""
        config, features = self.config, self.features
        targets, ahead = len(features.targets), len(features.known_channels)
        return ForecastNet(
            model,
            input_size=targets + len(features.past_channels) + ahead,
            targets=targets,
            ahead=ahead,
            lookback=config.lookback,
            horizon=config.horizon,
            quantiles=len(config.quantiles),
            mean=config.point == "mean",
            highway=config.highway,
        )

    def batches(
        self, part: Part, batch_size: int, rng: np.random.Generator | None = None, start: int = 0
    ) -> Iterator[WindowBatch]:
        """Windows of a part; an epoch of a long training part is a fresh sample of it."""
        return self.windows.batches(self._epoch(part, rng), batch_size, rng, start)

    def _epoch(self, part: Part, rng: np.random.Generator | None) -> Array:
        origins = self.windows.origins[part]
        if part != "train":
            return self._scored_origins(part)
        if rng is not None and len(origins) > _MOST_EPOCH:
            return rng.choice(origins, _MOST_EPOCH, replace=False)
        return origins[:_MOST_EPOCH]

    def count(self, part: Part, batch_size: int) -> int:
        """Batches in a part."""
        origins = len(self._scored_origins(part)) if part != "train" else len(self.windows.origins[part])
        return -(-min(origins, _MOST_EPOCH if part == "train" else origins) // batch_size)

    def loss(self, model: Any, batch: WindowBatch, state: Any = None) -> Loss:
        """Quantile loss over the observed targets of the horizon."""
        mean, weight = forecast_loss(model(batch), batch, self._levels.to(batch.inputs))
        return Loss(mean, float(weight))

    @cached_property
    def _levels(self) -> Tensor:
        return torch.tensor(self.config.quantiles)

    # ---- what compare and the reports need ----------------------------------------------------------------------

    def _scored_origins(self, part: Part) -> Array:
        values = self.config.horizon * len(self.features.targets) * len(self.config.quantiles)
        return self.windows.thinned(part, max(_MOST_SCORED // values, 1))

    def _thinned_note(self) -> list[str]:
        """A line where fewer windows are scored than there are."""
        found = []
        for part in ("validation", "test"):
            all, scored = (
                len(self.windows.origins.get(part, ())),
                len(self._scored_origins(part)) if self.has(part) else 0,
            )
            if scored < all:
                found.append(f"scored: {scored:,} of {all:,} {part} windows, evenly spread: neighbours tell the same")
        return found

    def evaluate(self, model: Any, part: Part) -> Evaluation:
        """All metrics on a part, every window an origin (rolling, stride one), thinned where there are very many."""
        origins = self._scored_origins(part)
        quantiles, point = self.forecast(model, origins)
        found = self._evaluation(origins, point, quantiles)
        if part == "validation" and self.has("test"):  # looked at to choose, not to be shown
            return found
        training = model.training
        shares = importance.importances(self, model.eval(), origins)  # (G, 3)
        model.train(training)
        return replace(found, arrays={**found.arrays, "importance": shares}) if len(shares) else found

    def remarks(self, evaluation: Evaluation) -> list[str]:
        """Which covariates mattered."""
        return importance.said(self.features, evaluation.arrays.get("importance", np.zeros((0, 3))))

    @torch.no_grad()
    def forecast(self, model: Any, origins: Array) -> tuple[Array, Array]:
        """Quantiles ``(K, N, O, Q)`` and points ``(K, N, O)`` at some origins, in the user's units."""
        device = next(model.parameters()).device
        training = model.training
        model.eval()
        found = [model(batch.to(device)) for batch in self.windows.batches(origins, 512)]
        model.train(training)
        # Quantiles that cross are put in order (rearrangement, Chernozhukov, Fernández-Val & Galichon 2010).
        quantiles = torch.cat([f.quantiles for f in found], dim=1).sort(dim=-1).values  # (K, N, O, Q)
        middle = quantiles[..., self.config.quantiles.index(0.5)]  # (K, N, O)
        point = middle if found[0].mean is None else torch.cat([f.mean for f in found], dim=1)
        centre, deviation = baselines.scales(self.windows, origins)  # (N, O)
        spread = quantiles.cpu().double().numpy() * deviation[..., None] + centre[..., None]
        still = self.windows.held(origins)  # (N, O)
        found = spread, point.cpu().double().numpy() * deviation + centre
        quantiles, points = (held.hold(positive.bounded(part, self.config), still) for part in found)
        return quantiles, points

    def _evaluation(self, origins: Array, point: Array, quantiles: Array) -> Evaluation:
        windows = self.windows
        number, _ = windows.locate(origins)
        naive = np.array([self._naive.get(s.id, self._naive[""]) for s in windows.series])  # (S, O)
        truth = baselines.truth_of(windows, origins)  # (K, N, O)
        deviation = baselines.scales(windows, origins)[1]  # (N, O)
        scored = scores.Scored(point, quantiles, truth, deviation, naive[number])
        shown = figures.shown_windows(len(origins), self.config.horizon, _SHOWN)
        arrays = {
            "mae_by_horizon": scores.by_horizon(scored),
            "error_by_item": scores.by_window(scored, self.metrics[0].name),
            "shown_origin": origins[shown],
            "shown_point": point[:, shown],
            "shown_quantiles": quantiles[:, shown],
            "shown_truth": truth[:, shown],
        }
        return Evaluation(scores.score(scored, self.config.quantiles), arrays, len(origins))

    def baselines(self) -> Mapping[str, Callable[[Part], Evaluation]]:
        """Last value, seasonal naive, drift, linear autoregression, and ARIMA and ETS where they are affordable.

        Over reopened data there is no training part: the naive ones remain, without intervals.
        """
        windows, trained = self.windows, len(self.windows.origins["train"]) > 0
        makers: dict[str, Callable[[], Points]] = {"last value": lambda: baselines.last_value}
        known = max(stop for _, stop in windows.bounds["train" if trained else "test"])
        for season in self.features.frequency.seasons:
            if 1 < season < known:
                makers[f"seasonal naive ({season})"] = partial(baselines.seasonal_naive, season)
        makers["drift"] = lambda: baselines.drift
        if trained:
            makers |= self._fitted_baselines()
        # Fitted once, however many parts are evaluated.
        return {name: partial(self._evaluate_baseline, cache(make)) for name, make in makers.items()}

    def _fitted_baselines(self) -> dict[str, Callable[[], Points]]:
        makers: dict[str, Callable[[], Points]] = {}
        makers["linear autoregression"] = lambda: baselines.LinearAutoregression(self.windows)
        if self.features.known_channels:
            makers["linear + known ahead"] = lambda: baselines.LinearAutoregression(self.windows, ahead=True)
        if statespace.affordable(self.windows):
            for name, family in (("ARIMA", statespace.arimas), ("ETS", statespace.exponential_smoothings)):
                makers[name] = partial(self._state_space, family)
        return makers

    def _state_space(self, family: Any) -> Points:
        parts = [part for part in self.windows.origins if part != "train"]
        asked = [*map(self._scored_origins, parts), baselines.residual_origins(self.windows)]
        return statespace.StateSpaceBaseline(self.windows, family, self.season, np.concatenate(asked))

    def _evaluate_baseline(self, make: Callable[[], Points], part: Part) -> Evaluation:
        points = make()
        origins = self._scored_origins(part)
        still = self.windows.held(origins)  # (N, O)
        free = points(self.windows, origins)  # (K, N, O)
        point = held.hold(positive.bounded(free, self.config), still)  # (K, N, O)
        if not len(self.windows.origins["validation"]):  # nothing to measure a spread on
            found = self._evaluation(origins, point, point[..., None].repeat(len(self.config.quantiles), axis=-1))
            return replace(found, metrics={name: found.metrics[name] for name in scores.OF_POINTS})
        spread = baselines.residual_quantiles(points, self.windows, np.array(self.config.quantiles))  # (K, O, Q)
        deviation = baselines.scales(self.windows, origins)[1]  # (N, O)
        quantiles = free[..., None] + spread[:, None] * deviation[..., None]  # (K, N, O, Q)
        return self._evaluation(origins, point, held.hold(positive.bounded(quantiles, self.config), still))

    def sections(self, results: Mapping[str, Sequence[Evaluation]]) -> Sequence[Any]:
        """Forecasts against truth, error by horizon, coverage of the intervals."""
        return figures.sections(self, results)

    # ---- use ----------------------------------------------------------------------------------------------------

    def predict(self, model: Any, source: Any, *, future: Any = None) -> Any:
        """The steps after the last observed target of each series: see ``predict_unseen``."""
        return predict_unseen(self, model, source, future).frame

    def draw(self, model: Any, source: Any, *, future: Any = None) -> Drawn:
        """What ``predict`` gives, and a picture of it beside what came before: see ``forecasting.picture``."""
        from gatelab.tasks.forecasting.picture import picture  # brings matplotlib

        found = predict_unseen(self, model, source, future)
        return Drawn(found.frame, *picture(self, found))

    def export(self, model: Any) -> Any:
        """The model as an ONNX graph from columns to forecasts, in the user's units: see ``forecasting.onnx``."""
        from gatelab.tasks.forecasting.onnx import export  # used rarely

        return export(self, model)

    @staticmethod
    def backtest(source: Any, config: ForecastingConfig, model: ModelConfig, training: Any, **how: Any) -> Any:
        """Trains and scores at successive origins: see ``gatelab.tasks.forecasting.backtest``."""
        from gatelab.tasks.forecasting.backtest import backtest  # which opens tasks itself

        return backtest(source, config, model, training, **how)


def _metric(config: ForecastingConfig, features: Features) -> str:
    if config.metric != "auto":
        return config.metric
    if len(features.targets) > 1:
        return "MASE"
    return "RMSE" if config.point == "mean" else "MAE"


def _parts_note(windows: Windows) -> str:
    counts = ", ".join(f"{len(origins):,} {part}" for part, origins in windows.origins.items() if len(origins))
    return f"windows of {windows.lookback} steps in and {windows.horizon} out: {counts}"
