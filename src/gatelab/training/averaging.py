"""Averaged stochastic gradient descent: small steps in all directions, and the middle of where they led.

Plain SGD until the validation loss stops falling, and from then on also the mean of the weights after every step
(Polyak & Juditsky 1992). When to begin is told by the losses: NT-ASGD (Merity et al. 2018, arXiv:1708.02182,
algorithm 1).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

WAIT = 5
"""Epochs that a loss is let be worse than those before them (n of the paper)."""


class AveragedSGD(torch.optim.SGD):
    """SGD without momentum that also keeps the mean of all weights since ``averaging`` was set.

    Means and how many weights each is over are in the optimizer's state, so that a checkpoint holds them.
    """

    averaging = False

    def __init__(self, parameters: Iterable[torch.nn.Parameter], rate: float, weight_decay: float = 0.0):
        super().__init__(parameters, lr=rate, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """A step of SGD, then the mean goes on."""
        loss = super().step(closure)
        if self.averaging:
            for parameter in self._all():
                state = self.state[parameter]
                count = state["averaged"] = state.get("averaged", 0) + 1
                mean = state.setdefault("average", parameter.detach().clone())
                mean.lerp_(parameter, 1 / count)
        return loss

    def averages(self) -> list[Tensor] | None:
        """The mean of each parameter, in their order; None before averaging begins."""
        found = [self.state[parameter].get("average") for parameter in self._all()]
        return None if any(mean is None for mean in found) else found

    def _all(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]


def begins(history: Sequence[Mapping[str, Any]]) -> bool:
    """Whether averaging has begun after the epochs of ``history``.

    It begins after the first epoch whose validation loss is above the least of those more than ``WAIT`` epochs ago.
    """
    losses = [record["validation_loss"] for record in history if record["validation_loss"] is not None]
    return any(loss > min(losses[: t - WAIT]) for t, loss in enumerate(losses) if t > WAIT)


def averaged(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> torch.nn.Module:
    """The network as it is validated and kept: a copy with averaged weights, or the same where there are none yet."""
    means = optimizer.averages() if isinstance(optimizer, AveragedSGD) else None
    if means is None:
        return model
    found = copy.deepcopy(model)
    learned = [parameter for parameter in found.parameters() if parameter.requires_grad]
    with torch.no_grad():
        for parameter, mean in zip(learned, means, strict=True):
            parameter.copy_(mean)
    return found
