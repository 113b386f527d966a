"""Optimizers and learning rates. A rate is a function of the step and of the history: nothing to be saved."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from gatelab.core.config import TrainingConfig
from gatelab.training.averaging import AveragedSGD

PLATEAU_EPOCHS = 3
"""Epochs without a better criterion after which ``plateau`` halves the rate."""


def make_optimizer(parameters: Iterable[torch.nn.Parameter], training: TrainingConfig) -> torch.optim.Optimizer:
    """The optimizer by its name, its rate still to be set at every step."""
    rate, decay = training.learning_rate, training.weight_decay
    match training.optimizer:
        case "adam":
            return torch.optim.Adam(parameters, lr=rate, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, lr=rate, weight_decay=decay)
        case "sgd":
            return torch.optim.SGD(parameters, lr=rate, momentum=0.9, nesterov=True, weight_decay=decay)
        case "asgd":
            return AveragedSGD(parameters, rate, decay)
    raise AssertionError(training.optimizer)


def learning_rate(
    training: TrainingConfig, step: int, total_steps: int, history: Sequence[Mapping[str, Any]] = ()
) -> float:
    """The rate of optimizer step ``step`` (the first is 0) of ``total_steps``.

    Warm-up rises linearly and reaches the peak at step ``warmup_steps - 1``. After it, cosine falls as
    ``(1 + cos πt) / 2`` with t from 0 to 1 (Loshchilov & Hutter 2017, eq. 5, one cycle), and plateau halves after every
    ``PLATEAU_EPOCHS`` epochs without a better criterion.
    """
    if step < training.warmup_steps:
        return training.learning_rate * (step + 1) / training.warmup_steps
    if training.schedule == "cosine":
        done = (step - training.warmup_steps) / max(total_steps - training.warmup_steps, 1)
        return training.learning_rate * (1 + math.cos(math.pi * min(done, 1.0))) / 2
    if training.schedule == "plateau":
        return training.learning_rate * 0.5 ** halvings(history)
    return training.learning_rate


def halvings(history: Sequence[Mapping[str, Any]]) -> int:
    """How often plateau has halved the rate after the epochs of ``history``."""
    count = waited = 0
    for record in history:
        waited = 0 if record["improved"] else waited + 1
        if waited == PLATEAU_EPOCHS:
            count, waited = count + 1, 0
    return count
