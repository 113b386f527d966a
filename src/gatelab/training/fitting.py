"""``fit``: one training from a task and its settings to a finished run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gatelab.core.config import ModelConfig, TrainingConfig
from gatelab.core.errors import InputError, NoSpaceError
from gatelab.core.files import free_bytes, writable_folder
from gatelab.core.random import integer_seed
from gatelab.core.task import Task
from gatelab.training import checkpoints, devices, tensors
from gatelab.training.denormals import flush_denormals
from gatelab.training.events import Event, Listener, Warned
from gatelab.training.learner import Learner, parameter_count
from gatelab.training.loop import Trainer
from gatelab.training.runs import Run, check_same, describe, environment
from gatelab.training.tensorboard import TensorBoard
from gatelab.training.threads import use_threads

_SPARE_BYTES = 16 << 20


@dataclass(frozen=True)
class Fitted:
    """A complete training."""

    folder: Path
    model: torch.nn.Module
    """With the best weights, in evaluation mode, on the device it was trained on."""
    history: list[dict[str, Any]]
    """One record an epoch: epoch, step, seconds, train_loss, validation_loss, learning_rate, gradient_norm (mean),
    gradient_norm_p95, gradient_norm_max, clipped (fraction of steps), improved, and what ``Task.validate`` gives."""
    best_epoch: int
    best: float | None
    """The criterion at the best epoch; None where the validation part has nothing to score."""
    seconds: float
    """Time in the loop, validation and checkpoints included, over all resumptions."""
    steps: int
    stopped: str
    """Why: ``epochs``, ``patience``, ``time`` or ``steps``."""

    @property
    def parameters(self) -> int:
        """Numbers that were learned."""
        return parameter_count(self.model)


def fit(
    task: Task,
    model: ModelConfig,
    training: TrainingConfig,
    *,
    seed: int = 0,
    folder: str | Path,
    initial: Mapping[str, torch.Tensor] | None = None,
    listeners: Sequence[Listener] = (),
    resume: bool = True,
) -> Fitted:
    """Trains a model on a task, or goes on with a training that was cut short.

    Args:
        folder: the run folder. One that holds the same run unfinished is resumed, and finished is only read: on the
            CPU the weights are bit for bit those of a run that was never cut short.
        initial: weights to start from, by name, instead of a fresh initialisation.
        listeners: called with each event (``training.events``), in order.
        resume: False begins again and replaces a run in the folder.

    Raises:
        InputError: a device that is not here, a folder that cannot be written to, weights that do not fit.
        NoSpaceError: the disk is full, or will be.
        RunError: the folder holds a run with other settings, or a damaged one.
        TrainingError: a loss or gradient is not finite; the folder keeps what was done.
        KeyboardInterrupt: after SIGINT; SystemExit after SIGTERM; both after a checkpoint.
    """
    device = devices.find_device(training.device, training.precision)
    board = [TensorBoard(Path(folder) / "tensorboard")] if training.tensorboard else []

    def emit(event: Event) -> None:
        for listener in (*listeners, *board):
            listener(event)

    with use_threads(training.threads), flush_denormals(), devices.own_streams(device):
        devices.seed_torch(device, integer_seed(seed, "init"))
        network = _initial(task.build(model), initial)
        run = _run_in(Path(folder), task, model, training, seed, network, initial, resume, emit)
        network = devices.on_device(network, device, training.precision)
        if run.outcome is None:
            Trainer(Learner(task, network, training, device), run, emit).train(estimate=bool(listeners))
        return _fitted(run, network)


def _run_in(
    folder: Path,
    task: Task,
    model: ModelConfig,
    training: TrainingConfig,
    seed: int,
    network: torch.nn.Module,
    initial: Mapping[str, torch.Tensor] | None,
    resume: bool,
    emit: Listener,
) -> Run:
    """The run to go on with, checked to be the same, or a new one where there is none."""
    digest = tensors.fingerprint(initial) if initial is not None else None
    if not (resume and Run.exists(folder)):
        _check_space(writable_folder(folder), network)
        return Run.create(folder, task, model, training, seed, digest)
    run = Run.open(folder)
    check_same(run, describe(task, model, training, seed, digest), task.state())
    before, now = run.environment["libraries"], environment()["libraries"]
    changed = [f"{name} {before.get(name)} → {now[name]}" for name in now if before.get(name) != now[name]]
    if changed and run.outcome is None:
        emit(Warned(f"resumed under other versions ({', '.join(changed)}): the last bits of the weights may differ"))
    return run


def _initial(network: torch.nn.Module, initial: Mapping[str, torch.Tensor] | None) -> torch.nn.Module:
    if initial is not None:
        try:
            network.load_state_dict(dict(initial))
        except RuntimeError as error:
            raise InputError(
                "the initial weights do not fit the model",
                got=error,
                fix="use the model settings they were trained with",
            ) from error
    return network


def _check_space(folder: Path, network: torch.nn.Module) -> None:
    """Room for the latest two checkpoints and one being written, of weights, best weights and two moments each."""
    weights = sum(entry.numel() * entry.element_size() for entry in network.state_dict().values())
    needed = (checkpoints.KEPT + 1) * 4 * weights + weights + _SPARE_BYTES
    if (free := free_bytes(folder)) < needed:
        raise NoSpaceError(
            f"there is too little space left for the run in {folder}",
            expected=f"{needed / 1e6:,.0f} MB",
            got=f"{free / 1e6:,.0f} MB",
            fix="free some space, or name a folder on another disk with --out",
        )


def _fitted(run: Run, network: torch.nn.Module) -> Fitted:
    network.load_state_dict(run.model_state())
    assert run.outcome is not None
    return Fitted(folder=run.folder, model=network.eval(), history=run.history(), **run.outcome)
