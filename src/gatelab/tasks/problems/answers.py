"""Kinds of answers: what the network gives, what an error costs, and what people read.

Every metric is a mean over examples of a figure of each example, so that networks and baselines, trained parts and test
parts, are scored by the same few lines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor
from torch.nn import functional

from gatelab.core.task import Metric


class Answer(ABC):
    """A kind of answer: ``out (A, B, O)`` is said after each of the last A steps, and ``y (A, B)`` is right."""

    outputs: int
    """Numbers that the head gives (O)."""
    asked: int
    """The last steps that people ask about; what the others answer is known beforehand."""
    metrics: Sequence[Metric]

    @abstractmethod
    def figures(self, out: Tensor, y: Tensor) -> Mapping[str, Tensor]:
        """Each metric of each example: ``(B,)``."""

    @abstractmethod
    def loss(self, out: Tensor, y: Tensor) -> Tensor:
        """What training lessens, of each example: ``(B,)``."""

    @abstractmethod
    def said(self, out: Tensor) -> Tensor:
        """The answers as people read them: ``(A, B)``."""


class Number(Answer):
    """A number at the end of the sequence, scored by its squared error."""

    outputs, asked = 1, 1
    metrics = (
        Metric("MSE", text="mean squared error of the answer"),
        Metric("MAE", text="mean absolute error of the answer"),
    )

    def figures(self, out: Tensor, y: Tensor) -> Mapping[str, Tensor]:
        """Squared and absolute error."""
        return {"MSE": self.loss(out, y), "MAE": (out[..., 0] - y).abs().mean(dim=0)}

    def loss(self, out: Tensor, y: Tensor) -> Tensor:
        """Squared error."""
        return ((out[..., 0] - y) ** 2).mean(dim=0)  # (B,)

    def said(self, out: Tensor) -> Tensor:
        """The numbers."""
        return out[..., 0]


class Classes(Answer):
    """One of K classes after each of the last A steps, scored by cross-entropy.

    Args:
        classes: how many there are (K).
        asked: the last steps that accuracy is about.
        by: the metric that comes first.
    """

    def __init__(self, classes: int, asked: int = 1, by: str = "accuracy"):
        self.outputs, self.asked = classes, asked
        right = "classes given right" if asked == 1 else f"symbols given right, of the last {asked}"
        found = {
            "accuracy": Metric("accuracy", "max", text=f"share of {right}"),
            "cross-entropy": Metric("cross-entropy", unit="nats", text="mean over all steps that have an answer"),
        }
        self.metrics = sorted(found.values(), key=lambda metric: metric.name != by)

    def figures(self, out: Tensor, y: Tensor) -> Mapping[str, Tensor]:
        """Cross-entropy over all steps, and the share of right classes among those asked for."""
        right = self.said(out)[-self.asked :] == y[-self.asked :]  # (asked, B)
        return {"cross-entropy": self.loss(out, y), "accuracy": right.to(out.dtype).mean(dim=0)}

    def loss(self, out: Tensor, y: Tensor) -> Tensor:
        """Mean cross-entropy of the steps."""
        return functional.cross_entropy(out.movedim(2, 1), y, reduction="none").mean(dim=0)  # (B,)

    def said(self, out: Tensor) -> Tensor:
        """The likeliest class."""
        return out.argmax(dim=2)
