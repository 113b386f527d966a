"""What makes training large: long series, much data, many processes; and what the usual remedies cost and bring.

Truncated backpropagation (Williams & Peng 1990), layer normalisation (Ba et al. 2016, arXiv:1607.06450), recurrent
batch normalisation (Cooijmans et al. 2017, arXiv:1603.09025), mixed precision (Micikevicius et al. 2018,
arXiv:1710.03740; bfloat16, Kalamkar et al. 2019, arXiv:1905.12322), data-parallel training (Goyal et al. 2017,
arXiv:1706.02677).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import pandas as pd
import torch

from gatelab.report.page import Figure, Table
from gatelab.studies.experiment import Condition, Experiment, Findings
from gatelab.studies.questions import large_scale_page
from gatelab.studies.questions.large_scale_findings import summarise
from gatelab.studies.questions.large_scale_series import TIMES
from gatelab.studies.questions.large_scale_trials import measure
from gatelab.studies.wording import called

_ROWS = 2048


class LargeScale(Experiment):
    """Windows of truncated backpropagation, data on disk, normalisation, precision, several processes."""

    name = "large-scale"
    question = "What does it cost to train on long series, much data and several processes, and what helps?"
    protocol = (
        f"The series: noise u and three running means of it with time constants {', '.join(map(str, TIMES))}, each of "
        "variance 1, drawn without end. A network of 32 units reads u and is to say the means; what is scored is the "
        "share of their variance that it misses on another part of the series.",
        f"Windows: truncated backpropagation with carried state. Every update reads {_ROWS:,} rows, whatever the "
        "window: the shorter it is, the more streams are read side by side. So all windows have as much data, as many "
        "updates and the same arithmetic, and differ in how far the gradient reaches. Adam, one rate for all that "
        "falls to nothing in a line, gradients clipped to the norm 1. The bias of a gradient is its distance from the "
        "gradient of full backpropagation over the same stretch, relative to that one's length.",
        "Memory: the peak of resident memory over what was there before, in a process that has done nothing else, read "
        "from the kernel's own high-water mark; the time of a step is that process's CPU time. On disk: one series of "
        "float32 rows, read in one pass by 16 units with an update after each window, in pieces mapped one after the "
        "other, mapped as a whole, or read into memory first.",
        "Normalisation: scikit-learn's 8×8 digits, pixel by pixel, 64 steps; layer norm or recurrent batch norm with "
        "gains of 1 and 0.1 inside one layer. The learning rate falls as a cosine from what the validation loss of "
        "seed 0 chooses for each. Steps of the three are timed by turns.",
        "Precision: a pass of training (50 steps, 32 sequences, 64 inputs) under autocast to bfloat16 beside the same "
        "in float32, by turns, one thread; gatelab's layers and torch's. gatelab's kernels know float32 and float64 "
        "alone: under autocast its layers go step by step through torch's operations. The median over rounds is given.",
        "Processes: the adding problem over 100 steps under torchrun with gloo, one thread each, one batch of 64 "
        "shared, and a batch of 64 for each. Efficiency: the time of one process over that of N, divided by N where "
        "the work was shared. Such times want a machine with nothing beside it: how much other programs computed "
        "meanwhile is measured and said.",
    )
    seconds: ClassVar = {"quick": 55.0, "standard": 900.0, "full": 20000.0}
    measured_by = staticmethod(measure)

    def conditions(self) -> Iterable[Condition]:
        """Windows by cell, the bias by cell, normalisations by cell: what a seed changes."""
        series = {
            "hidden_size": 32,
            "updates": self.pick(40, 1000, 4000),
            "rows": _ROWS,
            "learning_rate": 1e-2,
            "schedule": "linear",
        }
        windows = self.pick([8, 128], *[[8, 32, 128, 512]] * 2)
        for cell in self.cells:
            for window in windows:
                yield _condition("learned", cell, window=window, **series)
            yield _condition("bias", cell, windows=windows, stretch=self.pick(512, 2048, 2048), **series)
        for cell in self._normalised_cells:
            for norm in ("none", "layer_norm", "batch_norm"):
                yield self._normalised(cell, norm)

    def baselines(self) -> Iterable[Condition]:
        """What no seed changes: memory, times, and that several processes do what one does."""
        cell, seconds = self.cells[-1], self.pick(0.3, 5, 20)
        own = {"cell": cell, "hidden_size": 32}
        yield _condition("cost", **own, streams=16, stretch=self.pick(2048, 8192, 16384),
                         windows=self.pick([32], *[[8, 32, 128, 512, 2048]] * 2), readings=["map"])  # fmt: skip
        top = self.pick(10**5, 10**7, 10**8)
        yield _condition("disk", cell, hidden_size=16, streams=1, window=500, lengths=[top // 100, top // 10, top],
                         readings=["pieces", "map", "memory"])  # fmt: skip
        for device in ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]:
            for each in self.cells:
                yield _condition("precision", each, device=device, sizes=self.pick([64], [64, 256], [64, 256, 1024]),
                                 timing_seconds=seconds)  # fmt: skip
        for each in self._normalised_cells:
            yield _condition("norm_cost", each, **_DIGITS, layer_norm=False, batch_norm=False, learning_rate=3e-3,
                             timing_seconds=seconds)  # fmt: skip
        yield _condition("processes", cell, processes=2, batch_size=64, sizes=self.pick([32], [32, 256], [32, 256]),
                         updates=self.pick(5, 10, 50), epochs=self.pick(3, 5, 9))  # fmt: skip

    @property
    def _normalised_cells(self) -> Sequence[str]:
        return self.pick(self.cells[-1:], self.cells[-2:], self.cells)

    def _normalised(self, cell: str, norm: str) -> Condition:
        condition = _condition("norm", cell, **_DIGITS, layer_norm=norm == "layer_norm",
                               batch_norm=norm == "batch_norm") | {"epochs": self.pick(1, 8, 40)}  # fmt: skip
        rates = self.pick([], [3e-2, 1e-2, 3e-3], [3e-2, 1e-2, 3e-3, 1e-3])
        return condition | ({"learning_rate": 3e-3} if self.budget == "quick" else {"tune": {"learning_rate": rates}})

    def label_of(self, condition: Condition) -> str:
        """The part, the cell, and what sets the condition apart in it."""
        part, cell = condition["part"], called(condition["cell"])
        apart = {
            "learned": f", window {condition['window']}",
            "norm": ", layer norm" if condition["layer_norm"] else ", batch norm" if condition["batch_norm"] else "",
            "precision": f", {condition['device']}",
        }
        return f"{large_scale_page.PARTS[part]}: {cell}{apart.get(part, '')}"

    def findings(self, table: pd.DataFrame) -> dict[str, Any]:
        """Each part's own."""
        return summarise(table)

    def verdict(self, findings: Findings) -> Sequence[str]:
        """Part by part."""
        return large_scale_page.verdict(findings)

    def figures(self, findings: Findings) -> dict[str, Figure]:
        """Bias and errors by window, memory by window and length, accuracy, times."""
        return large_scale_page.figures(findings)

    def tables(self, findings: Findings) -> dict[str, Table]:
        """What was learned by window, and all times."""
        return large_scale_page.tables(findings)


_ENTRIES = ("hidden_size", "window", "windows", "updates", "rows", "stretch", "streams", "lengths", "readings",
            "learning_rate", "task", "source", "layer_norm", "batch_norm", "batch_size", "epochs", "schedule",
            "patience", "device", "sizes", "timing_seconds", "processes")  # fmt: skip
_DIGITS = {"task": "problem", "source": "digits", "hidden_size": 48, "batch_size": 32, "schedule": "cosine",
           "epochs": 1}  # fmt: skip


def _condition(part: str, cell: str, **own: Any) -> dict[str, Any]:
    """A condition of ``part``: entries that it has no use for are there, and empty."""
    return {"part": part, "cell": cell, **dict.fromkeys(_ENTRIES), **own}
