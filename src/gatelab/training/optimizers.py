"""Optimizers by name behind one step on one batch: the loop's own, and those that it cannot use.

A batch is an ``Objective``: what the network says about it, and the loss of that. First-order methods see the gradient
of it; L-BFGS asks for it many times in a step; Hessian-free optimization needs its two parts.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gatelab.core.config import TrainingConfig
from gatelab.core.registry import Registry
from gatelab.training.hessian_free import HessianFree, LossOf, Outputs
from gatelab.training.schedules import make_optimizer

OPTIMIZERS = Registry(
    "optimizer",
    {name: f"gatelab.training.optimizers:{kind}" for name, kind in {
        "sgd": "Descent", "momentum": "Descent", "rmsprop": "Descent", "adam": "Descent", "adamw": "Descent",
        "muon": "Descent", "lbfgs": "QuasiNewton", "hessian_free": "GaussNewton",
    }.items()},
)  # fmt: skip
"""Every optimizer by name; each is made with ``(name, network, learning_rate, clip_norm)``."""


class Objective(NamedTuple):
    """A batch as a function of the weights: ``loss_of(outputs())``."""

    outputs: Outputs
    loss_of: LossOf


class Step(NamedTuple):
    """What was seen where a step began."""

    loss: float
    norm: float
    """Euclidean norm of the gradient, before it was clipped."""


class Optimizer(ABC):
    """Changes the weights of a network, a batch at a time.

    Args:
        name: as ``OPTIMIZERS`` has it.
        network: whose weights are learned.
        learning_rate: size of a step; what searches along a line begins there.
        clip_norm: longer gradients are scaled down to this norm (Pascanu et al. 2013); none: they are not.
    """

    def __init__(self, name: str, network: nn.Module, learning_rate: float, clip_norm: float | None = None):
        self.name, self.network, self.learning_rate, self.clip_norm = name, network, learning_rate, clip_norm
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]

    @abstractmethod
    def step(self, objective: Objective) -> Step:
        """One step; with what is not finite the weights may be anything after it."""


class Descent(Optimizer):
    """A step of ``torch.optim`` down the gradient of one batch.

    sgd is plain; momentum is Nesterov's, 0.9; adamw decays weights by 0.01; muon (Jordan et al. 2024) makes the steps
    of the recurrent layers' matrices orthogonal, scaled to the size of AdamW's (Liu et al. 2025, arXiv:2502.16982,
    section 2.2), and AdamW takes those of all else.
    """

    def __init__(self, name: str, network: nn.Module, learning_rate: float, clip_norm: float | None = None):
        super().__init__(name, network, learning_rate, clip_norm)
        self._optimizers = _made(name, network, learning_rate)

    def step(self, objective: Objective) -> Step:
        """Forward, backward, clip, update."""
        self.network.zero_grad()
        loss = objective.loss_of(objective.outputs())
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, math.inf if self.clip_norm is None else self.clip_norm)
        for optimizer in self._optimizers:
            optimizer.step()
        return Step(float(loss.detach()), float(norm))


def _made(name: str, network: nn.Module, rate: float) -> Sequence[torch.optim.Optimizer]:
    parameters = list(network.parameters())
    if name == "sgd":
        return [torch.optim.SGD(parameters, lr=rate)]
    if name == "muon":
        matrices = [p for key, p in network.named_parameters() if "weight_ih" in key or "weight_hh" in key]
        rest = [p for p in parameters if not any(p is matrix for matrix in matrices)]
        muon = torch.optim.Muon(matrices, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
        return [muon, torch.optim.AdamW(rest, lr=rate, weight_decay=0.01)]
    known: dict[str, Any] = {"momentum": {"optimizer": "sgd"}, "adamw": {"optimizer": "adamw", "weight_decay": 0.01}}
    return [make_optimizer(parameters, TrainingConfig(learning_rate=rate, **known.get(name, {"optimizer": name})))]


class QuasiNewton(Optimizer):
    """Twenty rounds of L-BFGS on each batch, with a line search for the strong Wolfe conditions.

    The curvature it has seen is forgotten between batches: a difference of gradients of two batches is mostly noise.
    The line search takes the place of clipping.
    """

    def step(self, objective: Objective) -> Step:
        """All rounds on one batch."""
        seen: list[Step] = []

        def closure() -> Tensor:
            self.network.zero_grad()
            loss = objective.loss_of(objective.outputs())
            loss.backward()
            norm = nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
            seen.append(Step(float(loss.detach()), float(norm)))
            return loss.detach()

        lbfgs = torch.optim.LBFGS(self.parameters, self.learning_rate, history_size=10, line_search_fn="strong_wolfe")
        lbfgs.step(closure)
        return seen[0]


class GaussNewton(Optimizer):
    """A step of Hessian-free optimization on each batch; its damping takes the place of rate and clipping."""

    def __init__(self, name: str, network: nn.Module, learning_rate: float, clip_norm: float | None = None):
        super().__init__(name, network, learning_rate, clip_norm)
        self._method = HessianFree(self.parameters)

    def step(self, objective: Objective) -> Step:
        """Conjugate gradients, and a search along what they found."""
        return Step(*self._method.step(objective.outputs, objective.loss_of))


def optimizer(name: str, network: nn.Module, learning_rate: float, clip_norm: float | None = None) -> Optimizer:
    """The optimizer of that name for ``network``; see ``Optimizer`` for the arguments.

    Raises:
        InputError: there is none of that name.
    """
    kind: Callable[..., Optimizer] = OPTIMIZERS[name]
    return kind(name, network, learning_rate, clip_norm)
