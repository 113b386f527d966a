"""What one trial of ``compare`` does: train and evaluate a cell, try a setting, or evaluate a baseline."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gatelab.core.config import ModelConfig, TrainingConfig, from_dict
from gatelab.core.errors import TrainingError
from gatelab.core.task import Evaluation, Task
from gatelab.studies.curves import best_so_far, criterion_curve, gives_up
from gatelab.studies.trials import Measured, Trial
from gatelab.studies.worker import Beat
from gatelab.training import fit, use_threads
from gatelab.training.events import EpochEnded, Event, Started, Stepped
from gatelab.training.memory import peak_memory

LATENCY_SECONDS = 0.3


class GivenUp(Exception):  # noqa: N818 - a signal, not an error
    """A try is worse than the median of those before it."""


@dataclass(frozen=True)
class TaskMeasure:
    """The measure of every study that trains models on one task."""

    task: Task

    def __call__(self, trial: Trial, folder: Path, beat: Beat) -> Measured:
        """Runs the trial; see ``train``, ``tune`` and ``baseline`` for what it measures.

        Raises:
            TrainingError: training failed, or the result is not a finite number.
        """
        with use_threads(1):
            return {"train": self.train, "tune": self.tune, "baseline": self.baseline}[trial.kind](trial, folder, beat)

    def train(self, trial: Trial, folder: Path, beat: Beat) -> Measured:
        """Trains (or goes on training), then evaluates the best weights on validation and test, and what they cost."""
        fitted, cost = self._fit(trial, folder, [Listener(beat)])
        parts = {part: self.task.evaluate(fitted.model, part) for part in ("validation", "test")}
        beat()
        measures = {part: dict(evaluation.metrics) for part, evaluation in parts.items()}
        self._check(measures)
        measures |= {**cost, "items": parts["test"].items, **latency(self.task, fitted.model)}
        return Measured(measures, _numeric(parts["test"]))

    def tune(self, trial: Trial, folder: Path, beat: Beat) -> Measured:
        """Trains on train and looks at validation; the test part is not touched."""
        listener = Listener(beat, self.task, trial.configuration.get("medians", ()))
        try:
            _, cost = self._fit(trial, folder, [listener])
            return Measured(cost)
        except GivenUp:
            curve = best_so_far(criterion_curve(listener.history, self.task.criterion), self.task.criterion)
            return Measured({"history": listener.history, "best": float(curve[-1]), "given_up": True})

    def baseline(self, trial: Trial, folder: Path, beat: Beat) -> Measured:
        """Evaluates a baseline on validation and test."""
        evaluate = self.task.baselines()[trial.configuration["baseline"]]
        begun = time.perf_counter()
        parts: dict[str, Evaluation] = {}
        for part in ("validation", "test"):
            parts[part] = evaluate(part)
            beat()
        measures: dict[str, Any] = {part: dict(evaluation.metrics) for part, evaluation in parts.items()}
        self._check(measures)
        measures |= {"seconds": time.perf_counter() - begun, "items": parts["test"].items}
        return Measured(measures, _numeric(parts["test"]))

    def _fit(self, trial: Trial, folder: Path, listeners: Sequence[Any]) -> tuple[Any, dict[str, Any]]:
        model = from_dict(ModelConfig, trial.configuration["model"])
        training = from_dict(TrainingConfig, trial.configuration["training"])
        with peak_memory() as memory:
            fitted = fit(self.task, model, training, seed=trial.seed, folder=folder, listeners=listeners)
        history = [dict(record) for record in fitted.history]
        return fitted, {
            "best": fitted.best,
            "best_epoch": fitted.best_epoch,
            "stopped": fitted.stopped,
            "train_seconds": fitted.seconds,
            "steps": fitted.steps,
            "parameters": fitted.parameters,
            "peak_memory_mb": memory.peak / 2**20,
            "added_memory_mb": memory.added / 2**20,
            "gradient_norm_spread": gradient_spread(history),
            "history": history,
        }

    def _check(self, measures: Mapping[str, Mapping[str, float]]) -> None:
        name = self.task.metrics[0].name
        for part in ("validation", "test"):
            if not np.isfinite(measures[part][name]):
                raise TrainingError(f"the {part} {name} is {measures[part][name]}", fix="try a lower learning rate")


class Listener:
    """Passes the loop's events on as signs of life, and gives a hopeless try up."""

    def __init__(self, beat: Beat, task: Task | None = None, medians: Sequence[float] = ()):
        self.beat, self.task, self.medians = beat, task, medians
        self.plan: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []

    def __call__(self, event: Event) -> None:
        """Hears one event.

        Raises:
            GivenUp: the try is worse than the median of those before it.
        """
        if isinstance(event, Started):
            self.plan = {"epochs": event.epochs, "estimate": event.estimate_seconds}
        if isinstance(event, Stepped):
            self.beat(epoch=event.epoch, **self.plan, loss=event.loss)
        if isinstance(event, EpochEnded):
            self.history = [dict(record) for record in event.history]
            self._epoch(event.record)

    def _epoch(self, record: Mapping[str, Any]) -> None:
        self.beat(epoch=record["epoch"], **self.plan, validation_loss=record["validation_loss"])
        if self.task is not None and self.medians:
            criterion = self.task.criterion
            best = best_so_far(criterion_curve(self.history, criterion), criterion)[-1]
            if gives_up(float(best), len(self.history), self.medians, criterion):
                raise GivenUp


def gradient_spread(history: Sequence[Mapping[str, Any]]) -> float | None:
    """How uneven gradients are: the 95th percentile of an epoch's gradient norms over their mean, median of epochs."""
    ratios = [record["gradient_norm_p95"] / record["gradient_norm"] for record in history
              if record.get("gradient_norm") and record.get("gradient_norm_p95")]  # fmt: skip
    return float(np.median(ratios)) if ratios else None


def latency(task: Task, model: Any) -> dict[str, float | None]:
    """Milliseconds for one sequence at a time (B = 1), whole and for each of its steps: the median of many."""
    batch = next(iter(task.batches("validation", 1)), None)
    if batch is None:
        return {"latency_ms": None, "step_latency_ms": None}
    batch = batch.to(next(model.parameters()).device)
    times: list[float] = []
    with torch.no_grad():
        task.loss(model, batch)  # the first call also allocates
        end = time.perf_counter() + LATENCY_SECONDS
        while not times or time.perf_counter() < end:
            begun = time.perf_counter()
            float(task.loss(model, batch).mean)  # the number itself: a GPU only takes orders until it is asked for one
            times.append(time.perf_counter() - begun)
    milliseconds = float(np.median(times)) * 1e3
    return {"latency_ms": milliseconds, "step_latency_ms": milliseconds / max(batch.steps, 1)}


def _numeric(evaluation: Evaluation) -> dict[str, np.ndarray]:
    return {name: np.asarray(array) for name, array in evaluation.arrays.items()}
