"""What can be set about a classification, whatever is classified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gatelab.core.config import require
from gatelab.nn.pooling import Kind


@dataclass(frozen=True)
class ClassificationConfig:
    """How items are divided, pooled and scored."""

    split: tuple[float, ...] = (0.8, 0.1, 0.1)
    """Train, validation and test shares of the items, drawn at random class by class; train and validation alone where
    the data set has a test part of its own."""
    draw: int = 0
    """Number of the random division: another number divides otherwise."""
    pooling: Kind = "last"
    """From all steps to one vector: last (the end to which each direction reads), mean, max or attention."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: every class counts the same in training, however rare it is."""
    label_smoothing: float = 0.0
    """Share of the target that all classes have between them (Szegedy et al. 2016, sec. 7), in [0, 1)."""

    def __post_init__(self) -> None:
        valid = len(self.split) == 3 and all(share >= 0 for share in self.split) and min(self.split[:2]) > 0
        require(valid, "split", "three numbers: train and validation above 0, test 0 or more", self.split)
        require(0 <= self.label_smoothing < 1, "label_smoothing", "at least 0 and below 1", self.label_smoothing)
