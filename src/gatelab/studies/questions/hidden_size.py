"""How many hidden units? Error, time and memory over the size, and a rule that is tried on series it has not seen.

What a network of one size loses beside the best size is known only once all sizes were trained. A rule saves that; it
is worth something if it does well on a series that was not used to make it (``studies.sizing``). ``gatelab suggest``
uses the rule that this study found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from gatelab.bench.harness import Shape
from gatelab.bench.suites.long import added_memory
from gatelab.core.config import ModelConfig
from gatelab.report.page import Figure, Table
from gatelab.studies.experiment import Condition, Experiment, Findings
from gatelab.studies.questions import hidden_size_page
from gatelab.studies.questions.hidden_size_findings import summarise
from gatelab.studies.suggest import count_examples
from gatelab.studies.training_cost import step_times
from gatelab.studies.training_trial import task_of, train_on_task
from gatelab.studies.trials import Measured, Trial
from gatelab.studies.wording import called
from gatelab.studies.worker import Beat

_UNTUNED = {"learning_rate": 3e-3}
BASELINES = ("last value", "linear autoregression")
_OWN = ("series", "sizes")
_TURNS_SECONDS = 2.0

# The epochs of each series.
_QUICK = {"co2_weekly": 3, "sunspots_yearly": 20, "elnino_monthly": 10}  # they come with a library: no network
_STANDARD = {"sp500_daily": 11, "vix_daily": 6, "seattle_weather": 19, "melbourne_min_temp": 15, "beijing_pm25": 2,
             "traffic_pems": 6, "etth1": 3, "sunspots_monthly": 19, "air_passengers": 60,
             "exchange_rate": 7}  # fmt: skip
_FULL = {"sp500_daily": 54, "vix_daily": 30, "seattle_weather": 60, "melbourne_min_temp": 60, "beijing_pm25": 10,
         "traffic_pems": 29, "etth1": 16, "sunspots_monthly": 60, "air_passengers": 60, "exchange_rate": 36,
         "co2_weekly": 60, "elnino_monthly": 60, "sunspots_yearly": 60, "us_macro_quarterly": 60}  # fmt: skip


# ---- one trial ---------------------------------------------------------------------------------------------------


def measure(trial: Trial, folder: Path, beat: Beat) -> Measured:
    """Trains and scores one size, or a baseline; or, where the condition names ``sizes``, takes what they cost.

    Raises:
        InputError: the condition has an entry that is none of task, model and training.
        TrainingError: training failed, or the result is not a finite number.
        GatelabError: memory could not be measured.
    """
    condition = {name: value for name, value in trial.configuration.items() if name not in _OWN}
    if "sizes" in trial.configuration:
        return Measured(_costs(condition, trial.configuration["sizes"], beat))
    measured = train_on_task(replace(trial, configuration=condition), folder, beat)
    return replace(measured, measures={**measured.measures, "examples": count_examples(task_of(condition))})


def _costs(condition: Condition, sizes: Sequence[int], beat: Beat) -> dict[str, Any]:
    """Milliseconds of a training step by size, and MB that a pass of the layer takes."""
    task = task_of(condition)
    times = step_times(task, [{**condition, "hidden_size": size} for size in sizes], _TURNS_SECONDS)
    batch = next(iter(task.batches("train", task.training_defaults().batch_size)))
    inputs = task.build(ModelConfig(cell=condition["cell"])).encoder.input_size
    memory = []
    for size in sizes:
        beat()
        memory.append(added_memory(condition["cell"], Shape(batch.size, batch.steps, inputs, size), batch.steps))
    return {"rounds": times, "memory_mb": memory, "B": batch.size, "T": batch.steps}


# ---- the study ---------------------------------------------------------------------------------------------------


class HiddenSize(Experiment):
    """Error, time and memory over the hidden size, on many series."""

    name = "hidden-size"
    question = "How many hidden units does a series need, and can that be told without trying?"
    protocol = (
        "Each series is forecast as gatelab compare does it: horizon, window, calendar and normalisation are those "
        "that gatelab chooses; parts of 70, 10 and 20 % in time order; a linear path beside the network. One layer of "
        "the GRU (or the cells asked for), torch's start, Adam at 0.003 on a cosine schedule, clipping at 1, early "
        "stopping after 8 epochs without a better validation loss. Quick and standard train for fewer steps than "
        "gatelab does by default (standard: about 600); full trains as long, and chooses each size's learning rate "
        "from three on the validation part.",
        "Errors are the MASE of the test part: the mean absolute error over that of the seasonal naive forecast on "
        "the training part. Intervals are t-intervals over seeds. More units stop helping at the smallest size whose "
        "mean error lies within the interval of the best size's.",
        "Regret: how far the error of a size lies above that of the best size on the same series, both means over "
        "seeds, mean of the cells. The best size is the best of these very runs, so that even the same size would "
        "show some regret in other runs: regrets are rather too high than too low.",
        "Rules are made from all series but one and tried on that one, each in turn. One size: the size with the least "
        "mean regret. By examples (training windows in an epoch): units = size · (examples / 1000) ^ exponent, both "
        "fitted. Best on validation is no rule, but what training all sizes buys: the size with the least validation "
        "error. Intervals of mean regrets are 95 % percentile intervals from 9,999 bootstrap resamples of the series. "
        "The rule by examples is kept for gatelab suggest only if its regret is surely lower than that of one size "
        "(t-test over series); else one size is.",
        "Costs: sizes take turns on one batch and one thread; a step is forward, backward and update. Memory is what "
        "a forward and a backward pass of the layer adds to a process that does nothing else.",
    )
    seconds: ClassVar = {"quick": 45.0, "standard": 1650.0, "full": 125000.0}
    default_cells: ClassVar = ("gru",)
    measured_by = staticmethod(measure)

    def conditions(self) -> Iterable[Condition]:
        """Every series with every size."""
        for series, epochs in self.pick(_QUICK, _STANDARD, _FULL).items():
            for cell in self.cells:
                for size in self._sizes:
                    yield {
                        "series": series,
                        "task": "forecasting",
                        "source": series,
                        "cell": cell,
                        "hidden_size": size,
                        "epochs": epochs,
                        **({"tune": {"learning_rate": [1e-2, 3e-3, 1e-3]}} if self.budget == "full" else _UNTUNED),
                    }

    def baselines(self) -> Iterable[Condition]:
        """Two simple methods on every series, and what the sizes cost on one."""
        own = ("cell", "hidden_size", "epochs", "learning_rate", "tune")
        opened = {condition["series"]: {name: value for name, value in condition.items() if name not in own}
                  for condition in self.conditions()}  # fmt: skip
        for series, common in opened.items():
            yield from ({**common, "baseline": name, "label": f"{name}, {series}"} for name in BASELINES)
        timed = opened[self.pick("elnino_monthly", "etth1", "etth1")]
        sizes = list(self.pick(self._sizes[::2], self._sizes, self._sizes))
        for cell in self.cells:
            yield {**timed, "cell": cell, "sizes": sizes, "label": f"cost of a step, {called(cell)}"}

    @property
    def _sizes(self) -> Sequence[int]:
        return self.pick((2, 8, 32), (2, 8, 32, 128), (2, 4, 8, 16, 32, 64, 128, 256))

    def label_of(self, condition: Condition) -> str:
        """Series, cell and size."""
        return f"{condition['series']}, {called(condition['cell'])} {condition['hidden_size']}"

    def findings(self, table: pd.DataFrame) -> dict[str, Any]:
        """Errors by size on each series, regrets, rules and their worth, costs, and the rule that is kept."""
        about = {"budget": self.budget, "seeds": list(self.seeds), "cells": list(self.cells)}
        return summarise(table, about)

    def verdict(self, findings: Findings) -> Sequence[str]:
        """When more stops helping, what it costs, whether a rule can tell, and where networks do not pay."""
        return hidden_size_page.verdict(findings)

    def figures(self, findings: Findings) -> dict[str, Figure]:
        """Regret by series and size, errors, costs, rules."""
        return hidden_size_page.figures(findings)

    def tables(self, findings: Findings) -> dict[str, Table]:
        """Every series; every rule."""
        return hidden_size_page.tables(findings)
