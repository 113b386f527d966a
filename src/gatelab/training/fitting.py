"""``fit``: one training from a task and its settings to a finished run folder, by one process or by several."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gatelab.core.config import ModelConfig, TrainingConfig
from gatelab.core.errors import InputError, NoSpaceError
from gatelab.core.files import free_bytes, writable_folder
from gatelab.core.random import integer_seed
from gatelab.core.task import Task
from gatelab.core.versions import versions
from gatelab.training import checkpoints, devices, tensors
from gatelab.training.denormals import flush_denormals
from gatelab.training.distributed import Group, group
from gatelab.training.events import Event, Listener, Warned
from gatelab.training.learner import Learner, parameter_count
from gatelab.training.locks import alone_in
from gatelab.training.loop import Trainer
from gatelab.training.runs import Run, check_same, describe, environment, flat
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

    Under torchrun, and wherever torch's default process group is there, all processes train one model
    (``training.distributed``): call it with the same arguments in each. The first alone uses the folder, and the
    model is the same in all.

    Args:
        folder: the run folder. One that holds the same run unfinished is resumed, and finished is only read: on the
            CPU the weights are bit for bit those of a run that was never cut short.
        initial: weights to start from, by name, instead of a fresh initialisation.
        listeners: called with each event (``training.events``), in order.
        resume: False begins again and replaces a run in the folder.

    Raises:
        InputError: a device that is not here, a folder that cannot be written to, weights that do not fit.
        NoSpaceError: the disk is full, or will be.
        RunError: the folder holds a run with other settings, or a damaged one; or the processes do not do the same.
        TrainingError: a loss or gradient is not finite, or another process has ended; the folder keeps what was done.
        KeyboardInterrupt: after SIGINT; SystemExit after SIGTERM; both after a checkpoint.
    """
    device = devices.find_device(training.device, training.precision)
    with (
        group() as together,
        use_threads(training.threads),
        flush_denormals(),
        devices.own_streams(device),
        ExitStack() as stack,
    ):
        board = [TensorBoard(Path(folder) / "tensorboard")] if training.tensorboard and together.leads else []

        def emit(event: Event) -> None:
            for listener in (*listeners, *board):
                listener(event)

        devices.seed_torch(device, integer_seed(seed, "init"))
        with _room_for(model):
            network = _initial(task.build(model), initial)
        asked = describe(task, model, training, seed, _digest(initial), together.size)
        _check_shared(together, asked, task, training)
        together.told(lambda: stack.enter_context(_alone_in(Path(folder), resume)))
        run = together.told(lambda: _run_in(Path(folder), task, asked, network, resume, emit))
        network = devices.on_device(network, device, training.precision)
        together.follow(network)
        if run.outcome is None:
            Trainer(Learner(task, network, training, device, together), run, emit).train(estimate=bool(listeners))
        return _fitted(together, run, network)


@contextmanager
def _room_for(model: ModelConfig) -> Iterator[None]:
    """Says in words that a model does not fit into the memory, where torch says so in its own."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate" not in str(error):
            raise
        raise InputError(
            "the model does not fit into the memory",
            got=f"{model.num_layers:,} layers of {model.hidden_size:,} units",
            fix="use a smaller --hidden-size or --num-layers",
        ) from error


def _alone_in(folder: Path, resume: bool) -> AbstractContextManager[None]:
    """Keeps others out of the folder, unless what is in it is only going to be read."""
    finished = resume and Run.exists(folder) and Run.open(folder).outcome is not None
    return nullcontext() if finished else alone_in(folder)


def _digest(initial: Mapping[str, torch.Tensor] | None) -> str | None:
    return None if initial is None else tensors.fingerprint(initial)


def _check_shared(group: Group, asked: Mapping[str, Any], task: Task, training: TrainingConfig) -> None:
    """Refuses to train in processes that would not do the same, or that would have nothing to do."""
    if training.batch_size < group.size:
        raise InputError(
            "there are more processes than sequences in a batch",
            expected=f"a batch size of at least {group.size}",
            got=training.batch_size,
            fix="use a larger --batch-size, or start fewer processes",
        )
    data = {
        "the data": hashlib.sha256(json.dumps(task.state(), sort_keys=True).encode()).hexdigest()[:12],
        "training batches": task.count("train", training.batch_size),
        "validation batches": task.count("validation", training.batch_size),
    }
    group.agree({**flat(asked), **data, **versions("torch")})


def _run_in(
    folder: Path, task: Task, asked: Mapping[str, Any], network: torch.nn.Module, resume: bool, emit: Listener
) -> Run:
    """The run to go on with, checked to be the one that is asked for, or a new one where there is none."""
    if not (resume and Run.exists(folder)):
        _check_space(writable_folder(folder), network)
        return Run.create(folder, asked, task.state())
    run = Run.open(folder)
    check_same(run, asked, task.state())
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


def _fitted(group: Group, run: Run, network: torch.nn.Module) -> Fitted:
    state, history, outcome = group.told(lambda: (run.model_state(), run.history(), run.outcome))
    network.load_state_dict(state)
    assert outcome is not None
    return Fitted(folder=run.folder, model=network.eval(), history=history, **outcome)
