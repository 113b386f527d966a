"""How far back does the gradient reach? ‖∂L_T/∂h_k‖ against the distance T − k, before training and through it.

By the chain rule ∂L_T/∂h_k = ∂L_T/∂h_T · ∂h_T/∂h_{T−1} ⋯ ∂h_{k+1}/∂h_k: a product of T − k Jacobians, whose norm falls
or grows about as fast as a power (Bengio et al. 1994, "Learning long-term dependencies with gradient descent is
difficult"; Pascanu et al. 2013, arXiv:1211.5063, eq. 5–7). The decay per step is that power's base, measured.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import nn

from gatelab.cells.cell import CELLS
from gatelab.core.config import ModelConfig
from gatelab.core.errors import TrainingError
from gatelab.core.random import generator, integer_seed
from gatelab.nn import recurrent, trace
from gatelab.report.page import Figure, Table
from gatelab.studies.experiment import Condition, Experiment, Findings
from gatelab.studies.questions import gradients_page
from gatelab.studies.questions.gradients_findings import summarise
from gatelab.studies.trials import Measured, Trial
from gatelab.studies.worker import Beat
from gatelab.training import use_threads

_TRACED = 32
"""Sequences over which a profile is averaged."""
_SCORED = 512
"""Sequences that the accuracy is counted on."""


# ---- one trial ---------------------------------------------------------------------------------------------------


class Recaller(nn.Module):
    """A recurrent layer that reads a sequence, and a logit from its last state."""

    def __init__(self, model: ModelConfig):
        super().__init__()
        self.layer = recurrent(model, input_size=2)
        self.head = nn.Linear(model.hidden_size, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x (T, B, 2)`` to logits ``(B,)``."""
        output, _ = self.layer(x)  # (T, B, H)
        return self.head(output[-1]).squeeze(1)  # (B,)


def recall(rng: np.random.Generator, length: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Delayed recall: the bit at the first step, marked there, is asked for after ``length`` − 1 steps of noise.

    Gives ``x (T, B, 2)``, value and mark, and the bits ``y (B,)``.
    """
    x = np.zeros((length, count, 2))  # (T, B, 2)
    x[..., 0] = rng.normal(size=(length, count))
    bits = rng.integers(0, 2, count)  # (B,)
    x[0, :, 0], x[0, :, 1] = 2 * bits - 1, 1
    return torch.from_numpy(x).float(), torch.from_numpy(bits).float()


def profiles(network: Recaller, x: torch.Tensor, y: torch.Tensor) -> dict[str, list[float]]:
    """log10 ‖∂L_b/∂s_k‖, mean over the items b, for each state s of the lowest layer: by distance 0 … T − 1, ``(T,)``.

    In float64, for a vanished gradient may be smaller than what float32 can hold.
    """
    network = copy.deepcopy(network).double()
    with trace(network) as traced:
        nn.functional.binary_cross_entropy_with_logits(network(x.double()), y.double(), reduction="sum").backward()
    scan = traced.only["l0"]
    found = {}
    for state in [name for name in ("h", "c") if name in scan.names]:
        with np.errstate(divide="ignore"):
            logs = np.log10(scan.gradient_norm(state).numpy()).mean(axis=1)  # (T,)
        found[state] = [round(float(value), 4) for value in logs[::-1]]
    return found


def measure(trial: Trial, folder: Path, beat: Beat) -> Measured:
    """Trains on delayed recall, and takes the gradient's profile at a few steps on the way.

    Raises:
        TrainingError: the loss is not finite.
    """
    setting = trial.configuration
    with use_threads(1), torch.random.fork_rng(devices=[]):
        torch.manual_seed(integer_seed(trial.seed, "init"))
        network = Recaller(_model(setting))
        traced = recall(generator(trial.seed, "traced"), setting["length"], _TRACED)
        taken = {0: profiles(network, *traced)}
        for step in _train(network, setting, trial.seed):
            beat(epoch=step, epochs=setting["steps"])
            if step in _moments(setting["steps"]):
                taken[step] = profiles(network, *traced)
        return Measured({"profiles": [{"step": step, **found} for step, found in taken.items()],
                         "accuracy": _accuracy(network, setting["length"], trial.seed)})  # fmt: skip


def _model(setting: Condition) -> ModelConfig:
    bias = setting["forget_bias"]
    init = setting["init"] if bias is None else f"{setting['init']}+forget_bias:{bias:g}"
    return ModelConfig(setting["cell"], setting["hidden_size"], setting["num_layers"], init=init)


def _train(network: Recaller, setting: Condition, seed: int) -> Iterable[int]:
    """Takes the optimizer's steps, and yields the number of each once it is done."""
    optimizer = torch.optim.Adam(network.parameters(), setting["learning_rate"])
    for step in range(1, setting["steps"] + 1):
        x, y = recall(generator(seed, "train", step), setting["length"], setting["batch_size"])
        loss = nn.functional.binary_cross_entropy_with_logits(network(x), y)
        if not torch.isfinite(loss):
            raise TrainingError(f"the loss is {float(loss)} at step {step}", fix="try a lower learning rate")
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), setting["clip_norm"])
        optimizer.step()
        yield step


def _moments(steps: int) -> set[int]:
    """When profiles are taken: at the end, after half of the steps, a quarter, …"""
    return {max(round(steps / 2**k), 1) for k in range(6)}


def _accuracy(network: Recaller, length: int, seed: int) -> float:
    x, y = recall(generator(seed, "scored"), length, _SCORED)
    with torch.no_grad():
        return float(((network(x) > 0) == (y > 0.5)).float().mean())


# ---- the study ---------------------------------------------------------------------------------------------------


class Gradients(Experiment):
    """‖∂L_T/∂h_k‖ by cell, initialisation, forget bias and depth."""

    name = "gradients"
    question = "How far back in time does the gradient reach, in which cell, and what changes that?"
    protocol = (
        "Task: delayed recall. The first step shows a bit and a mark, the others show noise; the bit is asked for "
        "after the last step, with cross-entropy. Nothing between helps: what is learned has come all the way.",
        "Measured: ‖∂L/∂h_k‖ of the lowest layer for every step k, in float64, as the mean of its logarithm over "
        f"{_TRACED} sequences; before the first step of training, and on the way. The decay per step is 10 to the "
        "slope of a least-squares line through log10 ‖∂L/∂h_k‖ over the distance T − k: 1 keeps the gradient, below it "
        "vanishes, above it explodes.",
        "One factor at a time is changed from torch's own start U(−1/√H, 1/√H), one layer. A forget bias is that of "
        "the gate that keeps the old state: the LSTM's f, the GRU's z. Intervals are 95 % percentile intervals of the "
        "median over seeds, from 9,999 bootstrap resamples. Trained with Adam at one learning rate, not tuned for "
        "each condition: what was not learned here may be learnable with other settings.",
    )
    seconds: ClassVar = {"quick": 45.0, "standard": 1200.0, "full": 15000.0}
    measured_by = staticmethod(measure)

    def conditions(self) -> Iterable[Condition]:
        """Every cell by initialisation, by forget bias where it has such a gate, and by depth."""
        inits = self.pick(
            ("orthogonal", "small_normal"), *[("orthogonal", "glorot", "small_normal", "small_normal:0.3")] * 2
        )
        biases = self.pick((0.0, 3.0), *[(0.0, 1.0, 3.0, 5.0)] * 2)
        depths = self.pick((3,), (2, 4), (2, 4))
        for cell in self.cells:
            yield self._condition(cell)
            yield from (self._condition(cell, init=init) for init in inits)
            if CELLS[cell].keeps is not None:
                yield from (self._condition(cell, forget_bias=bias) for bias in biases)
            yield from (self._condition(cell, num_layers=depth) for depth in depths)

    def _condition(
        self, cell: str, init: str = "torch", forget_bias: float | None = None, num_layers: int = 1
    ) -> Condition:
        return {
            "cell": cell,
            "init": init,
            "forget_bias": forget_bias,
            "num_layers": num_layers,
            "hidden_size": 32,
            "length": self.pick(40, 100, 200),
            "steps": self.pick(100, 600, 2000),
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
