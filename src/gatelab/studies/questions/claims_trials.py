"""The trials behind the claims: a network trained, its gradient before training, or what its layers cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gatelab import nn as gatelab_nn
from gatelab.bench.timing import Contender, alternate
from gatelab.cells.cell import CELLS
from gatelab.core.errors import InputError, TrainingError
from gatelab.core.random import generator, integer_seed
from gatelab.studies.questions import gradients
from gatelab.studies.training_trial import model_of, task_of, train_on_task
from gatelab.studies.trials import Measured, Trial
from gatelab.studies.worker import Beat
from gatelab.training import use_threads
from gatelab.training.denormals import flush_denormals
from gatelab.training.learner import parameter_count

_OWN = ("data", "settings", "measured", "library")
_KINDS = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}
Kind = Callable[[int, int], nn.Module]
"""A layer from its input and hidden size."""
_TURNS_SECONDS = 1.0
_BATCH, _STEPS = 32, 100  # of the layers that are timed: B and T


def measure(trial: Trial, folder: Path, beat: Beat) -> Measured:
    """Does what the condition's ``measured`` says: ``training``, ``gradient`` or ``layers``.

    Raises:
        InputError: the condition has an entry that is none of task, model and training.
    """
    return _MEASURES[trial.configuration["measured"]](trial, folder, beat)


def flat(condition: Mapping[str, Any]) -> dict[str, Any]:
    """The condition as ``training_trial`` takes it."""
    rest = {name: value for name, value in condition.items() if name not in _OWN}
    return {**condition.get("settings", {}), **rest}


def trained(trial: Trial, folder: Path, beat: Beat) -> Measured:
    """What ``train_on_task`` measures.

    A training that ends in numbers that are not finite is a result here: it knows no more than chance does.
    """
    condition = flat(trial.configuration)
    try:
        return train_on_task(replace(trial, configuration=condition), folder, beat)
    except TrainingError as error:
        chance = task_of(condition).baselines().get("chance")
        if trial.kind == "tune" or chance is None:
            raise
        return Measured({"diverged": str(error), "test": dict(chance("test").metrics)})


def gradient(trial: Trial, folder: Path, beat: Beat) -> Measured:
    """The profile of the gradient before training, as the study of gradients takes it."""
    condition = flat(trial.configuration)
    task = task_of(condition)
    with use_threads(1), torch.random.fork_rng(devices=[]):
        torch.manual_seed(integer_seed(trial.seed, "init"))
        network = task.build(model_of(task, condition))
        traced = next(iter(task.batches("train", gradients.TRACED, generator(trial.seed, "traced"))))
        return Measured({"profiles": [{"step": 0, **gradients.profiles(task, network, traced)}]})


# ---- what layers cost --------------------------------------------------------------------------------------------


class Equal(NamedTuple):
    """Layers that are alike in one way: how many units an LSTM has, and the others beside it."""

    by: str
    layers: Mapping[str, nn.Module]


def layers(trial: Trial, folder: Path, beat: Beat) -> Measured:
    """Milliseconds of a forward and backward pass, and MB that it keeps, with as many units and as many parameters.

    Layers take turns, A B A B, on one thread and on the same ``x (T, B, H)``; the median of the turns.

    Raises:
        InputError: no such library.
    """
    kinds = _library(trial.configuration["library"])
    size, rng = trial.configuration["hidden_size"], generator(trial.seed, "layers")
    x = torch.from_numpy(rng.standard_normal((_STEPS, _BATCH, size), dtype=np.float32))  # (T, B, I)
    measured: dict[str, Any] = {}
    with use_threads(1), flush_denormals(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(integer_seed(trial.seed, "init"))
        for by, made in (_as_many_units(kinds, size), _as_many_parameters(kinds, size)):
            beat()
            turns = alternate([Contender(cell, partial(_pass, layer, x)) for cell, layer in made.items()],
                              _TURNS_SECONDS / 2)  # fmt: skip
            measured[by] = {
                "milliseconds": dict(zip(made, (1e3 * np.median(turns, axis=0)).tolist(), strict=True)),
                "megabytes": {cell: kept_bytes(layer, x) / 1e6 for cell, layer in made.items()},
                "parameters": {cell: parameter_count(layer) for cell, layer in made.items()},
            }
    return Measured({"library": trial.configuration["library"], "equal": measured})


def _library(name: str) -> dict[str, Kind]:
    libraries: Mapping[str, Any] = {"gatelab": gatelab_nn, "torch": nn}
    if name not in libraries:
        raise InputError(f"there are no layers of {name!r}", expected=f"one of {', '.join(libraries)}")
    return {cell: getattr(libraries[name], kind) for cell, kind in _KINDS.items()}


def _as_many_units(kinds: Mapping[str, Kind], size: int) -> Equal:
    return Equal("units", {cell: kind(size, size) for cell, kind in kinds.items()})


def _as_many_parameters(kinds: Mapping[str, Kind], size: int) -> Equal:
    """Each cell with the size that comes nearest to the parameters of an LSTM of ``size``."""

    def parameters(cell: str, units: int) -> int:
        return len(CELLS[cell].gates) * units * (size + units + 2)  # both matrices and both biases of each gate

    def nearest(cell: str) -> int:
        target = parameters("lstm", size)
        return min(range(size, 4 * size + 1), key=lambda units: abs(parameters(cell, units) - target))

    return Equal("parameters", {cell: kind(size, nearest(cell)) for cell, kind in kinds.items()})


def _pass(layer: nn.Module, x: Tensor) -> dict[str, Tensor]:
    layer.zero_grad(set_to_none=True)
    layer(x)[0].sum().backward()
    return {}


def kept_bytes(layer: nn.Module, x: Tensor) -> int:
    """Bytes that the forward pass keeps for the backward pass, weights and input not counted."""
    known = {value.untyped_storage().data_ptr() for value in (x, *layer.parameters())}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = layer(x)  # held until all is counted, so that no storage is used twice
    del output
    return sum(kept.values())


_MEASURES: Mapping[str, Callable[[Trial, Path, Beat], Measured]] = {
    "training": trained,
    "gradient": gradient,
    "layers": layers,
}
