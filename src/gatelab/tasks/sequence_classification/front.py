"""What reads a step of a numeric sequence: the scaled values themselves, with noise in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Noise(nn.Module):
    """Adds normal noise in training, and nothing otherwise."""

    def __init__(self, deviation: float):
        super().__init__()
        self.deviation = deviation

    def forward(self, x: Tensor) -> Tensor:
        """``(N, I)`` from ``(N, I)``."""
        return x + self.deviation * torch.randn_like(x) if self.training and self.deviation else x

    def extra_repr(self) -> str:
        """The deviation."""
        return f"{self.deviation}"
