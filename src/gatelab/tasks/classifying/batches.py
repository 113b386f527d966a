"""Sequences with their classes, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_sequence

from gatelab.data.ragged import Ragged

Array = np.ndarray


@dataclass(frozen=True)
class Examples:
    """A part of the data as the network reads it."""

    x: Ragged  # N sequences, (T_i,) or (T_i, C)
    y: Array  # (N,) int64 the class of each
    names: Sequence[str]
    """What a report calls each of them: its text, or its number."""

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, which: Array) -> ClassBatch:
        """Some of them together."""
        return ClassBatch.of(self.x, self.y, which)


@dataclass(frozen=True)
class ClassBatch:
    """B sequences side by side, each with its class."""

    x: Tensor  # (T, B) numbers of tokens or (T, B, C) values; what lies after a sequence's end is never read
    lengths: Tensor  # (B,) steps of each, at least one; on the CPU, where packing wants it
    y: Tensor  # (B,) class
    carries: bool = False

    @classmethod
    def of(cls, x: Sequence[Array], y: Array, which: Array) -> ClassBatch:
        """The sequences ``which`` of ``x``, each with its class in ``y``."""
        taken = [torch.tensor(x[at]) for at in which]
        return cls(pad_sequence(taken), torch.tensor([len(rows) for rows in taken]), torch.from_numpy(y[which]))

    @property
    def size(self) -> int:
        """Sequences."""
        return self.x.shape[1]

    @property
    def steps(self) -> int:
        """Steps that the longest sequence takes the cell."""
        return self.x.shape[0]

    @property
    def packed(self) -> PackedSequence:
        """The N steps of all sequences in ``data (N, …)``, and no padding."""
        return pack_padded_sequence(self.x, self.lengths, enforce_sorted=False)

    def take(self, which: slice) -> ClassBatch:
        """These of its sequences alone."""
        return ClassBatch(self.x[:, which], self.lengths[which], self.y[which])

    def to(self, device: Any) -> ClassBatch:
        """The same batch with its sequences and classes on ``device``."""
        return ClassBatch(self.x.to(device), self.lengths, self.y.to(device))
