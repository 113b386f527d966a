"""How far back does the gradient reach? ‖∂L_T/∂h_k‖ against the distance T − k, before training and through it.

By the chain rule ∂L_T/∂h_k = ∂L_T/∂h_T · ∂h_T/∂h_{T−1} ⋯ ∂h_{k+1}/∂h_k: a product of T − k Jacobians, whose norm falls
or grows about as fast as a power (Bengio et al. 1994, "Learning long-term dependencies with gradient descent is
difficult"; Pascanu et al. 2013, arXiv:1211.5063, eq. 5–7). The decay per step is that power's base, measured.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import nn

from gatelab.cells.cell import CELLS
from gatelab.core.config import TrainingConfig
from gatelab.core.errors import TrainingError
from gatelab.core.random import generator, integer_seed
from gatelab.core.task import Batch, Task
from gatelab.nn import trace
from gatelab.report.page import Figure, Table
from gatelab.studies.experiment import Condition, Experiment, Findings
from gatelab.studies.questions import gradients_page
from gatelab.studies.questions.gradients_findings import summarise
from gatelab.studies.training_trial import model_of, task_of, training_of
from gatelab.studies.trials import Measured, Trial
from gatelab.studies.worker import Beat
from gatelab.training import use_threads
from gatelab.training.learner import Learner, finite

TRACED = 32
"""Sequences over which a profile is averaged."""


# ---- one trial ---------------------------------------------------------------------------------------------------


def measure(trial: Trial, folder: Path, beat: Beat) -> Measured:
    """Trains the cell on recall for one epoch, and takes the gradient's profile at a few steps on the way.

    Raises:
        TrainingError: the loss is not finite.
    """
    task = task_of(trial.configuration)
    training = training_of(task, trial.configuration)
    with use_threads(1), torch.random.fork_rng(devices=[]):
        torch.manual_seed(integer_seed(trial.seed, "init"))
        network = task.build(model_of(task, trial.configuration))
        traced = next(iter(task.batches("train", TRACED, generator(trial.seed, "traced"))))
        taken = [{"step": 0, **profiles(task, network, traced)}]
        steps = task.count("train", training.batch_size)
        for step in _trained(task, network, training, trial.seed):
            beat(epoch=step, epochs=steps)
            if step in _moments(steps):
                taken.append({"step": step, **profiles(task, network, traced)})
        return Measured({"test": dict(task.evaluate(network, "test").metrics), "profiles": taken})


def profiles(task: Task, network: nn.Module, batch: Batch) -> dict[str, list[float]]:
    """log10 ‖∂L_b/∂s_k‖, mean over the items b, for each state s of the lowest layer: by distance 0, 1, …: ``(T,)``.

    In float64, for a vanished gradient may be smaller than what float32 can hold.
    """
    network, batch = copy.deepcopy(network).double(), replace(batch, x=batch.x.double())  # type: ignore[type-var]
    with trace(network) as traced:
        (task.loss(network, batch).mean * batch.size).backward()  # each item's own loss, not its share of the mean
    scan = traced.only["l0"]
    with np.errstate(divide="ignore"):
        logs = {state: np.log10(scan.gradient_norm(state).numpy()).mean(axis=1)  # (T,)
                for state in ("h", "c") if state in scan.names}  # fmt: skip
    return {state: [round(float(value), 4) for value in found[::-1]] for state, found in logs.items()}


def _trained(task: Task, network: nn.Module, training: TrainingConfig, seed: int) -> Iterator[int]:
    """Trains for one epoch at a constant rate, and yields the number of each step once it is taken."""
    learner = Learner(task, network, training, torch.device("cpu"))
    batches = task.batches("train", training.batch_size, generator(seed, "order", 0))
    for step, batch in enumerate(batches, start=1):
        loss = learner.forward(batch, None)
        if not finite(float(loss.mean.detach()), learner.backward(loss)):
            raise TrainingError(f"loss or gradient is not finite at step {step}", fix="try a lower learning rate")
        learner.update(training.learning_rate)
        yield step


def _moments(steps: int) -> set[int]:
    """When profiles are taken: at the end, after half of the steps, a quarter, …"""
    return {max(round(steps / 2**k), 1) for k in range(6)}


# ---- the study ---------------------------------------------------------------------------------------------------


class Gradients(Experiment):
    """‖∂L_T/∂h_k‖ by cell, initialisation, forget bias and depth."""

    name = "gradients"
    question = "How far back in time does the gradient reach, in which cell, and what changes that?"
    protocol = (
        "Task: recall. The first step shows a bit and a mark, T steps of noise follow, and the bit is asked for after "
        "the last, with cross-entropy. Nothing between helps: what is learned has come all the way.",
        "Measured: ‖∂L/∂h_k‖ of the lowest layer for every step k, in float64, as the mean of its logarithm over "
        f"{TRACED} sequences; before the first step of training, and on the way. The decay per step is 10 to the "
        "slope of a least-squares line through log10 ‖∂L/∂h_k‖ over the distance T − k: 1 keeps the gradient, below "
        "it vanishes, above it explodes.",
        "One factor at a time is changed from torch's own start U(−1/√H, 1/√H), one layer. A forget bias is that of "
        "the gate that keeps the old state: the LSTM's f, the GRU's z. Intervals of decays are 95 % percentile "
        "intervals of the median over seeds, from 9,999 bootstrap resamples.",
        "All are trained alike, with Adam at one learning rate and clipping, not tuned for each condition: what was "
        "not learned here may be learnable with other settings, or with more steps.",
    )
    seconds: ClassVar = {"quick": 75.0, "standard": 1200.0, "full": 19000.0}  # full: by steps and lengths
    measured_by = staticmethod(measure)

    def conditions(self) -> Iterable[Condition]:
        """Every cell by initialisation, by forget bias where it has such a gate, and by depth."""
        starts = self.pick(
            ["orthogonal", "small_normal"], *[["orthogonal", "glorot", "small_normal", "small_normal:0.3"]] * 2
        )
        biases = self.pick([0, 3], *[[0, 1, 3, 5]] * 2)
        for cell in self.cells:
            yield self._condition(cell)
            yield from (self._condition(cell, init=start) for start in starts)
            if CELLS[cell].keeps is not None:
                yield from (self._condition(cell, init=f"torch+forget_bias:{bias}") for bias in biases)
            yield from (self._condition(cell, num_layers=depth) for depth in self.pick([3], [2, 4], [2, 4]))

    def _condition(self, cell: str, init: str = "torch", num_layers: int = 1) -> Condition:
        return {
            "task": "problem",
            "source": "recall",
            "length": self.pick(30, 50, 100),
            "examples": 32 * self.pick(200, 1000, 4000),
            "held_out": 500,
            "cell": cell,
            "init": init,
            "num_layers": num_layers,
            "hidden_size": 32,
            "batch_size": 32,
            "learning_rate": 3e-3,
            "clip_norm": 1.0,
        }

    def label_of(self, condition: Condition) -> str:
        """The cell, and what is not as usual."""
        return gradients_page.label(condition)

    def findings(self, table: pd.DataFrame) -> dict[str, Any]:
        """Decay, curves and accuracy of each condition; the cells beside each other; what the decay foretells."""
        return summarise(table)

    def verdict(self, findings: Findings) -> Sequence[str]:
        """What vanishes, in which cell least, what helps, and whether it matters."""
        return gradients_page.verdict(findings)

    def figures(self, findings: Findings) -> dict[str, Figure]:
        """Curves over the distance, decay by condition, maps over training, decay beside accuracy."""
        return gradients_page.figures(findings)

    def tables(self, findings: Findings) -> dict[str, Table]:
        """Every condition."""
        return gradients_page.tables(findings)
