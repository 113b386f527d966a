"""How long a training will take, before it starts."""

from __future__ import annotations

import copy
import time

from gatelab.core.random import generator
from gatelab.training.learner import Learner

_STEPS = 3


def epoch_seconds(learner: Learner, seed: int) -> float:
    """Expected seconds of an epoch, from a few steps on a copy of the model, so that no result depends on it.

    What ``Task.validate`` takes is not in it, nor what several processes tell each other.
    """
    task, batch_size = learner.task, learner.training.batch_size
    probe = Learner(task, copy.deepcopy(learner.model).train(), learner.training, learner.device)  # alone
    times: list[float] = []
    for batch in task.batches("train", batch_size, generator(seed, "estimate")):
        began = time.monotonic()
        loss = probe.forward(learner.group.share(batch).to(probe.device), None)
        if loss.weight > 0:
            probe.backward(loss)
            probe.update(rate=0.0)
        times.append(time.monotonic() - began)
        if len(times) > _STEPS:
            break
    began = time.monotonic()
    next(probe.validation_losses(probe.model), None)
    validation = time.monotonic() - began
    step = min(times[1:], default=times[0])  # the first step also warms up
    return step * task.count("train", batch_size) + validation * task.count("validation", batch_size)
