"""LSTM or GRU? Both beside the RNN at equal parameters, on long sequences drawn and recorded; and both GRUs.

Chung et al. 2014, arXiv:1412.3555, set LSTM and GRU units beside tanh units at equal numbers of parameters, on music
and speech, and found no winner between the two. Fu, Zhang & Li 2016, "Using LSTM and GRU neural network methods for
traffic flow prediction", YAC, set both beside ARIMA. The GRU's reset gate stands before the multiplication in Cho et
al. 2014, arXiv:1406.1078, and after it in torch and cuDNN.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import pandas as pd

from gatelab.report.page import Figure, Table
from gatelab.studies.experiment import Condition, Experiment, Findings
from gatelab.studies.questions import comparison_page
from gatelab.studies.questions.comparison_findings import summarise
from gatelab.studies.questions.comparison_trial import measure
from gatelab.studies.wording import called

BEFORE = "gru_reset_before"


class Data(NamedTuple):
    """Sequences to learn from, and how long."""

    parameters: int
    settings: Mapping[str, Any]
    placements: bool = False
    """Whether the GRU with its reset gate before the multiplication is trained here too: it has no fast code."""


_ADDING = {"task": "problem", "source": "adding", "batch_size": 64, "patience": None}
_TRAFFIC = {"task": "forecasting", "source": "traffic_pems", "frequency": "rows", "split": [0.9, 0.1],
            "normalise": "none", "highway": False, "batch_size": 64}  # fmt: skip
_ETTH1 = {"task": "forecasting", "source": "etth1", "target": "OT", "horizon": 24, "split": [8640, 2880, 2880],
          "normalise": "last", "calendar": False, "highway": False, "point": "mean", "quantiles": [0.1, 0.5, 0.9],
          "batch_size": 64}  # fmt: skip
_CHORALES = {"task": "music", "source": "jsb_chorales", "batch_size": 16, "patience": None}
_HOUR, _HOURS, _HALF_DAY = ({"lookback": rows, "horizon": max(rows // 12, 1)} for rows in (12, 96, 144))

_QUICK = {
    "adding": Data(2_000, {**_ADDING, "length": 30, "shortest": 5, "examples": 2_000, "epochs": 6}, placements=True),
    "traffic": Data(2_000, {**_TRAFFIC, **_HOUR, "epochs": 2}),
}
_STANDARD = {
    "adding": Data(8_000, {**_ADDING, "length": 100, "shortest": 10, "examples": 6_400, "epochs": 10}),
    "traffic": Data(3_200, {**_TRAFFIC, **_HOUR, "epochs": 10}),
    "traffic, long": Data(8_000, {**_TRAFFIC, **_HOURS, "epochs": 5}),
    "etth1": Data(8_000, {**_ETTH1, "lookback": 96, "epochs": 5}),
    "chorales": Data(20_000, {**_CHORALES, "epochs": 30}, placements=True),
}
_FULL = {
    "adding": Data(
        8_000, {**_ADDING, "length": 600, "shortest": 10, "examples": 20_000, "epochs": 20}, placements=True
    ),
    "traffic": Data(3_200, {**_TRAFFIC, **_HOUR, "epochs": 30}, placements=True),
    "traffic, long": Data(8_000, {**_TRAFFIC, **_HALF_DAY, "epochs": 30}, placements=True),
    "etth1": Data(8_000, {**_ETTH1, "lookback": 168, "epochs": 23}, placements=True),
    "chorales": Data(20_000, {**_CHORALES, "epochs": 100}, placements=True),
}


class Comparison(Experiment):
    """RNN, LSTM and GRU, with the reset gate in either place, at equal parameters."""

    name = "comparison"
    question = "LSTM or GRU: which learns more from long sequences at equal parameters, and what does each cost?"
    protocol = (
        "Data: adding (two marked numbers of T to be summed; trained on lengths from 10 to T, scored at T); traffic "
        "(flow at one PeMS detector, an hour in and the next five minutes out; long: eight hours or half a day in, a "
        "twelfth of it out; scored on the test file); etth1 (oil temperature, four days or a week in, a day out, "
        "months 12/4/4); JSB chorales (the next step of 88 keys).",
        "One layer, and nothing beside it that forecasts: no linear path, no clock. Hidden sizes are solved for, so "
        "that all cells of one set of data learn about the same number of parameters. Torch's start, with a bias of 1 "
        "for the gate that keeps the old state, the LSTM's f and the GRU's z. Adam, clipping at 1, a cosine schedule; "
        "the learning rate is chosen for each cell on the validation part with seed 0.",
        "Errors and steps are compared as ratios: the mean over seeds of the logarithm of the ratio of two cells with "
        "the same seed, with its t-interval; tests are corrected by Holm's method over the sets of data.",
        "Steps to level: optimizer steps until the validation loss first reaches the level that half of the seeds of "
        "every gated cell reach, looked at after each epoch. A training that never got there counts with all its "
        "steps, which flatters it.",
        "Costs of a step of training, forward, backward and update: cells take turns in one process on one thread and "
        "one batch; median over the turns, with a bootstrap interval. Memory: what a forward and a backward pass of "
        "the layer adds at its peak to a process of its own. Both speak of this implementation on this machine.",
        "ARIMA, as all baselines, sees the same rows: five orders are fitted by statsmodels on the newest 1,000 rows "
        "of the training part, the one with the least validation error is filtered through the rest. Fu et al. 2016 "
        "forecast the flow at PeMS detectors too, of other years and with ARIMA fitted their way: their finding, both "
        "networks below ARIMA, can be set beside ours, their figures cannot.",
    )
    seconds: ClassVar = {"quick": 40.0, "standard": 1300.0, "full": 60000.0}
    default_cells: ClassVar = ("rnn", "lstm", "gru", BEFORE)
    measured_by = staticmethod(measure)

    def conditions(self) -> Iterable[Condition]:
        """Sets of data by cell; the reset gate before the multiplication only where it is affordable."""
        for name, data in self.pick(_QUICK, _STANDARD, _FULL).items():
            for cell in (cell for cell in self.cells if cell != BEFORE or data.placements):
                yield {
                    "data": name,
                    "settings": dict(data.settings),
                    "cell": cell,
                    "parameters": data.parameters,
                    "init": "torch+forget_bias:1",
                    **self.pick({"learning_rate": 1e-2}, *[{"tune": {"learning_rate": [1e-2, 3e-3]}}] * 2),
                }

    def baselines(self) -> Iterable[Condition]:
        """For each set of data its task's baselines, and what a step of training costs in each cell."""
        sets: dict[str, list[Condition]] = {}
        for condition in self.conditions():
            sets.setdefault(condition["data"], []).append(condition)
        for name, conditions in sets.items():
            common = {entry: conditions[0][entry] for entry in ("data", "settings")}
            yield {**common, "baseline": "all", "label": f"baselines, {name}"}
        for name in self.pick(list(sets)[:1], list(sets), list(sets)):  # each takes some ten seconds
            common = {entry: sets[name][0][entry] for entry in ("data", "settings", "parameters")}
            cells = [condition["cell"] for condition in sets[name]]
            yield {**common, "cells": cells, "label": f"cost of a step, {name}"}

    def label_of(self, condition: Condition) -> str:
        """The cell and the data."""
        return f"{called(condition['cell'])}, {condition['data']}"

    def findings(self, table: pd.DataFrame) -> dict[str, Any]:
        """Error, steps to level and cost of each cell on each set of data, their ratios, and the baselines."""
        return summarise(table)

    def verdict(self, findings: Findings) -> Sequence[str]:
        """LSTM or GRU; the RNN; steps and cost; where the reset gate stands; baselines, ARIMA among them."""
        return comparison_page.verdict(findings)

    def figures(self, findings: Findings) -> dict[str, Figure]:
        """Ratios of GRU to LSTM; errors on each set of data; how the networks learned."""
        return comparison_page.figures(findings)

    def tables(self, findings: Findings) -> dict[str, Table]:
        """Every cell and baseline; the reset gate in either place."""
        return comparison_page.tables(findings)
