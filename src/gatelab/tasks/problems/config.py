"""What can be set about a problem. Each problem has some of these settings, and refuses the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gatelab.core.config import require


@dataclass(frozen=True)
class ProblemConfig:
    """How long the examples are, and how many."""

    length: int = 100
    """adding: steps of an example; copy: steps from the last symbol to the delimiter; recall: steps of noise after the
    bit (T)."""
    shortest: int | None = None
    """adding, copy, recall: train on lengths from here to --length, one for each batch; none: on --length alone."""
    examples: int = 10_000
    """adding, copy, recall: training examples in an epoch, drawn afresh in each."""
    held_out: int = 1_000
    """adding, copy, recall: examples of the validation part, and of the test part."""
    symbols: int = 10
    """copy: symbols to remember."""
    alphabet: int = 8
    """copy: how many different symbols there are."""
    by: Literal["pixel", "row"] = "pixel"
    """digits, mnist_t10k: what a step reads, from the top left."""
    permuted: bool = False
    """digits, mnist_t10k: take the steps of every picture in one random order, which is always the same."""

    def __post_init__(self) -> None:
        for name, least in {"length": 2, "examples": 1, "held_out": 1, "symbols": 1, "alphabet": 2}.items():
            require(getattr(self, name) >= least, name, f"at least {least}", getattr(self, name))
        within = self.shortest is None or 2 <= self.shortest <= self.length
        require(within, "shortest", f"from 2 to the length, {self.length}", self.shortest)
