"""The music network: a recurrent encoder and, at every step, a probability for each key of the next."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatelab.core.config import ModelConfig, require
from gatelab.nn import recurrent
from gatelab.tasks.music.batches import RollBatch
from gatelab.tasks.music.rolls import KEYS


class MusicNet(nn.Module):
    """Encoder → 88 logits a step: keys are independent of each other, given all that was played before.

    The head starts at how often each key sounds in the training part, so that an untrained network is about as good
    as the baseline that knows no more than that.

    Raises:
        InputError: a bidirectional encoder, which would have read what it is to predict.
    """

    def __init__(self, model: ModelConfig, log_odds: np.ndarray):
        super().__init__()
        require(not model.bidirectional, "bidirectional", "False: what comes next is not known", True)
        self.encoder = recurrent(model, KEYS)
        self.dropout = nn.Dropout(model.dropout)
        self.head = nn.Linear(model.hidden_size, KEYS)
        with torch.no_grad():
            self.head.bias.copy_(torch.from_numpy(log_odds))

    def forward(self, batch: RollBatch) -> PackedSequence:
        """Log-odds of every key at each predicted step, ``data (N, 88)`` in the order of ``batch.truth``."""
        output, _ = self.encoder(batch.read)
        return output._replace(data=self.head(self.dropout(output.data)))


def step_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Negative log-likelihood of each step in nats, the keys' summed: ``(N, 88)`` twice gives ``(N,)``.

    ``-Σ_k [y_k ln p_k + (1 - y_k) ln(1 - p_k)]`` with ``p = σ(logits)``: a step's log-likelihood where its keys are
    independent Bernoulli variables (Boulanger-Lewandowski et al. 2012, sec. 6, "frame-level"; Bai et al. 2018).
    """
    return nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none").sum(dim=1)
