"""The network of every problem: one recurrent encoder, and a linear head where an answer is due."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gatelab.core.config import ModelConfig
from gatelab.core.errors import InputError
from gatelab.nn import recurrent


class ProblemNet(nn.Module):
    """Encoder → head after each of the last steps.

    Raises:
        InputError: a bidirectional network, which would not have to remember.
    """

    def __init__(self, model: ModelConfig, inputs: int, outputs: int):
        super().__init__()
        if model.bidirectional:
            raise InputError(
                "these problems ask how long a network remembers, and one that also reads backwards need not",
                fix="leave --bidirectional out",
            )
        self.encoder = recurrent(model, inputs)
        self.dropout = nn.Dropout(model.dropout)
        self.head = nn.Linear(model.hidden_size, outputs)

    def forward(self, x: Tensor, answers: int) -> Tensor:
        """What is said after each of the last ``answers`` (A) steps of ``x (T, B, I)``: ``(A, B, O)``."""
        return self.head(self.dropout(self.encoder(x)[0][-answers:]))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Without dropout and without gradients, and afterwards as it was."""
    training = model.training
    model.eval()
    with torch.no_grad():
        yield
    model.train(training)
