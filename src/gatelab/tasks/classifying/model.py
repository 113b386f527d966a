"""The network of every classification: what reads a step, a recurrent encoder, pooling, and a head of K classes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatelab.core.config import ModelConfig
from gatelab.nn import recurrent
from gatelab.nn.pooling import Kind, Pooling
from gatelab.tasks.classifying.batches import ClassBatch

Array = np.ndarray


class Classifier(nn.Module):
    """Front → encoder → pooling → K logits.

    The head starts at how often each class occurs, so that an untrained network is about as good as the baseline that
    knows no more than that.

    Args:
        model: cell, sizes, directions.
        front: from the rows of a packed batch ``(N, …)`` to features ``(N, I)``: an embedding, a scale.
        features: what it gives (I).
        pooling: from all steps to one vector.
        log_shares: the head's biases, ``(K,)``.
    """

    front: Any
    temperature: Tensor  # () logits are divided by it where probabilities are asked for

    def __init__(self, model: ModelConfig, front: nn.Module, features: int, pooling: Kind, log_shares: Array):
        super().__init__()
        directions = 2 if model.bidirectional else 1
        self.front, self.features = front, features
        self.encoder = recurrent(model, features)
        self.pooling = Pooling(pooling, directions * model.hidden_size, directions)
        self.dropout = nn.Dropout(model.dropout)
        self.head = nn.Linear(directions * model.hidden_size, len(log_shares))
        self.register_buffer("temperature", torch.ones(()))
        with torch.no_grad():
            self.head.bias.copy_(torch.from_numpy(log_shares))

    def forward(self, batch: ClassBatch) -> Tensor:
        """Logits ``(B, K)``."""
        return self.classify(self.read(batch.packed))

    def read(self, packed: PackedSequence) -> PackedSequence:
        """What the front makes of the steps: features ``data (N, I)``."""
        return packed._replace(data=self.front(packed.data))

    def classify(self, features: PackedSequence) -> Tensor:
        """Logits ``(B, K)`` from the features of all steps; contributions are gradients of this."""
        output, _ = self.encoder(features)
        return self.head(self.dropout(self.pooling(output)))

    def log_probabilities(self, batch: ClassBatch) -> Tensor:
        """Calibrated log-probabilities ``(B, K)``, float64."""
        return torch.log_softmax(self(batch).double() / self.temperature.double(), dim=1)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[torch.device]:
    """Without gradients and dropout; gives the device of the model, which is left as it was."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield next(model.parameters()).device
    finally:
        model.train(training)
