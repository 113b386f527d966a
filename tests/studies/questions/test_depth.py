"""The study of depth: which runs are compared, and words, tables and pictures that follow the numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gatelab.studies.questions.depth import Depth, measure
from gatelab.studies.questions.depth_findings import summarise
from gatelab.studies.questions.depth_page import figures, label, tables, verdict
from gatelab.studies.training_trial import model_of, task_of
from gatelab.studies.trials import Trial
from gatelab.training.runs import Run

SEEDS = (1, 2, 3, 4, 5)
SHIFTS = np.array([-1.0, 0.5, 1.0, -0.7, 0.2])


def trained(depth: int, error: float, *, gap: float = 0.1, spread: float = 0.01, parameters=None, residual=False,
            dropout: float = 0.0, data: str = "weather", cell: str = "lstm"):  # fmt: skip
    """A row for each seed, as ``Experiment.table`` makes them; every condition scatters in its own way."""
    condition = {"data": data, "cell": cell, "num_layers": depth, "hidden_size": 32, "parameters": parameters,
                 "residual": residual, "dropout": dropout, "learning_rate": 3e-3}  # fmt: skip
    shifts = spread * np.roll(SHIFTS, depth + 2 * residual)
    history = [{"train_loss": 2.0, "validation_loss": 3.0}, {"train_loss": 1.0, "validation_loss": 2.5}]
    return [{"kind": "train", "label": label(condition), "seed": seed, **condition, "error": error + shift,
             "train_error": error + shift - gap, "metric": "MAE", "unit": "°C", "measured.parameters": 1000 * depth,
             "measured.hidden_size": 32, "history": history}
            for seed, shift in zip(SEEDS, shifts, strict=True)]  # fmt: skip


def times(data: str = "weather", cell: str = "lstm"):
    rounds = [[1.0, 1.1, 0.9], [4.0, 4.4, 3.6], [8.0, 8.8, 7.2]]
    return {"kind": "baseline", "label": "time", "seed": 0, "data": data, "cell": cell, "depths": [1, 2, 8],
            "rounds.width": rounds, "rounds.parameters": [rounds[0]] * 3}  # fmt: skip


def found(rows) -> dict:
    return json.loads(json.dumps(summarise(pd.DataFrame(rows)), allow_nan=False))


@pytest.fixture(scope="module")
def findings():
    """Deep networks are better at equal width, worse at equal parameters, and best with residual connections."""
    return found([
        *trained(1, 10.0), *trained(2, 9.5, gap=0.3), *trained(8, 9.0, gap=1.0),
        *trained(1, 10.0, parameters=5000), *trained(2, 10.0, parameters=5000), *trained(8, 12.0, parameters=5000),
        *trained(1, 9.9, dropout=0.3), *trained(8, 8.0, residual=True, gap=2.0), *trained(8, 9.0, dropout=0.3, gap=0.2),
        times(),
    ])  # fmt: skip


def test_each_depth_is_compared_with_one_layer_of_its_own_basis(findings):
    (group,) = findings["groups"]
    wide = {gap["a"]: gap for gap in group["deeper"]["width"]}
    assert wide["8"]["b"] == "1"
    assert wide["8"]["units"]["mean"] == pytest.approx(-1.0)
    assert wide["8"]["percent"]["mean"] == pytest.approx(-10.0)
    assert wide["8"]["found"]
    equal = {gap["a"]: gap for gap in group["deeper"]["parameters"]}
    assert equal["8"]["percent"]["mean"] == pytest.approx(20.0)
    assert not equal["2"]["found"]


def test_remedies_are_compared_with_the_plain_network_of_their_depth(findings):
    (group,) = findings["groups"]
    errors = {gap["a"]: gap for gap in group["remedies"]["error"]}
    assert set(errors) == {"residual", "dropout"}
    assert errors["residual"]["b"] == "plain"
    assert errors["residual"]["depth"] == 8
    assert errors["residual"]["units"]["mean"] == pytest.approx(-1.0)
    gaps = {gap["a"]: gap for gap in group["remedies"]["gap"]}
    assert gaps["dropout"]["units"]["mean"] == pytest.approx(-0.8)
    assert gaps["residual"]["units"]["mean"] == pytest.approx(1.0)


def test_the_best_of_one_layer_is_what_deep_ones_must_beat(findings):
    (group,) = findings["groups"]
    assert {gap["b"] for gap in group["shallow"]} == {"1 layer, dropout"}
    best = min(group["shallow"], key=lambda gap: gap["units"]["mean"])
    assert best["a"] == "8 layers, residual"
    assert best["units"]["mean"] == pytest.approx(-1.9)


def test_the_verdict_speaks_of_both_bases_gap_time_and_remedies(findings):
    headline, each, gap, time, remedies, left = verdict(findings)
    assert headline == "8 layers beside one: at equal parameters 1 worse (of 1); at equal width 1 better (of 1)."
    assert "LSTM on weather: no depth found better than one layer" in each
    assert "at equal width it is larger in 1 and smaller in 0 of 1" in gap
    assert time == "A training step with 8 layers takes 8 times at equal width and 1 times at equal parameters as " \
                   "long as with one."  # fmt: skip
    assert "residual 1 better (of 1), narrower gap in 0" in remedies
    assert "dropout no difference found in 1 (of 1), narrower gap in 1" in remedies
    assert "8 layers, residual beside 1 layer, dropout, better (−19 %" in left


def test_nothing_found_is_said():
    rows = [*trained(1, 10.0, spread=0.5), *trained(8, 10.01, spread=0.7), *trained(1, 10.0, parameters=9, spread=0.5)]
    said = verdict(found([*rows, *trained(8, 10.0, parameters=9, spread=0.7)]))
    assert said[0] == "8 layers beside one: at equal parameters no difference found in 1 (of 1); at equal width no " \
                      "difference found in 1 (of 1)."  # fmt: skip


def test_tables_and_pictures_hold_every_condition(findings):
    (table,) = tables(findings).values()
    assert len(table.rows) == 9
    assert [row[3] for row in table.rows][-2:] == ["residual", "dropout"]
    drawn = figures(findings)
    assert len(drawn) == 5
    assert all(figure.alt and figure.svg.startswith("<svg ") for figure in drawn.values())


def test_the_remedies_are_at_equal_width_and_at_depth():
    conditions = list(Depth("standard").conditions())
    remedied = [condition for condition in conditions if condition["residual"]]
    assert remedied
    assert all(condition["parameters"] is None and condition["num_layers"] == 8 for condition in remedied)
    solved = [condition for condition in conditions if condition["parameters"] is not None]
    assert {condition["num_layers"] for condition in solved} == {1, 2, 4, 8}


@pytest.mark.slow
def test_the_training_error_is_that_of_the_weights_kept_and_without_dropout(tmp_path: Path):
    condition = {"data": "any", "task": "problem", "source": "recall", "length": 3, "examples": 64, "held_out": 16,
                 "cell": "gru", "num_layers": 2, "hidden_size": 4, "parameters": None, "residual": True,
                 "dropout": 0.5, "epochs": 2, "patience": None, "learning_rate": 1e-2}  # fmt: skip
    measures = measure(Trial("train", "t", 1, condition), tmp_path, lambda **_: None).measures
    task = task_of({name: value for name, value in condition.items() if name != "data"})
    network = task.build(model_of(task, condition))
    network.load_state_dict(Run.open(tmp_path).model_state())
    with torch.no_grad():
        expected = task.evaluate(network.eval(), "train").metrics[task.metrics[0].name]
    assert measures["train_error"] == expected
    assert measures["error"] == measures["test"][task.metrics[0].name]
