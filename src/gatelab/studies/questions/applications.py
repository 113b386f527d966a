"""Where do gated cells beat the vanilla RNN, and where do they not? One table of uses, each with a simple method.

Chung et al. 2014, arXiv:1412.3555, found gated units ahead of tanh units on music and speech; Gers, Eck & Schmidhuber
2001 (ICANN), "Applying LSTM to time series predictable through time-window approaches", found an LSTM behind a window
and a feed-forward network on series.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from gatelab.cells.cell import CELLS
from gatelab.core.task import Metric
from gatelab.report.page import Figure, Table
from gatelab.studies.experiment import Condition, Experiment, Findings
from gatelab.studies.questions import applications_page
from gatelab.studies.questions.applications_findings import summarise
from gatelab.studies.questions.applications_table import APPLICATIONS, Application, chosen
from gatelab.studies.questions.comparison_trial import flat
from gatelab.studies.training_trial import task_of, train_on_task
from gatelab.studies.trials import Measured, Trial
from gatelab.studies.wording import called
from gatelab.studies.worker import Beat

_TRAINED = {"clip_norm": 1.0, "schedule": "cosine", "patience": None}


# ---- one trial ---------------------------------------------------------------------------------------------------


def measure(trial: Trial, folder: Path, beat: Beat) -> Measured:
    """What ``train_on_task`` measures; after a training and of a simple method also the task's first ``metric``, what
    was ``reached`` in it, and the ``error``.

    Raises:
        InputError: the condition has an entry that is none of task, model and training.
        TrainingError: training failed, or the result is not a finite number.
    """
    condition = flat({name: value for name, value in trial.configuration.items() if name != "field"})
    measured = train_on_task(replace(trial, configuration=condition), folder, beat)
    if trial.kind == "tune":
        return measured
    metric = task_of(condition).metrics[0]
    reached = measured.measures["test"][metric.name]
    more = {
        "metric": {"name": metric.name, "goal": metric.goal, "unit": metric.unit},
        "reached": reached,
        "error": error_of(metric, reached, measured.measures["items"]),
    }
    return replace(measured, measures={**measured.measures, **more})


def error_of(metric: Metric, value: float, items: int) -> float:
    """What is better when less: the metric, or the share that is missing to 1 where more is better.

    No share is below half an item, so that its logarithm is known where nothing was wrong.
    """
    return value if metric.goal == "min" else max(1 - value, 0.5 / items)


# ---- the study ---------------------------------------------------------------------------------------------------


class Applications(Experiment):
    """RNN, LSTM and GRU on every application of the table, beside a simple method each."""

    name = "applications"
    question = "Where do gated cells beat the vanilla RNN, and where do they not?"
    protocol = (
        "Applications: " + "; ".join(f"{each.title} ({each.field}): {each.text}" for each in APPLICATIONS) + ".",
        "One layer and a linear head, and nothing beside it that could do the work: no linear path, no clock. Hidden "
        "sizes are solved for, so that all cells of an application learn about the same number of parameters. Each "
        "kind of cell begins as is known to be good for it: torch's start with a bias of 1 for the gate that keeps "
        "(the LSTM's f, the GRU's z), orthogonal recurrent weights for the RNN.",
        "Adam on a cosine schedule, gradient norm clipped at 1; a learning rate of 0.01 or 0.003 is chosen for each "
        "cell and application on the validation part with seed 0 (quick: 0.01). The weights of the best epoch are "
        "scored on the test part, by the metric that the task puts first.",
        "Errors are compared as ratios to the RNN's: the mean over seeds of the logarithm of the ratio with the same "
        "seed, with its t-interval; of accuracy the ratio is of the share that is wrong. Surely: beyond 5 % after "
        "Holm's correction over the applications, for each gated cell. With three seeds only differences that are "
        "large beside their scatter pass that test.",
        "The simple methods remember nothing: the last value and a linear function of the same window; what sounds "
        "goes on, or a logistic regression from this step to the next; linear functions of all inputs. Beside the "
        "networks stands the one that is best on the test part, the choice that is hardest on them.",
        "Intervals speak of chance in training, not of other series, composers or pictures.",
    )
    seconds: ClassVar = {"quick": 50.0, "standard": 1000.0, "full": 20000.0}
    measured_by = staticmethod(measure)

    def conditions(self) -> Iterable[Condition]:
        """Applications by cells."""
        for each in chosen(self.budget):
            for cell in self.cells:
                yield {
                    "data": each.title,
                    "field": each.field,
                    "settings": {**_TRAINED, **each.settings},
                    "cell": cell,
                    "parameters": each.parameters,
                    "epochs": each.epochs[self.budget],
                    "init": "orthogonal" if CELLS[cell].keeps is None else "torch+forget_bias:1",
                    **self.pick({"learning_rate": 1e-2}, *[{"tune": {"learning_rate": [1e-2, 3e-3]}}] * 2),
                }

    def baselines(self) -> Iterable[Condition]:
        """The simple methods of each application."""
        for each in chosen(self.budget):
            for name in each.simple:
                yield {**_opened(each), "baseline": name, "label": f"{name}, {each.title}"}

    def label_of(self, condition: Condition) -> str:
        """The cell and the application."""
        return f"{called(condition['cell'])}, {condition['data']}"

    def findings(self, table: pd.DataFrame) -> dict[str, Any]:
        """Error of each cell and simple method by application, ratios to the RNN's and to the best simple method's."""
        return summarise(table)

    def verdict(self, findings: Findings) -> Sequence[str]:
        """Where gated cells are ahead, where not, where a simple method does; which fields are missing."""
        return applications_page.verdict(findings)

    def figures(self, findings: Findings) -> dict[str, Figure]:
        """Errors over the RNN's, over the simple method's, and how the networks learned."""
        return applications_page.figures(findings)

    def tables(self, findings: Findings) -> dict[str, Table]:
        """Every application, every cell and simple method."""
        return applications_page.tables(findings)


def _opened(each: Application) -> dict[str, Any]:
    return {"data": each.title, "field": each.field, "settings": dict(each.settings)}
