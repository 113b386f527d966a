"""Where does each cell break? Problems of growing length, a real series with a growing window, and what length costs.

Bengio et al. 1994 (IEEE Transactions on Neural Networks 5(2)) and Hochreiter & Schmidhuber 1997 (Neural Computation
9(8)) lengthen latching and adding problems until networks fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import pandas as pd

from gatelab.cells.cell import CELLS
from gatelab.report.page import Figure, Table
from gatelab.studies.experiment import Condition, Experiment, Findings
from gatelab.studies.questions import length_page
from gatelab.studies.questions.length_findings import steps_of, summarise
from gatelab.studies.questions.length_trial import measure
from gatelab.studies.wording import called

_BATCH = 16
_PROBLEM = {"task": "problem", "batch_size": _BATCH, "held_out": 500, "patience": None}
_DIGITS = {"task": "problem", "source": "digits", "batch_size": 32, "patience": None}
_ETTH1 = {"task": "forecasting", "source": "etth1", "target": "OT", "horizon": 24, "split": [8640, 2880, 2880],
          "normalise": "last", "calendar": False, "highway": False, "point": "mean", "quantiles": [0.1, 0.5, 0.9],
          "batch_size": 64}  # fmt: skip
_EPOCH = 200  # optimizer steps between two looks at the validation part
_LENGTHS: Mapping[str, Mapping[str, Sequence[int]]] = {
    "quick": {"recall": (5, 20), "adding": (10,)},
    "standard": {"recall": (10, 30, 100, 300), "adding": (50, 200, 1000), "copy": (10, 100), "etth1": (24, 96, 336)},
    "full": {"recall": (10, 30, 100, 300, 1000, 3000), "adding": (50, 100, 200, 400, 600, 1000),
             "copy": (10, 30, 100, 300, 1000), "etth1": (24, 72, 168, 336, 720)},
}  # fmt: skip


_TIMED = {"quick": (10, 100), "standard": (50, 100, 200, 400, 1000), "full": (50, 100, 200, 400, 1000, 2000)}
"""Lengths at which a training step is timed."""


class Length(Experiment):
    """Error against length by cell, from torch's start and from one that is made for the length."""

    name = "length"
    question = "At which length of sequence does each cell stop learning, and what do longer sequences cost?"
    protocol = (
        "Recall: a bit, T steps of noise, then the bit is asked for. Adding: two of T numbers are marked, their sum is "
        "asked for. Copy: ten of eight symbols, to be said again after T steps. Digits: scikit-learn's pictures of 8 × "
        "8 pixels in 8 rows or 64 pixels. etth1: oil temperature, 24 hours ahead, months 12/4/4, from a growing "
        "window.",
        "At every length each cell has about 5,000 parameters in one layer and the same number of optimizer steps "
        "(drawn problems: 1,000 of 16 examples at the standard budget), Adam at 0.01 with a cosine schedule, "
        "gradient norm clipped at 1. Nothing is tuned for a length, and no length helps another: the studies "
        "adding and copy-memory show how much further one comes with both.",
        "Starts: torch's own, and chrono with the number of steps (Tallec & Ollivier 2018) for cells whose gates have "
        "biases for it (standard: on recall and adding). The skill of a training is the share of the best simple "
        "method without memory that it takes away from the error: 0 is as bad as chance, 1 is without error. A cell "
        "holds at a length where the median of its seeds has a skill of at least a half there and at every shorter "
        "length.",
        "Costs of a training step on the adding problem: cells and lengths take turns on one thread, each on one batch "
        "of 16. The power of length is the slope of log time over log length in every round, its median over rounds "
        "with a bootstrap interval. Memory is what a forward and a backward pass of the layer add at their peak to a "
        "process of their own; its power is the slope over lengths with a t-interval.",
    )
    seconds: ClassVar = {"quick": 60.0, "standard": 2500.0, "full": 30000.0}
    measured_by = staticmethod(measure)

    def conditions(self) -> Iterable[Condition]:
        """Sets of data by cell and start."""
        for settings in self.sets():
            for cell in self.cells:
                for init in ["torch", *self._chrono(settings, cell)]:
                    yield {
                        "data": f"{settings['source']}, T = {steps_of(settings)}",
                        "settings": settings,
                        "cell": cell,
                        "parameters": 5_000,
                        "init": init,
                        "learning_rate": 1e-2,
                        "schedule": "cosine",
                        "clip_norm": 1.0,
                    }

    def _chrono(self, settings: Mapping[str, Any], cell: str) -> list[str]:
        """A start that is made for the length, where the cell has gates for it and the budget allows."""
        problems = self.pick((), ("recall", "adding"), ("recall", "adding", "copy", "etth1", "digits"))
        fits = settings["source"] in problems and CELLS[cell].keeps is not None
        return [f"torch+chrono:{steps_of(settings)}"] if fits else []

    def sets(self) -> Iterable[dict[str, Any]]:
        """Every problem at each of its lengths, as a task is opened and trained."""
        examples, epochs = _BATCH * _EPOCH, self.pick(2, 5, 20)
        for source, lengths in _LENGTHS[self.budget].items():
            for length in lengths:
                if source == "etth1":
                    yield {**_ETTH1, "lookback": length, "epochs": self.pick(1, 3, 20)}
                else:
                    yield {**_PROBLEM, "source": source, "length": length, "examples": examples, "epochs": epochs}
        yield from ({**_DIGITS, "by": by, "epochs": self.pick(5, 20, 100)} for by in ("row", "pixel"))

    def baselines(self) -> Iterable[Condition]:
        """The simple methods of every set, and the cost of a step on the adding problem at several lengths."""
        for settings in self.sets():
            common = {"data": f"{settings['source']}, T = {steps_of(settings)}", "settings": settings}
            yield {**common, "baseline": "all", "label": f"baselines, {common['data']}"}
        settings = {**_PROBLEM, "source": "adding", "examples": _BATCH}
        common = {"cells": list(self.cells), "lengths": list(_TIMED[self.budget]), "parameters": 5_000}
        yield {**common, "settings": settings, "label": "cost of a step"}

    def label_of(self, condition: Condition) -> str:
        """The cell, its start where that is not torch's, and the data."""
        start = ", chrono" if "chrono" in condition["init"] else ""
        return f"{called(condition['cell'])}{start}, {condition['data']}"

    def findings(self, table: pd.DataFrame) -> dict[str, Any]:
        """Skill by length of each problem, cell and start; how far each holds; what a step costs at each length."""
        return summarise(table)

    def verdict(self, findings: Findings) -> Sequence[str]:
        """How far each cell holds, what the start changes, whether a longer window helps, what length costs."""
        return length_page.verdict(findings)

    def figures(self, findings: Findings) -> dict[str, Figure]:
        """Skill against length; time and memory against length."""
        return length_page.figures(findings)

    def tables(self, findings: Findings) -> dict[str, Table]:
        """How far each cell holds; every length."""
        return length_page.tables(findings)
