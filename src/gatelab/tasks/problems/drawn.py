"""Problems whose examples are drawn: fresh ones in every epoch, and fixed ones to validate and to test on.

A batch is a function of the epoch's stream and of its place in the epoch, so that a training that goes on in
mid-epoch draws what it would have drawn.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar

import numpy as np

from gatelab.core.config import TrainingConfig
from gatelab.core.random import generator
from gatelab.core.task import Part
from gatelab.tasks.problems import baselines
from gatelab.tasks.problems.answers import Classes, Number
from gatelab.tasks.problems.config import ProblemConfig
from gatelab.tasks.problems.definition import Definition, Examples, Outputs


class Drawn(Definition):
    """A problem of any length."""

    settings: ClassVar[Sequence[str]] = ("length", "shortest", "examples", "held_out")
    training = TrainingConfig(epochs=20, batch_size=64, learning_rate=3e-3, patience=None)

    @abstractmethod
    def draw(self, rng: np.random.Generator, items: int, length: int) -> Examples:
        """``items`` examples of one length."""

    def size(self, part: Part) -> int:
        """As the configuration says."""
        return self.config.examples if part == "train" else self.config.held_out

    def make(self, part: Part) -> Examples:
        """Examples of full length; those of the training part are what a method fitted once is fitted on."""
        return self.draw(generator(0, "problem", self.name, part), self.size(part), self.config.length)

    def batches(self, part: Part, batch_size: int, rng: np.random.Generator | None, start: int) -> Iterator[Examples]:
        """Fresh examples to train on where there is a stream; the same ones for all else."""
        if part != "train":
            yield from self.in_order(part, batch_size, start)
            return
        epoch = 0 if rng is None else int(rng.integers(2**62))
        for index in range(start, -(-self.size(part) // batch_size)):
            stream = generator(epoch, "problem", self.name, "batch", index)
            items = min(batch_size, self.size(part) - index * batch_size)
            yield self.draw(stream, items, self._length(stream))

    def _length(self, rng: np.random.Generator) -> int:
        """Of a training batch. Long and short ones mixed: Zaremba & Sutskever 2014, arXiv:1410.4615, section 5."""
        if self.config.shortest is None:
            return self.config.length
        low, high = np.log([self.config.shortest, self.config.length])
        return round(np.exp(rng.uniform(low, high)))


class Adding(Drawn):
    """The sum of two marked numbers among T.

    Hochreiter & Schmidhuber 1997, experiment 4, as in Bai et al. 2018, arXiv:1803.01271, section 4: numbers from
    U(0, 1), two steps marked anywhere. Answering 1 always gives a mean squared error of 1/6.
    """

    inputs = 2
    answer = Number()

    @property
    def notes(self) -> list[str]:
        """The definition in words."""
        return [f"adding: {self.config.length} numbers from U(0, 1), two of them marked, whose sum is asked for at the "
                f"end; answering 1 always has a mean squared error of 1/6"]  # fmt: skip

    def draw(self, rng: np.random.Generator, items: int, length: int) -> Examples:
        """Numbers beside their marks."""
        numbers = rng.random((length, items), dtype=np.float32)  # (T, N)
        first = rng.integers(length, size=items)  # (N,)
        second = (first + rng.integers(1, length, size=items)) % length  # (N,) any other step, all alike
        marks = np.zeros((length, items), np.float32)  # (T, N)
        marks[[first, second], np.arange(items)] = 1
        return Examples(np.stack([numbers, marks], axis=2), (numbers * marks).sum(axis=0, keepdims=True))

    def baselines(self) -> Mapping[str, Callable[[], Outputs]]:
        """The mean; what the last step alone tells; a linear function of all steps."""
        return {
            "chance": lambda: baselines.constant(np.ones(1)),
            "memoryless": lambda: baselines.last_summand,
            "linear": lambda: baselines.linear(self.part("train"), self.part("validation")),
        }


class CopyMemory(Drawn):
    """Symbols to be said again after T steps.

    Hochreiter & Schmidhuber 1997; Arjovsky et al. 2016, arXiv:1511.06464, section 4.1; laid out as in Bai et al. 2018,
    section 4: the symbols, T − 1 blanks, and a delimiter that stands in all of the last steps, one more than there are
    symbols. The answer is blank until the last steps, which repeat the symbols. A network that remembers nothing has a
    cross-entropy of S ln K / (T + 2 S) over the T + 2 S steps. Inputs are one-hot.
    """

    settings: ClassVar[Sequence[str]] = (*Drawn.settings, "symbols", "alphabet")

    def __init__(self, name: str, config: ProblemConfig):
        super().__init__(name, config)
        self.blank, self.delimiter = config.alphabet, config.alphabet + 1
        self.inputs = config.alphabet + 2
        self.answer = Classes(config.alphabet + 1, asked=config.symbols, by="cross-entropy")

    @property
    def memoryless(self) -> float:
        """Cross-entropy of blanks where they are due, and of any symbol, all alike, where one is."""
        S, K = self.config.symbols, self.config.alphabet
        return S * float(np.log(K)) / (self.config.length + 2 * S)

    @property
    def notes(self) -> list[str]:
        """The definition in words."""
        config = self.config
        return [f"copy memory: {config.symbols} of {config.alphabet} symbols to be said again after {config.length} "
                f"steps; remembering nothing has a cross-entropy of {self.memoryless:.4g} nats a step"]  # fmt: skip

    def draw(self, rng: np.random.Generator, items: int, length: int) -> Examples:
        """One-hot inputs, and a class for each step."""
        S = self.config.symbols
        symbols = rng.integers(self.config.alphabet, size=(S, items))  # (S, N)
        shown = np.full((length + 2 * S, items), self.blank)  # (T + 2S, N)
        shown[:S], shown[-S - 1 :] = symbols, self.delimiter
        wanted = np.full_like(shown, self.blank)  # (T + 2S, N)
        wanted[-S:] = symbols
        return Examples(np.eye(self.inputs, dtype=np.float32)[shown], wanted)

    def baselines(self) -> Mapping[str, Callable[[], Outputs]]:
        """Any answer at any step; blanks and then any symbol."""
        return {
            "chance": lambda: baselines.constant(np.full(self.answer.outputs, -np.log(self.answer.outputs))),
            "memoryless": lambda: partial(baselines.blank_then_any, symbols=self.config.symbols),
        }


class Recall(Drawn):
    """A bit that is seen first and asked for after T steps of noise.

    The latching problem of Bengio et al. 1994, IEEE Transactions on Neural Networks 5(2), in its barest form: ±1 with
    a mark beside it, then T steps of N(0, 1) without one, whose last is where the bit is asked for.
    """

    inputs = 2
    answer = Classes(2)

    @property
    def notes(self) -> list[str]:
        """The definition in words."""
        return [f"recall: a bit, then {self.config.length} steps of noise, then the bit is asked for"]

    def draw(self, rng: np.random.Generator, items: int, length: int) -> Examples:
        """The bit as ±1, and noise."""
        bits = rng.integers(2, size=items)  # (N,)
        values = rng.standard_normal((length + 1, items), dtype=np.float32)  # (T + 1, N)
        values[0] = 2 * bits - 1
        marks = np.zeros_like(values)  # (T + 1, N)
        marks[0] = 1
        return Examples(np.stack([values, marks], axis=2), bits[None])

    def baselines(self) -> Mapping[str, Callable[[], Outputs]]:
        """Either bit; a linear function of all steps, which has nothing to remember as it sees them all at once."""
        return {
            "chance": lambda: baselines.constant(np.log([0.5, 0.5])),
            "linear": lambda: baselines.logistic(self.part("train"), self.part("validation")),
        }
