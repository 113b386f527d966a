"""What reads a step of a text: the number of a token becomes a vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatelab.data.tokens import UNKNOWN
from gatelab.data.vectors import Found

_DEVIATION = 0.1  # of the vectors that are learned from nothing


class Embedding(nn.Module):
    """Numbers ``(N,)`` to vectors ``(N, I)``.

    In training some tokens are taken for unknown, so that the network does not rest on single words and the vector of
    the unknown one is learned; and dropout acts on the vectors.

    Args:
        tokens: how many there are (V).
        size: of a vector (I).
        word_dropout: probability that a token is taken for unknown.
        dropout: on each number of a vector.
        vectors: those of some tokens to start from.
    """

    def __init__(self, tokens: int, size: int, word_dropout: float, dropout: float, vectors: Found | None = None):
        super().__init__()
        self.table = nn.Embedding(tokens, size)  # (V, I)
        self.word_dropout = word_dropout
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.table.weight, std=_DEVIATION)
        if vectors is not None:
            with torch.no_grad():
                self.table.weight[torch.from_numpy(vectors.which)] = torch.from_numpy(vectors.vectors)

    def forward(self, ids: Tensor) -> Tensor:
        """The vectors ``(N, I)`` of tokens ``(N,)``."""
        if self.training and self.word_dropout:
            hidden = torch.rand(ids.shape, device=ids.device) < self.word_dropout  # (N,)
            ids = ids.masked_fill(hidden, UNKNOWN)
        return self.dropout(self.table(ids))
