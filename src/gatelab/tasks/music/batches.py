"""Pieces side by side, of different lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_sequence

Array = np.ndarray


@dataclass(frozen=True)
class RollBatch:
    """B pieces: every step but the last of a piece is read, and every step but the first is predicted."""

    rolls: Tensor  # (T + 1, B, 88) what lies after a piece's end is never read
    lengths: Tensor  # (B,) predicted steps of each piece; on the CPU, where packing wants it
    carries: bool = False

    @classmethod
    def of(cls, rolls: Sequence[Array]) -> RollBatch:
        """A batch of rolls ``(T_i + 1, 88)`` of two steps or more."""
        padded = pad_sequence([torch.from_numpy(roll).float() for roll in rolls])  # (T + 1, B, 88)
        return cls(padded, torch.tensor([len(roll) - 1 for roll in rolls]))

    @property
    def size(self) -> int:
        """Pieces."""
        return self.rolls.shape[1]

    @property
    def steps(self) -> int:
        """Steps that the longest piece takes the cell."""
        return self.rolls.shape[0] - 1

    @property
    def read(self) -> PackedSequence:
        """What the network reads: N steps of all pieces in ``data (N, 88)``, and no padding."""
        return self._packed(self.rolls[:-1])

    @property
    def truth(self) -> Tensor:
        """What sounds one step after each of those, ``(N, 88)``."""
        return self._packed(self.rolls[1:]).data

    def _packed(self, rolls: Tensor) -> PackedSequence:
        return pack_padded_sequence(rolls, self.lengths, enforce_sorted=False)

    def take(self, which: slice) -> RollBatch:
        """These of its pieces alone."""
        return RollBatch(self.rolls[:, which], self.lengths[which])

    def to(self, device: Any) -> RollBatch:
        """The same batch with its rolls on ``device``."""
        return RollBatch(self.rolls.to(device), self.lengths)
