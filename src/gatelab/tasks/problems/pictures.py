"""Pictures of digits read step by step, by pixel or by row, from the top left."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from gatelab.core.config import TrainingConfig
from gatelab.core.random import generator, integer_seed
from gatelab.core.task import Part
from gatelab.data.sequence_arrays import read_idx
from gatelab.data.sources import locate_file
from gatelab.tasks.problems import baselines
from gatelab.tasks.problems.answers import Classes
from gatelab.tasks.problems.config import ProblemConfig
from gatelab.tasks.problems.definition import Array, Definition, Examples, Outputs

CLASSES = 10
SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
"""Of each digit; which picture belongs where is drawn once and always the same."""


class Pictures(Definition):
    """Which digit was it, asked after the last step.

    Le et al. 2015, arXiv:1504.00941, section 4.2, who read pixel by pixel, in their own order and in a random one.
    """

    settings: ClassVar[Sequence[str]] = ("by", "permuted")
    answer = Classes(CLASSES)
    training = TrainingConfig(epochs=60, batch_size=64, learning_rate=3e-3)
    side: ClassVar[int]
    """Pixels in a row, and rows."""
    white: ClassVar[int]
    """The greatest value of a pixel."""

    def __init__(self, name: str, config: ProblemConfig):
        super().__init__(name, config)
        self.inputs = 1 if config.by == "pixel" else self.side

    @abstractmethod
    def read(self) -> tuple[Array, Array]:
        """All pictures ``(M, side²)`` in whole numbers, and their digits ``(M,)``.

        Raises:
            DataError: the data set cannot be had, or is not what it should be.
        """

    @property
    def notes(self) -> list[str]:
        """What a step is, and how the pictures are divided."""
        steps = self.side**2 // self.inputs
        order = " in a fixed random order" if self.config.permuted else ""
        shares = ", ".join(f"{share:.0%} {part}" for part, share in SHARES.items())
        return [f"{self.name}: {steps} steps of {self.inputs}, by {self.config.by}{order}; of each digit {shares}"]

    def make(self, part: Part) -> Examples:
        """Pixels from 0 to 1."""
        pictures, digits = self.read()
        kept = _parts(digits)[part]  # (N,)
        steps = pictures[kept].reshape(len(kept), -1, self.inputs).swapaxes(0, 1)  # (T, N, I)
        if self.config.permuted:
            steps = steps[generator(0, "problem", self.name, "order").permutation(len(steps))]  # (T, N, I)
        return Examples((steps / self.white).astype(np.float32), digits[None, kept])

    def size(self, part: Part) -> int:
        """Pictures of a part."""
        return self.part(part).y.shape[1]

    def batches(self, part: Part, batch_size: int, rng: np.random.Generator | None, start: int) -> Iterator[Examples]:
        """The pictures of a part, shuffled where there is a stream."""
        if rng is None:
            yield from self.in_order(part, batch_size, start)
            return
        x, y = self.part(part)
        order = rng.permutation(y.shape[1])  # (N,)
        for first in range(start * batch_size, len(order), batch_size):
            chosen = order[first : first + batch_size]
            yield Examples(x[:, chosen], y[:, chosen])

    def baselines(self) -> Mapping[str, Callable[[], Outputs]]:
        """The digits' frequencies; what the last step alone tells; a linear function of all pixels."""
        return {
            "chance": lambda: baselines.constant(baselines.log_frequencies(self.part("train").y, CLASSES)),
            "memoryless": lambda: baselines.logistic(self.part("train"), self.part("validation"), steps=1),
            "linear": lambda: baselines.logistic(self.part("train"), self.part("validation")),
        }


class Digits(Pictures):
    """1,797 digits of 8 × 8 pixels (scikit-learn; Alpaydin & Kaynak 1998)."""

    side, white = 8, 16

    def read(self) -> tuple[Array, Array]:
        """As scikit-learn brings them along."""
        table = pd.read_csv(locate_file("digits"))
        return table.drop(columns="digit").to_numpy(), table["digit"].to_numpy()


class MnistT10k(Pictures):
    """The 10,000 test digits of MNIST, of 28 × 28 pixels (LeCun et al. 1998), divided anew."""

    side, white = 28, 255

    def read(self) -> tuple[Array, Array]:
        """Pictures and digits in the files' own order."""
        pictures = read_idx(locate_file("mnist_t10k"))
        digits = read_idx(locate_file("mnist_t10k", "t10k-labels-idx1-ubyte.gz"))
        return pictures.reshape(len(pictures), -1), digits.astype(np.int64)


def _parts(digits: Array) -> dict[Part, Array]:
    """Which pictures belong to which part, each part with the same share of every digit."""
    seed = integer_seed(0, "problem", "split") % 2**32
    rest, test = train_test_split(np.arange(len(digits)), test_size=SHARES["test"], stratify=digits, random_state=seed)
    share = SHARES["validation"] / (1 - SHARES["test"])
    train, validation = train_test_split(rest, test_size=share, stratify=digits[rest], random_state=seed)
    return {"train": train, "validation": validation, "test": test}
