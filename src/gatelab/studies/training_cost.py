"""What a step of training costs: time of models that take turns, memory of a pass in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    training = training_of(task, conditions[0])
    batch = next(iter(task.batches("train", training.batch_size, generator(0, "costs"))))
    with use_threads(1), flush_denormals(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(integer_seed(0, "init"))
        learners = [Learner(task, task.build(model_of(task, condition)), training_of(task, condition),
                            torch.device("cpu")) for condition in conditions]  # fmt: skip
        contenders = [Contender(str(at), partial(_step, learner, batch)) for at, learner in enumerate(learners)]
        rounds = 1e3 * alternate(contenders, seconds)  # (R, K)
    return [column.round(4).tolist() for column in rounds.T]


def _step(learner: Learner, batch: Batch) -> dict[str, Any]:
    learner.backward(learner.forward(batch, None))
    learner.update(_RATE)
    return {}
