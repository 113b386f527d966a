"""A question study that takes no time and whose answer is known. Importable by worker processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from gatelab.core.errors import TrainingError
from gatelab.core.random import generator
from gatelab.report import Figure, Table, plots
from gatelab.studies import QUESTIONS
from gatelab.studies.experiment import Condition, Experiment, Findings, values
from gatelab.studies.statistics import described, pairwise
from gatelab.studies.trials import Measured, Trial

BEST_RATE = {"rnn": 0.1, "lstm": 0.2, "gru": 0.3}


def register() -> None:
    """Makes the study known by name in this process."""
    QUESTIONS._entries["slopes"] = "toy_question:Slopes"


def descend(trial: Trial, folder: Path, beat: Any) -> Measured:
    """The further the rate lies from the cell's best, the greater the loss; steep slopes break with odd seeds."""
    given = trial.configuration
    if trial.kind == "baseline":
        return Measured({"test": {"loss": 2.0}})
    if given["steep"] and trial.seed % 2:
        raise TrainingError("fell over", fix="walk slowly")
    miss = abs(given["rate"] - BEST_RATE[given["cell"]])
    noise = 0.01 * generator(trial.seed, "noise", given["cell"]).normal()
    return Measured(
        {"score": miss, "test": {"loss": 1 + miss + noise}, "rate": 10 * given["rate"], "curve": [2.0, 1.0]}
    )


class Slopes(Experiment):
    """Cells go down flat and steep slopes."""

    name = "slopes"
    question = "Which cell goes down a slope best?"
    protocol = ("Each cell goes down, with the rate that suited it.",)
    seconds: ClassVar = {"quick": 2.0, "standard": 4.0, "full": 8.0}
    measured_by = staticmethod(descend)

    def conditions(self) -> Iterable[Condition]:
        for cell in self.cells:
            for steep in self.pick([False], [False], [False, True]):
                yield {"cell": cell, "steep": steep, "tune": {"rate": [0.1, 0.2, 0.3]}}

    def baselines(self) -> Iterable[Condition]:
        yield {"cell": None, "steep": False, "rate": None, "label": "standing still"}

    def findings(self, table: pd.DataFrame) -> dict[str, Any]:
        cells = {cell: values(rows, "test.loss") for cell, rows in table[table["kind"] == "train"].groupby("cell")}
        return {
            "losses": {cell: described(by_seed) for cell, by_seed in cells.items()},
            "found": [gap.found for gap in pairwise(cells)],
        }

    def verdict(self, findings: Findings) -> Sequence[str]:
        best = min(findings["losses"], key=lambda cell: findings["losses"][cell]["mean"])
        return [f"{best} has the least loss.", f"{sum(findings['found'])} differences found."]

    def figures(self, findings: Findings) -> dict[str, Figure]:
        rows = [(cell, loss["mean"], loss["low"], loss["high"], list(loss["values"].values()))
                for cell, loss in findings["losses"].items()]  # fmt: skip
        return {"Losses": Figure(plots.interval_chart(rows))}

    def tables(self, findings: Findings) -> dict[str, Table]:
        return {"Losses": Table(["", "loss"], [[cell, loss["mean"]] for cell, loss in findings["losses"].items()])}
