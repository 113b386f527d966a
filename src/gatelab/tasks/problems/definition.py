"""What a problem is: where its examples come from, and how its answers are scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from gatelab.core.config import TrainingConfig, changes
from gatelab.core.errors import InputError
from gatelab.core.registry import Registry
from gatelab.core.task import Part
from gatelab.tasks.problems.answers import Answer
from gatelab.tasks.problems.config import ProblemConfig

Array = np.ndarray

PROBLEMS = Registry(
    "problem",
    {
        "adding": "gatelab.tasks.problems.drawn:Adding",
        "copy": "gatelab.tasks.problems.drawn:CopyMemory",
        "recall": "gatelab.tasks.problems.drawn:Recall",
        "digits": "gatelab.tasks.problems.pictures:Digits",
        "mnist_t10k": "gatelab.tasks.problems.pictures:MnistT10k",
    },
)
"""Every problem by name."""


class Examples(NamedTuple):
    """Some examples of one length."""

    x: Array  # (T, N, I) float32
    y: Array  # (A, N) what is to be answered after each of the last A steps: numbers in float32 or classes in int64


Outputs = Callable[[Examples], Array]
"""A method without memory to train: from examples to ``(A, N, O)``, numbers or the logarithms of probabilities."""


class Definition(ABC):
    """One problem with its settings."""

    settings: ClassVar[Sequence[str]]
    """The settings that this problem has."""
    inputs: int
    """Features of a step (I)."""
    answer: Answer
    """What kind of answer is asked for."""
    training: TrainingConfig
    """How it is learned, unless one says otherwise."""

    def __init__(self, name: str, config: ProblemConfig):
        self.name, self.config = name, config
        self._parts: dict[str, Examples] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_parts": {}}  # made again where they are needed: cheaper than to send them

    @property
    @abstractmethod
    def notes(self) -> Sequence[str]:
        """The definition in words; read without data."""

    @abstractmethod
    def make(self, part: Part) -> Examples:
        """The examples of a part: the same ones in every process."""

    @abstractmethod
    def size(self, part: Part) -> int:
        """How many examples an epoch of a part has."""

    @abstractmethod
    def batches(self, part: Part, batch_size: int, rng: np.random.Generator | None, start: int) -> Iterator[Examples]:
        """Batches as ``Task.batches`` gives them."""

    @abstractmethod
    def baselines(self) -> Mapping[str, Callable[[], Outputs]]:
        """Simple methods by name, each made when called."""

    def part(self, part: Part) -> Examples:
        """``make``, once."""
        if part not in self._parts:
            self._parts[part] = self.make(part)
        return self._parts[part]

    def in_order(self, part: Part, batch_size: int, start: int = 0) -> Iterator[Examples]:
        """Batches of a part from its first example to its last."""
        x, y = self.part(part)
        for first in range(start * batch_size, y.shape[1], batch_size):
            yield Examples(x[:, first : first + batch_size], y[:, first : first + batch_size])


def define(name: str, config: ProblemConfig) -> Definition:
    """The problem ``name`` with ``config``.

    Raises:
        InputError: there is no such problem, or it does not have a setting that ``config`` changes.
    """
    kind: type[Definition] = PROBLEMS[name]
    if foreign := [field for field in changes(config) if field not in kind.settings]:
        given, known = (
            ", ".join("--" + field.replace("_", "-") for field in fields) for fields in (foreign, kind.settings)
        )
        raise InputError(f"the problem {name} has no {given}", expected=known, fix=f"leave out {given}")
    return kind(name, config)
