"""What a step of training costs: time of models that take turns, memory of a pass in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from gatelab.bench.timing import Contender, alternate
from gatelab.core.random import generator, integer_seed
from gatelab.core.task import Batch, Task
from gatelab.studies.training_trial import model_of, training_of
from gatelab.training import use_threads
from gatelab.training.denormals import flush_denormals
from gatelab.training.learner import Learner

_RATE = 1e-6  # so little that many rounds leave the weights what they are


def step_times(task: Task, conditions: Sequence[Mapping[str, Any]], seconds: float) -> list[list[float]]:
    """Milliseconds of one optimizer step (forward, backward, update) on one batch and one thread.

    Args:
        task: what is learned.
        conditions: the models, as ``training_trial`` takes them; they take turns, A B A B, in this process.
        seconds: time to spend.

    Returns:
        For each condition its time in every round.
    """
    return turns([(task, condition) for condition in conditions], seconds)


def turns(models: Sequence[tuple[Task, Mapping[str, Any]]], seconds: float) -> list[list[float]]:
    """The same for models of several tasks, each on a batch of its own task."""
    with use_threads(1), flush_denormals(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(integer_seed(0, "init"))
        steps = [_stepping(task, condition) for task, condition in models]
        rounds = 1e3 * alternate([Contender(str(at), step) for at, step in enumerate(steps)], seconds)  # (R, K)
    return [column.round(4).tolist() for column in rounds.T]


def _stepping(task: Task, condition: Mapping[str, Any]) -> Callable[[], dict[str, Any]]:
    training = training_of(task, condition)
    batch = next(iter(task.batches("train", training.batch_size, generator(0, "costs"))))
    learner = Learner(task, task.build(model_of(task, condition)), training, torch.device("cpu"))
    return partial(_step, learner, batch)


def _step(learner: Learner, batch: Batch) -> dict[str, Any]:
    learner.backward(learner.forward(batch, None))
    learner.update(_RATE)
    return {}
