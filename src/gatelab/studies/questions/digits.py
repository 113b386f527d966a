"""Which digit was it? Pictures read pixel by pixel or row by row, and named after the last step.

Le, Jaitly & Hinton 2015 (arXiv:1504.00941) read MNIST by pixel, in order and permuted; so did Bai, Kolter & Koltun
2018 (arXiv:1803.01271).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

import pandas as pd

from gatelab.cells.cell import CELLS
from gatelab.report.page import Figure, Table
from gatelab.studies.experiment import Condition, Experiment, Findings
from gatelab.studies.questions import digits_page
from gatelab.studies.questions.digits_findings import summarise
from gatelab.studies.training_trial import train_on_task
from gatelab.studies.wording import called


class Reading(NamedTuple):
    """Pictures, and how they are read."""

    source: str
    by: str
    permuted: bool
    steps: int
    """Of a picture (T)."""
    epochs: int

    def opened(self) -> Condition:
        """How the task is opened."""
        return {"task": "problem", "source": self.source, "by": self.by, "permuted": self.permuted}


_SMALL = Reading("digits", "pixel", permuted=False, steps=64, epochs=100)
_ROWS = Reading("mnist_t10k", "row", permuted=False, steps=28, epochs=30)
_PIXELS = Reading("mnist_t10k", "pixel", permuted=False, steps=784, epochs=30)
_PERMUTED = Reading("mnist_t10k", "pixel", permuted=True, steps=784, epochs=30)


class Digits(Experiment):
    """RNN, LSTM and GRU on sequences of pixels and of rows."""

    name = "digits"
    question = "How well do RNN, LSTM and GRU tell which digit it was, from rows of pixels and from single pixels?"
    protocol = (
        "Data: scikit-learn's 1,797 digits of 8 × 8 pixels, and the 10,000 test digits of MNIST, of 28 × 28; of each "
        "digit 70 % to train, 10 % to validate and 20 % to test, divided once. A step reads a pixel or a row, from the "
        "top left; permuted: in one random order of all pixels. The digit is asked for after the last step.",
        "Each cell has about 10,000 parameters, one layer, Adam with a cosine schedule, 64 pictures a batch, gradient "
        "norm clipped at 1; 60 epochs of the small digits, 15 of rows, 5 of MNIST's pixels, which is far from enough "
        "(full: 100, 30 and 30; quick: 10 of the small digits). Biases start as chrono's with the picture's number of "
        "steps (Tallec & Ollivier 2018), the RNN's recurrent weights as an orthogonal matrix; at full size each cell "
        "may choose torch's start instead. It has chosen its learning rate, 0.01 or 0.003, by the validation loss of "
        "seed 0 (quick: 0.01); it is trained with other seeds, and the weights of the best epoch are scored.",
        "Published figures are for the whole of MNIST, 60,000 pictures to train with and 70,000 parameters: no match "
        "for ours, which have 7,000 pictures.",
    )
    seconds: ClassVar = {"quick": 60.0, "standard": 1900.0, "full": 36000.0}
    measured_by = staticmethod(train_on_task)

    def readings(self) -> Sequence[Reading]:
        """What goes with the budget."""
        standard = [_SMALL._replace(epochs=60), _ROWS._replace(epochs=15), _PIXELS._replace(epochs=5)]
        return self.pick([_SMALL._replace(epochs=10)], standard, [_SMALL, _ROWS, _PIXELS, _PERMUTED])

    def conditions(self) -> Iterable[Condition]:
        """Readings by cells."""
        for reading in self.readings():
            for cell in self.cells:
                yield {
                    **reading.opened(),
                    "cell": cell,
                    "parameters": 10_000,
                    "batch_size": 64,
                    "epochs": reading.epochs,
                    "schedule": "cosine",
                    "clip_norm": 1.0,
                    "patience": None,
                    **self._chosen(cell, reading.steps),
                }

    def _chosen(self, cell: str, steps: int) -> Condition:
        start = f"torch+chrono:{steps}" if CELLS[cell].keeps is not None else "orthogonal"
        rates = [1e-2, 3e-3]
        return self.pick(
            {"learning_rate": rates[0], "init": start},
            {"init": start, "tune": {"learning_rate": rates}},
            {"tune": {"learning_rate": rates, "init": ["torch", start]}},
        )

    def baselines(self) -> Iterable[Condition]:
        """The digits' frequencies, what the last step alone tells, logistic regression on all pixels."""
        for reading in self.readings():
            yield from ({**reading.opened(), "baseline": name} for name in ("chance", "memoryless", "linear"))

    def label_of(self, condition: Condition) -> str:
        """The cell or the baseline, and the reading."""
        return f"{called(condition.get('baseline') or condition['cell'])}, {digits_page.titled(condition)}"

    def findings(self, table: pd.DataFrame) -> dict[str, Any]:
        """Accuracy of each cell and baseline by reading, and what was chosen."""
        return summarise(table)

    def verdict(self, findings: Findings) -> Sequence[str]:
        """Who tells best, by reading; how that stands to the baselines."""
        return digits_page.verdict(findings)

    def figures(self, findings: Findings) -> dict[str, Figure]:
        """Accuracy of cells and baselines, and learning curves."""
        return digits_page.figures(findings)

    def tables(self, findings: Findings) -> dict[str, Table]:
        """Cells, baselines and published figures."""
        return digits_page.tables(findings)
