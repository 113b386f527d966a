"""Equal tuning: every cell gets the same number of tries, judged on the validation part alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import optuna

from gatelab.core.config import ModelConfig, TrainingConfig
from gatelab.core.random import integer_seed
from gatelab.core.task import Metric
from gatelab.studies.budgets import TUNING_SEED
from gatelab.studies.curves import criterion_curve
from gatelab.studies.trials import Record

ROUND = 4
"""Optuna trials asked for at a time. Fixed, so that the search does not depend on how many cores run it."""
_DROPOUTS, _LAYERS, _BATCH_FACTORS = (0.0, 0.1, 0.2, 0.3), (1, 2), (0.5, 1.0, 2.0)
Records = Mapping[str, Record]


@dataclass(frozen=True)
class Setting:
    """One try: what is to be trained, and when to give it up."""

    model: ModelConfig
    training: TrainingConfig
    medians: tuple[float, ...] = ()
    """A try whose best criterion so far is worse than this after that many epochs is given up."""


def median_curve(curves: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """The median over finished tries at each epoch: the median stopping rule (Golovin et al. 2017, Google Vizier).

    As in Optuna's ``MedianPruner``, a try's best value so far is held against the others' values at that epoch.
    Empty until there are as many finished tries as a round has.
    """
    if len(curves) < ROUND:
        return ()
    length = max(map(len, curves))
    padded = np.array([[*curve, *[np.nan] * (length - len(curve))] for curve in curves], dtype=float)  # (N, E)
    reached = ~np.isnan(padded).all(axis=0)  # (E,)
    medians = np.nanmedian(padded[:, reached], axis=0)  # (E',)
    return tuple(float(value) for value in medians)


def learning_rate_settings(model: ModelConfig, training: TrainingConfig, rates: Sequence[float]) -> list[Setting]:
    """The few learning rates that every cell chooses from by default."""
    return [Setting(model, replace(training, learning_rate=rate)) for rate in rates]


def chosen(settings: Sequence[tuple[Setting, Record]], criterion: Metric) -> Setting | None:
    """The setting with the best validation criterion; ``None`` where no try finished."""
    scored = [(record.measures["best"], setting) for setting, record in settings
              if record.ok and record.measures.get("best") is not None]  # fmt: skip
    pick = min if criterion.goal == "min" else max
    best = pick(scored, key=lambda pair: pair[0], default=None)
    return best and replace(best[1], medians=())


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna tells of every trial on stderr, where the progress of the whole study is shown."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


class Search:
    """An Optuna search that is a function of the records so far: replayed, never stored.

    Asked again with the same records it proposes the same trials, so a search that was interrupted goes on.
    """

    def __init__(self, cell: str, count: int, sized: Any, training: TrainingConfig, criterion: Metric):
        """``sized`` gives a model for (layers, dropout), with the budget's number of parameters."""
        self.cell, self.count, self.sized, self.training, self.criterion = cell, count, sized, training, criterion

    @cached_property
    def _direction(self) -> Literal["minimize", "maximize"]:
        return "minimize" if self.criterion.goal == "min" else "maximize"

    def settings(self, record_of: Any) -> tuple[list[Setting], bool]:
        """All tries so far, and whether the search is complete; ``record_of`` finds a try's record or ``None``."""
        with _quiet():
            return self._replay(record_of)

    def _replay(self, record_of: Any) -> tuple[list[Setting], bool]:
        sampler = optuna.samplers.TPESampler(
            seed=integer_seed(TUNING_SEED, "tune", self.cell) % 2**32, n_startup_trials=max(ROUND, self.count // 3)
        )
        study = optuna.create_study(sampler=sampler, direction=self._direction)
        study.enqueue_trial(self._default())
        settings: list[Setting] = []
        curves: list[list[float]] = []
        while len(settings) < self.count:
            medians = median_curve(curves)
            asked = [study.ask() for _ in range(min(ROUND, self.count - len(settings)))]
            proposed = [self._setting(trial, medians) for trial in asked]
            settings += proposed
            records = [record_of(setting) for setting in proposed]
            if any(record is None for record in records):
                return settings, False
            for trial, record in zip(asked, records, strict=True):
                curves += self._tell(study, trial, record)
        return settings, True

    def _default(self) -> dict[str, Any]:
        return {"learning_rate": self.training.learning_rate, "dropout": 0.0, "layers": 1, "batch_factor": 1.0}

    def _setting(self, trial: optuna.Trial, medians: tuple[float, ...]) -> Setting:
        rate = trial.suggest_float("learning_rate", 1e-4, 3e-2, log=True)
        dropout = trial.suggest_categorical("dropout", _DROPOUTS)
        layers = trial.suggest_categorical("layers", _LAYERS)
        batch = max(round(self.training.batch_size * trial.suggest_categorical("batch_factor", _BATCH_FACTORS)), 1)
        training = replace(self.training, learning_rate=float(f"{rate:.4g}"), batch_size=batch)
        return Setting(self.sized(layers, dropout), training, medians)

    def _tell(self, study: optuna.Study, trial: optuna.Trial, record: Record) -> list[list[float]]:
        """Tells Optuna what came out; gives the curve of a try that was finished, for the next medians."""
        best = record.measures.get("best")
        if not record.ok or best is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return []
        curve = criterion_curve(record.measures["history"], self.criterion)
        for epoch, value in enumerate(curve, start=1):
            trial.report(value, epoch)
        if record.measures.get("given_up"):
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return []
        study.tell(trial, best)
        return [curve]
