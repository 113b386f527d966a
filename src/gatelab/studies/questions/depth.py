"""One layer or many? 1 … 8 layers at equal width and at equal parameters, and what helps deep networks.

Layers on one another give a recurrent network depth in space beside its depth in time (Hermans & Schrauwen 2013,
"Training and analysing deep recurrent neural networks"; Pascanu et al. 2014, arXiv:1312.6026). At equal width each
layer adds parameters, so that what depth does and what size does cannot be told apart; at equal parameters they can.
Remedies for deep networks: residual connections (He et al. 2016, arXiv:1512.03385), dropout between the layers
(Zaremba et al. 2014, arXiv:1409.2329).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pandas as pd

from gatelab.core.task import Task
from gatelab.report.page import Figure, Table
from gatelab.studies.experiment import Condition, Experiment, Findings
from gatelab.studies.questions import depth_page
from gatelab.studies.questions.depth_findings import summarise
from gatelab.studies.training_cost import step_times
from gatelab.studies.training_trial import model_of, task_of, train_on_task
from gatelab.studies.trials import Measured, Trial
from gatelab.studies.wording import called
from gatelab.studies.worker import Beat
from gatelab.training import use_threads
from gatelab.training.runs import Run

_OWN = ("data", "depths")
_TURNS_SECONDS = 2.0


class Data(NamedTuple):
    """What is learned, and by how large a network."""

    task: str
    source: str
    epochs: int
    hidden_size: int
    """At equal width."""
    parameters: int
    """At equal parameters."""


_CHORALES, _WEATHER = (
    Data("music", "jsb_chorales", 20, 32, 20_000),
    Data("forecasting", "seattle_weather", 15, 32, 10_000),
)
_TRAFFIC = Data("forecasting", "traffic_pems", 29, 32, 10_000)
_QUICK = {"sea": Data("forecasting", "elnino_monthly", 4, 32, 10_000)}
_STANDARD = {"chorales": _CHORALES, "weather": _WEATHER}
_FULL = {"chorales": _CHORALES._replace(epochs=100), "weather": _WEATHER._replace(epochs=60), "traffic": _TRAFFIC}


# ---- one trial ---------------------------------------------------------------------------------------------------


def measure(trial: Trial, folder: Path, beat: Beat) -> Measured:
    """Trains and scores on all parts; or, where the condition names ``depths``, takes the time of their steps.

    Raises:
        InputError: the condition has an entry that is none of task, model and training.
        TrainingError: training failed, or the result is not a finite number.
    """
    condition = {name: value for name, value in trial.configuration.items() if name not in _OWN}
    task = task_of(condition)
    if "depths" in trial.configuration:
        return Measured(_times(task, condition, trial.configuration["depths"]))
    measured = train_on_task(replace(trial, configuration=condition), folder, beat)
    if trial.kind == "tune":
        return measured
    metric = task.metrics[0]
    more = {
        "metric": metric.name,
        "unit": metric.unit,
        "error": measured.measures["test"][metric.name],
        "train_error": _train_error(task, condition, folder),
    }
    return replace(measured, measures={**measured.measures, **more})


def _train_error(task: Task, condition: Condition, folder: Path) -> float:
    """The error of the best weights on what they were trained on, without dropout."""
    with use_threads(1):
        network = task.build(model_of(task, condition))
        network.load_state_dict(Run.open(folder).model_state())
        return task.evaluate(network.eval(), "train").metrics[task.metrics[0].name]


def _times(task: Task, condition: Condition, depths: Sequence[int]) -> dict[str, Any]:
    """Milliseconds of a training step by depth, at equal width and at equal parameters."""
    found = {}
    for basis, parameters in (("width", None), ("parameters", condition["parameters"])):
        models = [{**condition, "parameters": parameters, "num_layers": depth} for depth in depths]
        found[basis] = step_times(task, models, _TURNS_SECONDS)
    return {"rounds": found}


# ---- the study ---------------------------------------------------------------------------------------------------


class Depth(Experiment):
    """Error, overfitting and time over the number of layers, and two remedies."""

    name = "depth"
    question = "Do more layers help a recurrent network, what do they cost, and what helps deep ones?"
    protocol = (
        "Data: JSB chorales (the next step of 88 keys, NLL), Seattle's weather (7 days of a daily series, MAE), at "
        "full size also traffic on one motorway lane; at quick size the temperature of the sea off Peru alone. Small "
        "sets on purpose: on these, overfitting can be seen.",
        "Cell: the LSTM, if no others are asked for. At equal width all layers have the same hidden size, so that more "
        "layers are also more parameters; at equal parameters the hidden size is solved for. Torch's start; Adam with "
        "a cosine schedule and clipping at 1, a given number of epochs without early stopping, the weights of the "
        "epoch with the best validation loss. The learning rate of each condition is chosen on the validation part "
        "with seed 0 (quick: 0.003 for all).",
        "Residual: every layer but the lowest adds what it reads to what it gives. Dropout: 0.3, between the layers "
        "and before the head; so one layer has it before the head alone.",
        "Differences are means over seeds of the gap between two conditions with the same seed, in percent of the "
        "second's mean, with t-intervals; tests are corrected by Holm's method within each set of comparisons on one "
        "set of data with one cell. Overfitting gap: error on the test part less error on the training part, both with "
        "the same weights and without dropout. The parts differ, too, so that a gap is not all overfitting; how it "
        "grows with depth is.",
        "Time: networks take turns on one batch and one thread; a step is forward, backward and update.",
    )
    seconds: ClassVar = {"quick": 40.0, "standard": 1700.0, "full": 60000.0}
    default_cells: ClassVar = ("lstm",)
    measured_by = staticmethod(measure)

    def conditions(self) -> Iterable[Condition]:
        """Data by cell by depth, on both bases; and the remedies at equal width."""
        remedied = self.pick(self._depths[-1:], self._depths[-1:], self._depths[1:])
        for name, data in self._data.items():
            for cell in self.cells:
                for depth in self._depths:
                    yield self._condition(name, data, cell, depth)
                    yield self._condition(name, data, cell, depth, parameters=data.parameters)
                yield self._condition(name, data, cell, 1, dropout=0.3)
                for depth in remedied:
                    yield from self._remedies(name, data, cell, depth)

    def _remedies(self, name: str, data: Data, cell: str, depth: int) -> Iterator[Condition]:
        yield self._condition(name, data, cell, depth, residual=True)
        yield self._condition(name, data, cell, depth, dropout=0.3)
        yield self._condition(name, data, cell, depth, residual=True, dropout=0.3)

    def _condition(self, name: str, data: Data, cell: str, depth: int, **changes: Any) -> Condition:
        rates: list[Condition] = [{"learning_rate": 3e-3}, {"tune": {"learning_rate": [1e-2, 3e-3]}},
                                  {"tune": {"learning_rate": [1e-2, 3e-3, 1e-3]}}]  # fmt: skip
        return {
            "data": name,
            "task": data.task,
            "source": data.source,
            "cell": cell,
            "num_layers": depth,
            "hidden_size": data.hidden_size,
            "parameters": None,
            "residual": False,
            "dropout": 0.0,
            "epochs": data.epochs,
            "patience": None,
            **changes,
            **self.pick(*rates),
        }

    def baselines(self) -> Iterable[Condition]:
        """What a step of training costs at each depth, for each set of data and cell."""
        seen = set()
        for condition in self.conditions():
            name, cell = condition["data"], condition["cell"]
            if (name, cell) not in seen and condition["parameters"] is not None:
                seen.add((name, cell))
                common = {entry: value for entry, value in condition.items() if entry not in ("tune", "num_layers")}
                yield {**common, "depths": list(self._depths), "label": f"time of a step, {called(cell)}, {name}"}

    @property
    def _data(self) -> dict[str, Data]:
        return self.pick(_QUICK, _STANDARD, _FULL)

    @property
    def _depths(self) -> tuple[int, ...]:
        return self.pick((1, 2, 4), (1, 2, 4, 8), (1, 2, 3, 4, 6, 8))

    def label_of(self, condition: Condition) -> str:
        """Data, cell, depth, and what is not as usual."""
        return depth_page.label(condition)

    def findings(self, table: pd.DataFrame) -> dict[str, Any]:
        """Errors, gaps and times by depth; each depth beside one layer, each remedy beside none."""
        return summarise(table)

    def verdict(self, findings: Findings) -> Sequence[str]:
        """Where depth helps at equal parameters and at equal width, what it costs, what remedies do."""
        return depth_page.verdict(findings)

    def figures(self, findings: Findings) -> dict[str, Figure]:
        """Error and gap by depth, remedies, time, learning curves."""
        return depth_page.figures(findings)

    def tables(self, findings: Findings) -> dict[str, Table]:
        """Every condition."""
        return depth_page.tables(findings)
