"""What the study of large scale does in processes of their own; each prints one line of JSON.

    python -m gatelab.studies.questions.large_scale_process memory '{"…"}'
    torchrun --nproc-per-node 2 -m gatelab.studies.questions.large_scale_process share '{"…"}'

The memory of a pass can only be told in a process that has done nothing else before.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gatelab.core.config import ModelConfig, TrainingConfig
from gatelab.core.processes import leads
from gatelab.core.random import generator, integer_seed
from gatelab.core.task import Task
from gatelab.studies.questions import large_scale_series as series
from gatelab.training import fit, use_threads
from gatelab.training.distributed import Group, group
from gatelab.training.learner import Learner
from gatelab.training.memory import peak_memory

LENGTH = 100
"""Steps of the problem that several processes train on."""


def memory(given: Mapping[str, Any]) -> list[dict[str, float]]:
    """Trains along a file by truncated backpropagation, for each of ``passes``: memory, and CPU time of a step.

    Args:
        given: ``cell``, ``hidden_size``, ``streams``, and ``passes``: each a ``path``, a ``reading`` and a ``window``.
    """
    torch.manual_seed(0)
    network = series.Follower(given["cell"], given["hidden_size"])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    B = given["streams"]
    for _ in series.train(network, series.mapped(Path(given["passes"][0]["path"]), B)[:200], 100, optimizer):
        pass  # the first windows also compile and allocate
    return [_pass(network, optimizer, B, **each) for each in given["passes"]]


def _pass(network: series.Follower, optimizer: Any, B: int, path: str, reading: str, window: int) -> dict[str, float]:
    file = Path(path)
    read = {
        "pieces": lambda: series.pieces(file, B, max(series.PIECE // B // window, 1) * window),
        "map": lambda: series.mapped(file, B),
        "memory": lambda: np.fromfile(file, np.float32).reshape(-1, B, series.COLUMNS),
    }[reading]
    T = len(series.mapped(file, B))
    begun = time.process_time()
    with peak_memory() as used:
        for _ in series.train(network, read(), window, optimizer):
            pass
    return {"added_mb": used.added / 1e6, "step_us": (time.process_time() - begun) / T * 1e6}


def share(given: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """Trains a problem by all processes of this launch, with each batch of ``batches`` and each of ``sizes`` units.

    Args:
        given: ``cell``, ``batches`` (sequences of all processes together), ``sizes``, ``steps`` and ``epochs``.

    Returns:
        By batch and size: the first gradient, the last weights, and the time of a step in each epoch.
    """
    from gatelab.tasks.problems.config import ProblemConfig  # here, for whose memory is measured has no use for them
    from gatelab.tasks.problems.task import Problem

    found: list[list[dict[str, Any]]] = []
    with group() as together:
        for B in given["batches"]:
            task = Problem.open("adding", ProblemConfig(length=LENGTH, examples=B * given["steps"], held_out=B))
            training = replace(task.training_defaults(), batch_size=B, epochs=given["epochs"], patience=None)
            models = [ModelConfig(given["cell"], hidden_size=H) for H in given["sizes"]]
            found.append([_shared(task, model, training, together) for model in models])
    return found


def _shared(task: Task, model: ModelConfig, training: TrainingConfig, together: Group) -> dict[str, Any]:
    B = training.batch_size
    torch.manual_seed(integer_seed(0, "init"))
    learner = Learner(task, task.build(model), training, torch.device("cpu"), together)
    batch = together.share(next(iter(task.batches("train", B, generator(0, "first")))))
    learner.backward(learner.forward(batch, None), batch.size / B)
    gradient = torch.cat([p.grad.flatten() for p in learner.parameters if p.grad is not None])  # (P,)
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit(task, model, training, folder=folder)
    ends = [0.0, *(record["seconds"] for record in fitted.history)]
    steps = task.count("train", B)
    return {
        "gradient": gradient.tolist(),
        "weights": torch.cat([p.detach().flatten() for p in fitted.model.parameters()]).tolist(),
        "step_ms": (np.diff(ends) / steps * 1e3).tolist(),
    }


if __name__ == "__main__":
    with use_threads(1):
        found = {"memory": memory, "share": share}[sys.argv[1]](json.loads(sys.argv[2]))
    if leads():
        print(json.dumps(found))  # noqa: T201 - it is read by the study
