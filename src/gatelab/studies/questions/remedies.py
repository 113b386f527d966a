"""What does a network need to remember for long? One problem, with and without two remedies; its kinds are the studies.

**chrono**: biases by which some units forget within a step and others within T (Tallec & Ollivier 2018,
arXiv:1804.11188). **mixed lengths**: training batches of all lengths up to T instead of T alone (Zaremba & Sutskever
2014, arXiv:1410.4615, section 5). What is tested is always of length T.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import pandas as pd

from gatelab.cells.cell import CELLS
from gatelab.report.page import Figure, Table
from gatelab.studies.experiment import Condition, Experiment, Findings
from gatelab.studies.questions import remedies_page
from gatelab.studies.questions.remedies_findings import TREATMENTS, Treatment, summarise, treatment_of
from gatelab.studies.training_trial import train_on_task
from gatelab.studies.wording import called

_EPOCH = 200  # optimizer steps between two looks at the validation part

PROTOCOL = (
    "Training examples are drawn afresh for every batch, validation and test examples once, and these are the same for "
    "all. Weights start from U(−1/√H, 1/√H), as torch's do. Chrono changes the biases of the gates that keep and that "
    "write, where a cell has such gates; with mixed lengths each batch has a length of its own, log-uniform from "
    "{shortest} to T.",
    "Every training takes the same number of optimizer steps, so that mixed lengths cost less time than T alone. Adam, "
    "cosine schedule, gradient norm clipped at 1, {batch_size} examples a batch; the weights of the best epoch by "
    "validation loss are scored. The learning rate is {rate} for all, found by a few runs beforehand; at full size "
    "each condition chooses one by the validation loss of seed 0, and is trained with other seeds.",
    "Errors span decades, so means, intervals and tests are of their logarithms: a mean is geometric, a difference a "
    "factor. Published figures are of one run each.",
)


class Grid(NamedTuple):
    """What is run at one length."""

    length: int
    steps: int
    """Optimizer steps of a training."""
    treatments: Sequence[str]
    """Of ``TREATMENTS``."""
    gated: bool = False
    """Whether cells are left out that have no gate to keep anything with."""

    def has(self, cell: str, treatment: str) -> bool:
        """Whether the cell is trained with the treatment; no chrono for a cell that has no gate for it."""
        return CELLS[cell].keeps is not None or not (self.gated or TREATMENTS[treatment].chrono)


class Remedies(Experiment):
    """A problem at one or more lengths, with and without each remedy."""

    source: ClassVar[str]
    """The problem's name."""
    metric: ClassVar[str]
    parameters: ClassVar[int]
    batch_size: ClassVar[int]
    shortest: ClassVar[int]
    """The least length where lengths are mixed."""
    simple: ClassVar[Sequence[str]]
    """The problem's baselines."""
    learning_rates: ClassVar[Sequence[float]]
    """What a condition chooses from where the budget is full; else it takes the first."""
    grids: ClassVar[Mapping[str, Sequence[Grid]]]
    """By budget."""
    published: ClassVar[Mapping[int, Mapping[str, float]]]
    """By length and cell, of Bai et al. 2018, arXiv:1803.01271, table 1."""
    bar_in_words: ClassVar[str]
    measured_by = staticmethod(train_on_task)

    @classmethod
    @abstractmethod
    def bar(cls, length: int) -> float:
        """A training with less than this on the test part has solved the problem."""

    def conditions(self) -> Iterable[Condition]:
        """Lengths by treatments by cells, as far as they go together."""
        for grid in self.grids[self.budget]:
            for name in grid.treatments:
                for cell in self.cells:
                    if grid.has(cell, name):
                        yield self._condition(grid, TREATMENTS[name], cell)

    def _condition(self, grid: Grid, treatment: Treatment, cell: str) -> Condition:
        rates = list(self.learning_rates)
        return {
            **self._opened(grid.length),
            "shortest": self.shortest if treatment.mixed else None,
            "examples": _EPOCH * self.batch_size,
            "cell": cell,
            "parameters": self.parameters,
            "init": f"torch+chrono:{grid.length}" if treatment.chrono else "torch",
            "batch_size": self.batch_size,
            "epochs": grid.steps // _EPOCH,
            "schedule": "cosine",
            "clip_norm": 1.0,
            "patience": None,
            **({"tune": {"learning_rate": rates}} if self.budget == "full" else {"learning_rate": rates[0]}),
        }

    def _opened(self, length: int) -> Condition:
        return {"task": "problem", "source": self.source, "length": length, "held_out": 500}

    def baselines(self) -> Iterable[Condition]:
        """The problem's own, at each length."""
        for grid in self.grids[self.budget]:
            yield from ({**self._opened(grid.length), "baseline": name} for name in self.simple)

    def label_of(self, condition: Condition) -> str:
        """The cell or the baseline, the length and the treatment."""
        if "baseline" in condition:
            return f"{condition['baseline']}, T = {condition['length']}"
        treatment = treatment_of(condition["init"], condition["shortest"])
        return f"{called(condition['cell'])}, T = {condition['length']}, {treatment}"

    def findings(self, table: pd.DataFrame) -> dict[str, Any]:
        """The metric of each cell, length and treatment, how many seeds solved it, and what each treatment changed."""
        return summarise(table, self.metric, self.bar)

    def verdict(self, findings: Findings) -> Sequence[str]:
        """With what each cell solves the problem, what each treatment changes, and what others report."""
        return remedies_page.verdict(self, findings)

    def figures(self, findings: Findings) -> dict[str, Figure]:
        """Every condition beside baselines and published figures, and learning curves."""
        return remedies_page.figures(self, findings)

    def tables(self, findings: Findings) -> dict[str, Table]:
        """Every condition."""
        return remedies_page.tables(self, findings)
