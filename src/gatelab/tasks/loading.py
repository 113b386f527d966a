"""From a run folder back to a model that predicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from gatelab.core.config import TrainingConfig, from_dict
from gatelab.core.errors import RunError
from gatelab.core.random import integer_seed
from gatelab.core.task import Task
from gatelab.tasks import TASKS
from gatelab.training import devices
from gatelab.training.runs import Run, reading


class Loaded(NamedTuple):
    """A trained model and what it was trained for."""

    task: Task
    """Without data: able to ``predict``."""
    model: Any
    """``torch.nn.Module`` with the best weights, in evaluation mode."""
    run: Run


def load(folder: str | Path, device: str = "cpu") -> Loaded:
    """Opens a run folder, checks it, and gives the model back.

    Raises:
        RunError: the folder is incomplete, altered, unfinished or from a newer version.
        InputError: the device is not here.
    """
    run = Run.open(folder)
    weights = run.model_state()
    with reading(run.folder / "config.toml"):
        kind = TASKS[run.task_name]
        config = from_dict(kind.Config, run.task_config)
    with reading(run.folder / "task.json"):
        task = kind.restore(config, run.task_state)
    precision = "float64" if run.training.precision == "float64" else "float32"
    where = devices.find_device(device, precision)
    with devices.own_streams(where):
        devices.seed_torch(where, integer_seed(run.seed, "init"))
        with reading(run.folder / "task.json"):
            model = devices.on_device(task.build(run.model), where, precision)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(
            f"the weights in {run.folder} do not fit the model that this gatelab builds",
            got=error,
            fix=f"use gatelab {run.manifest['gatelab']}, which wrote them, or train again",
        ) from error
    return Loaded(task, model.eval(), run)


def update_settings(training: TrainingConfig, epochs: int = 5, learning_rate: float | None = None) -> TrainingConfig:
    """How to go on training with new rows: briefly, in smaller steps, so that they refine the weights.

    Args:
        training: of the model to update.
        epochs: passes over the new rows, at most.
        learning_rate: step size; a tenth of the first training's by default.
    """
    rate = learning_rate if learning_rate is not None else training.learning_rate / 10
    return replace(training, epochs=epochs, learning_rate=rate, max_steps=None, max_seconds=None)


def on(training: TrainingConfig, device: str) -> TrainingConfig:
    """The same training on another device; mixed precision, which only CUDA has, becomes float32 elsewhere."""
    mixed = training.precision == "mixed" and not device.startswith("cuda")
    return replace(training, device=device, precision="float32" if mixed else training.precision)
