"""The measure of most question studies: train the condition's cell on the condition's task, and score it.

A condition is flat, and every entry goes where its name belongs:

    {"task": "forecasting", "source": "etth1", "horizon": 24,              how the task is opened
     "cell": "lstm", "hidden_size": 32, "init": "torch+forget_bias:1",     ``core.config.ModelConfig``
     "learning_rate": 3e-3, "epochs": 20}                                  ``core.config.TrainingConfig``

- ``parameters`` instead of ``hidden_size``: the size at which the cell's model has about that many numbers to learn;
- ``baseline`` instead of a cell: the task's baseline of that name (for ``Experiment.baselines``);
- training settings that are not there are the task's own (``Task.training_defaults``).

It measures what ``compare`` measures (``studies.measure.TaskMeasure``: ``validation.…`` and ``test.…`` metrics,
``train_seconds``, ``steps``, ``parameters``, ``added_memory_mb``, ``history``, …), ``hidden_size``, and ``score``: the
best validation criterion with the sign that makes less better.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from gatelab.core.config import ModelConfig, TrainingConfig, from_options, to_dict
from gatelab.core.task import Task
from gatelab.studies.budgets import Sizes
from gatelab.studies.measure import TaskMeasure
from gatelab.studies.trials import Measured, Trial
from gatelab.studies.worker import Beat
from gatelab.tasks import TASKS

_OPENING = ("task", "source")
_OTHER = ("parameters", "baseline")


def train_on_task(trial: Trial, folder: Path, beat: Beat) -> Measured:
    """Trains (or goes on training) and scores; see the top of this page.

    Raises:
        InputError: the condition has an entry that is none of task, model and training.
        TrainingError: training failed, or the result is not a finite number.
    """
    task = task_of(trial.configuration)
    if trial.kind == "baseline":
        return TaskMeasure(task)(trial, folder, beat)
    model, training = model_of(task, trial.configuration), training_of(task, trial.configuration)
    plain = {"model": to_dict(model), "training": to_dict(training)}
    measured = TaskMeasure(task)(replace(trial, configuration=plain), folder, beat)
    sign = 1 if task.criterion.goal == "min" else -1
    best = measured.measures["best"]
    more = {"score": None if best is None else sign * best, "hidden_size": model.hidden_size}
    return Measured({**measured.measures, **more})


def task_of(condition: Mapping[str, Any]) -> Task:
    """The task that a condition is about, opened once in each process."""
    known = {*_OPENING, *_OTHER, *(field.name for kind in (ModelConfig, TrainingConfig) for field in fields(kind))}
    options = {name: value for name, value in condition.items() if name not in known}
    return _opened(condition["task"], condition.get("source"), json.dumps(options, sort_keys=True))


def model_of(task: Task, condition: Mapping[str, Any]) -> ModelConfig:
    """The network of a condition, its size solved for where the condition names a number of parameters."""
    model = ModelConfig(**_fields_of(ModelConfig, condition))
    if condition.get("parameters") is None:
        return model
    return Sizes(task).solve(model.cell, model, condition["parameters"])


def training_of(task: Task, condition: Mapping[str, Any]) -> TrainingConfig:
    """How a condition trains: the task's own settings, but for those it names."""
    return replace(task.training_defaults(), threads=1, **_fields_of(TrainingConfig, condition))


def _fields_of(kind: type, condition: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: condition[field.name] for field in fields(kind) if field.name in condition}


@lru_cache(maxsize=2)
def _opened(task: str, source: Any, options: str) -> Task:
    kind = TASKS[task]
    return kind.open(source, from_options(kind.Config, json.loads(options)))
