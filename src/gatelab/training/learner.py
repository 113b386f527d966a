"""One optimizer step: forward, backward, clip, update."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from gatelab.core.config import TrainingConfig
from gatelab.core.task import Batch, Loss, Task
from gatelab.training.averaging import AveragedSGD, averaged
from gatelab.training.devices import autocast
from gatelab.training.distributed import ALONE, Group
from gatelab.training.schedules import make_optimizer


class Learner:
    """A model, its optimizer and how they compute; where in the data the training stands is not its business.

    In a group of processes each goes through its share of a batch, and all take the step that one would have taken.
    """

    def __init__(
        self, task: Task, model: torch.nn.Module, training: TrainingConfig, device: torch.device, group: Group = ALONE
    ):
        self.task, self.model, self.training, self.device, self.group = task, model, training, device, group
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = make_optimizer(self.parameters, training)

    def forward(self, batch: Batch, state: Any, model: torch.nn.Module | None = None) -> Loss:
        """The loss of a batch, going on from the detached ``state``; of no sequences there is none.

        Args:
            batch: the batch.
            state: after the batch before.
            model: another network than the one that learns.
        """
        if batch.size == 0:
            return Loss(torch.zeros(()), 0)
        with autocast(self.device, self.training.precision):
            return self.task.loss(self.model if model is None else model, batch, state)

    def backward(self, loss: Loss, share: float = 1.0) -> float:
        """Gradients of the loss; gives their Euclidean norm, all parameters taken as one vector.

        Args:
            share: how much of the items that the whole group scored this process did; 1 where it is alone.
        """
        self.optimizer.zero_grad(set_to_none=True)
        if share > 0:
            (loss.mean * (share * loss.scale)).backward()
        self.group.add_up(self.parameters)
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        self._norm = torch.nn.utils.get_total_norm(gradients)
        return float(self._norm)

    def update(self, rate: float, averaging: bool = False) -> None:
        """Scales the gradient down to ``clip_norm`` if it is longer (Pascanu et al. 2013), and takes a step.

        Args:
            rate: size of the step.
            averaging: whether an optimizer that averages weights does so by now.
        """
        if self.training.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.training.clip_norm, self._norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if isinstance(self.optimizer, AveragedSGD):
            self.optimizer.averaging = averaging
        self.optimizer.step()

    def judged(self) -> torch.nn.Module:
        """The network that is validated and kept: the model, or with asgd a copy with its averaged weights."""
        return averaged(self.model, self.optimizer)

    @torch.no_grad()
    def validation_losses(self, judged: torch.nn.Module) -> Iterator[Loss]:
        """Loss of ``judged`` on this process's share of each validation batch, in order and with carried state.

        It is left in evaluation mode.
        """
        judged.eval()
        state = None
        for batch in self.task.batches("validation", self.training.batch_size):
            loss = self.forward(self.group.share(batch).to(self.device), state if batch.carries else None, judged)
            state = loss.state
            yield loss


def parameter_count(model: torch.nn.Module) -> int:
    """Numbers that the model learns."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def finite(*values: float) -> bool:
    """Whether all are."""
    return all(math.isfinite(value) for value in values)
