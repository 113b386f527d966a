"""One trial of the study of stability: a training that is watched, whatever becomes of it.

A network that diverges is a result here, not a failure: the loop of ``gatelab.training`` would stop with an error, and
knows neither L-BFGS nor Hessian-free optimization.
"""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from gatelab.core.config import ModelConfig
from gatelab.core.random import generator, integer_seed
from gatelab.core.task import Batch
from gatelab.studies.training_trial import model_of, task_of
from gatelab.studies.trials import Measured, Trial
from gatelab.studies.worker import Beat
from gatelab.tasks.problems.task import Problem
from gatelab.training import use_threads
from gatelab.training.denormals import flush_denormals
from gatelab.training.learner import finite, parameter_count
from gatelab.training.optimizers import Objective, optimizer

_LOOKS = 40
"""How often the held-out loss is measured in a training."""
_SCORED = 1024
"""Held-out examples that are scored together."""


def measure(trial: Trial, folder: Path, beat: Beat) -> Measured:
    """Trains as often as the condition repeats (once where it only tries), each time from weights of its own.

    ``runs`` has what became of each training; ``test`` are means over them.

    Seconds are those that this thread computes: on a machine with nothing beside it the time on the wall, on a busy
    one what that would have been. Looking does not count.
    """
    condition = {name: value for name, value in trial.configuration.items() if name != "repeats"}
    repeats = 1 if trial.kind == "tune" else trial.configuration["repeats"]
    task = cast(Problem, task_of(condition))
    model = model_of(task, condition)
    with use_threads(1), flush_denormals(), torch.random.fork_rng(devices=[]):
        runs = [_run(task, model, condition, integer_seed(trial.seed, "repeat", repeat), beat)
                for repeat in range(repeats)]  # fmt: skip
    tests = [run["test"] for run in runs]
    return Measured({
        "chance": task.baselines()["chance"]("validation").metrics[_trained_on(tests[0])],
        "parameters": parameter_count(task.build(model)),
        "hidden_size": model.hidden_size,
        "score": min(run["best"] for run in runs),
        "test": {name: statistics.fmean(test[name] for test in tests) for name in tests[0]},
        "runs": runs,
    })  # fmt: skip


def _run(task: Problem, model: ModelConfig, condition: Mapping[str, Any], seed: int, beat: Beat) -> dict[str, Any]:
    """One training: why it ended, what was seen on the way, and the test of the weights that were best."""
    torch.manual_seed(integer_seed(seed, "init"))
    watched = Watched(task, task.build(model))
    stopped = train(watched, condition, seed, beat)
    network = watched.best_network()
    metrics = dict(task.evaluate(network, "test").metrics)
    return {
        "stopped": stopped,
        "curve": watched.curve,
        "best": watched.best,
        "test": {**metrics, "loss": metrics[_trained_on(metrics)]},
    }


def _trained_on(metrics: Mapping[str, float]) -> str:
    """The metric that training lessens."""
    return next(name for name in ("cross-entropy", "MSE") if name in metrics)


class Watched:
    """A network in training, seen from outside.

    ``curve`` has, of each look, ``steps``, ``seconds``, the held-out ``loss`` and the greatest gradient ``norm`` since
    the look before.
    """

    def __init__(self, task: Problem, network: nn.Module):
        self.task, self.network = task, network
        self.curve: dict[str, list[float]] = {"steps": [], "seconds": [], "loss": [], "norm": []}
        self.best = math.inf
        """The least held-out loss so far."""

    @torch.no_grad()
    def look(self, step: int, seconds: float, norm: float) -> None:
        """Measures the held-out loss, and keeps the weights where it was never less."""
        total = items = 0.0
        for batch in self.task.batches("validation", _SCORED):
            loss = self.task.loss(self.network, batch)
            total, items = total + float(loss.mean) * loss.weight, items + loss.weight
        for name, value in zip(self.curve, (step, seconds, total / items, norm), strict=True):
            self.curve[name].append(value)
        if total / items < self.best:
            self.best = total / items
            self._weights = copy.deepcopy(self.network.state_dict())

    def best_network(self) -> nn.Module:
        """The network with the weights that were best at a look."""
        self.network.load_state_dict(self._weights)
        return self.network

    def objective(self, batch: Batch) -> Objective:
        """The loss of a batch in its two parts."""
        answer, x, y = self.task.definition.answer, batch.x, batch.y  # type: ignore[attr-defined]
        return Objective(lambda: self.network(x, len(y)), lambda out: answer.loss(out, y).mean())


def train(watched: Watched, condition: Mapping[str, Any], seed: int, beat: Beat) -> str:
    """Trains as ``condition`` says; tells why it ended: ``"steps"``, ``"time"`` or ``"not finite"``.

    A step that ends after the last second does not count.
    """
    _warm_up(watched, condition)
    made = [condition[name] for name in ("learning_rate", "clip_norm")]
    method = optimizer(condition["optimizer"], watched.network, *made)
    steps, limit = condition["max_steps"] or math.inf, condition["max_seconds"] or math.inf
    seconds, looked, norm = 0.0, 0, 0.0
    watched.look(0, 0.0, 0.0)
    begun = time.thread_time()
    for step, batch in enumerate(_batches(watched.task, condition["batch_size"], seed), start=1):
        seen = method.step(watched.objective(batch))
        seconds, begun = seconds + time.thread_time() - begun, time.thread_time()
        norm = max(norm, seen.norm)
        if not finite(*seen):
            return "not finite"
        if seconds > limit:
            return "time"
        if max(step / steps, seconds / limit) * _LOOKS >= looked + 1:
            watched.look(step, seconds, norm)
            beat(epoch=step, loss=seen.loss)
            looked, norm = int(max(step / steps, seconds / limit) * _LOOKS), 0.0
            begun = time.thread_time()
        if step >= steps:
            return "steps"
    raise AssertionError("batches never end")


def _batches(task: Problem, batch_size: int, seed: int) -> Iterator[Batch]:
    """Batches of one epoch after the other, without an end."""
    for epoch in count():
        yield from task.batches("train", batch_size, generator(seed, "order", epoch))


def _warm_up(watched: Watched, condition: Mapping[str, Any]) -> None:
    """A step of a copy: what is compiled or loaded at the first call is no part of a method's time."""
    if condition["max_seconds"] is not None:
        batch = next(_batches(watched.task, 2, 0))
        twin = Watched(watched.task, copy.deepcopy(watched.network))
        optimizer(condition["optimizer"], twin.network, condition["learning_rate"]).step(twin.objective(batch))
