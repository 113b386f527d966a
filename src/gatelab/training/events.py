"""What the loop tells whoever listens: a listener is any callable that takes one event.

Listeners see the training and cannot change it; an exception in one ends the run as Ctrl-C would, so that a
search can give up a trial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Started:
    """Before the first step."""

    folder: Path
    parameters: int
    """Numbers that are learned."""
    epochs: int
    batches: int
    """Batches in an epoch."""
    device: str
    epoch_seconds: float
    """Expected time of one epoch, from a few steps on a copy of the model."""
    estimate_seconds: float
    """Expected time from here to the last epoch or the end of the budget; stopping early makes it less."""
    step: int
    """Optimizer steps done before, where a run is resumed; otherwise 0."""


@dataclass(frozen=True)
class Stepped:
    """After each optimizer step."""

    epoch: int
    batch: int
    """Batches of this epoch done."""
    step: int
    loss: float
    gradient_norm: float
    learning_rate: float


@dataclass(frozen=True)
class EpochEnded:
    """After the validation of an epoch."""

    record: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    """The records of all epochs so far, this one last; of those before a resumption too."""


@dataclass(frozen=True)
class Checkpointed:
    """After a checkpoint is on disk."""

    path: Path
    step: int


@dataclass(frozen=True)
class Warned:
    """Something that a person should know and that does not stop the run."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The run is complete; the best weights are on disk."""

    stopped: str
    """``epochs``, ``patience``, ``time`` or ``steps``."""
    best_epoch: int
    best: float | None
    seconds: float
    steps: int


@dataclass(frozen=True)
class Failed:
    """The run ends before it is complete: Ctrl-C, an error. What was checkpointed is kept."""

    error: BaseException


@dataclass(frozen=True)
class Scoring:
    """After the training, before a model or a baseline is scored."""

    name: str
    done: int
    """Scored before."""
    total: int


@dataclass(frozen=True)
class Scored:
    """All are scored, or an error ended it."""


Event = Started | Stepped | EpochEnded | Checkpointed | Warned | Finished | Failed | Scoring | Scored
Listener = Callable[[Event], Any]
