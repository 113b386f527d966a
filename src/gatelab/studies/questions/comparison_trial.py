"""The trials of the comparison: a cell trained, the simple methods beside it, and what a step of training costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gatelab.bench.harness import Shape
from gatelab.bench.suites.long import added_memory
from gatelab.bench.timing import Contender, alternate
from gatelab.core.random import generator, integer_seed
from gatelab.core.task import Batch, Task
from gatelab.studies.training_trial import model_of, task_of, train_on_task, training_of
from gatelab.studies.trials import Measured, Trial
from gatelab.studies.worker import Beat
from gatelab.training import use_threads
from gatelab.training.denormals import flush_denormals
from gatelab.training.learner import Learner
from gatelab.training.runs import Run

OTHER_PLACE = {"gru": "gru_reset_before", "gru_reset_before": "gru"}
"""The GRU with its reset gate in the other place: the same parameters, another function."""
_SECONDS = 3.0  # of taking turns


def measure(trial: Trial, folder: Path, beat: Beat) -> Measured:
    """Does what the condition asks for: ``cells`` to be timed, else ``baseline`` or a cell to be trained.

    Raises:
        InputError: the condition has an entry that is none of task, model and training.
        TrainingError: training failed, or the result is not a finite number.
        GatelabError: memory could not be measured.
    """
    condition = flat(trial.configuration)
    if "cells" in condition:
        return Measured(costs(condition, condition.pop("cells"), beat))
    if trial.kind == "baseline":
        return Measured(baselines(task_of(condition), beat))
    return trained(replace(trial, configuration=condition), folder, beat)


def flat(condition: Mapping[str, Any]) -> dict[str, Any]:
    """The condition as ``training_trial`` takes it: ``data`` is but a name, and ``settings`` lie beside the rest."""
    return {**condition["settings"], **{k: v for k, v in condition.items() if k not in ("data", "settings")}}


# ---- a cell, and simple methods ----------------------------------------------------------------------------------


def trained(trial: Trial, folder: Path, beat: Beat) -> Measured:
    """What ``train_on_task`` measures, the ``error`` by the task's first metric, and for a GRU the error ``swapped``:
    of the same weights with the reset gate in the other place."""
    measured = train_on_task(trial, folder, beat)
    if trial.kind == "tune":
        return measured
    task, cell = task_of(trial.configuration), trial.configuration["cell"]
    more = {**_metric(task), "error": measured.measures["test"][task.metrics[0].name]}
    if cell in OTHER_PLACE:
        beat()
        more["swapped"] = _swapped(task, {**trial.configuration, "cell": OTHER_PLACE[cell]}, folder)
    return Measured({**measured.measures, **more})


def baselines(task: Task, beat: Beat) -> dict[str, Any]:
    """The error of every baseline of the task on its test part, by name."""
    found = {}
    with use_threads(1):
        for name, evaluate in task.baselines().items():
            found[name] = evaluate("test").metrics[task.metrics[0].name]
            beat()
    return {**_metric(task), "errors": found}


def _metric(task: Task) -> dict[str, Any]:
    metric = task.metrics[0]
    return {"metric": metric.name, "unit": metric.unit}


def _swapped(task: Task, condition: Mapping[str, Any], folder: Path) -> float:
    with use_threads(1), torch.random.fork_rng(devices=[]):
        network = task.build(model_of(task, condition))
        network.load_state_dict(Run.open(folder).model_state())
        return task.evaluate(network.eval(), "test").metrics[task.metrics[0].name]


# ---- what a step costs -------------------------------------------------------------------------------------------


def costs(condition: Mapping[str, Any], cells: Sequence[str], beat: Beat) -> dict[str, Any]:
    """Time and memory of one step of training: a batch forward, back, and the weights updated.

    Times are of cells that take turns, A B A B, in one process on one thread and one batch; memory is what a forward
    and a backward pass of the layer, whole sequences at once, adds at its peak to a process that does nothing else.

    Returns:
        ``rounds``: for each cell milliseconds in every round; ``memory_mb`` by cell; ``steps``: of time, T.
    """
    task = task_of(condition)
    training = training_of(task, condition)
    batch = next(iter(task.batches("train", training.batch_size, generator(0, "costs"))))
    with use_threads(1), flush_denormals(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(integer_seed(0, "init"))
        learners = {cell: _learner(task, {**condition, "cell": cell}) for cell in cells}
        beat()
        contenders = [Contender(cell, partial(_step, learner, batch)) for cell, learner in learners.items()]
        rounds = 1e3 * alternate(contenders, _SECONDS)  # (R, K)
    return {
        "rounds": {cell: column.round(4).tolist() for cell, column in zip(cells, rounds.T, strict=True)},
        "memory_mb": {cell: _memory(learner, batch, beat) for cell, learner in learners.items()},
        "steps": batch.steps,
    }


def _learner(task: Task, condition: Mapping[str, Any]) -> Learner:
    network = task.build(model_of(task, condition))
    return Learner(task, network, training_of(task, condition), torch.device("cpu"))


def _step(learner: Learner, batch: Batch) -> Mapping[str, Any]:
    learner.backward(learner.forward(batch, None))
    learner.update(1e-6)  # so little that many rounds leave the weights what they are
    return {}


def _memory(learner: Learner, batch: Batch, beat: Beat) -> float:
    layer: Any = learner.model.encoder
    beat()
    return added_memory(layer.cell, Shape(batch.size, batch.steps, layer.input_size, layer.hidden_size), batch.steps)
