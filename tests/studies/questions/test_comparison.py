"""The comparison: what is run and measured, and words, table and pictures that follow the numbers."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatelab.cells import CELLS, forward, from_state_dict
from gatelab.studies.experiment import Experiment
from gatelab.studies.questions.comparison import BEFORE, Comparison
from gatelab.studies.questions.comparison_findings import reachable_level, steps_to, summarise
from gatelab.studies.questions.comparison_page import figures, pair, tables, verdict
from gatelab.studies.questions.comparison_trial import flat, measure
from gatelab.studies.statistics import estimate
from gatelab.studies.training_trial import task_of
from gatelab.studies.trials import Record, Trial
from gatelab.training.runs import Run

SEEDS = (1, 2, 3, 4, 5)
TINY = {"task": "problem", "source": "adding", "length": 5, "examples": 64, "held_out": 32, "epochs": 2}
CONDITION = {"data": "adding", "settings": TINY, "parameters": 120, "init": "torch+forget_bias:1"}
COSTS = {f"rounds.{cell}": [base, 1.1 * base, 0.9 * base, base]
         for cell, base in (("rnn", 2.0), ("lstm", 4.0), ("gru", 3.0))}  # fmt: skip
MEMORY = {"memory_mb.rnn": 5.0, "memory_mb.lstm": 10.0, "memory_mb.gru": 8.0}


def curve(*losses: float | None) -> list[dict]:
    return [{"step": 10 * (at + 1), "validation_loss": loss} for at, loss in enumerate(losses)]


def trained(data: str, cell: str, error: float, *, spread: float = 0.01, history=None, **more) -> list[dict]:
    """A row for each seed, as ``Experiment.table`` makes them."""
    shifts = 1 + spread * np.array([-1.0, 0.5, 1.0, -0.7, 0.2]) * (1 + 0.1 * len(cell))
    return [
        {"kind": "train", "seed": seed, "data": data, "cell": cell, "error": error * shift, "metric": "MAE",
         "unit": "cars", "history": history or curve(1.0, 0.5), "measured.parameters": 8_003, "hidden_size": 40,
         "learning_rate": 3e-3, "train_seconds": 12.0, "settings": {"epochs": 2}, "swapped": None, **more}
        for seed, shift in zip(SEEDS, shifts, strict=True)
    ]  # fmt: skip


def alone(data: str, **errors: float) -> list[dict]:
    """The two rows of what is run once."""
    row = {"kind": "baseline", "seed": 0, "data": data}
    measured = {f"errors.{name.replace('_', ' ')}": error for name, error in errors.items()}
    return [{**row, **measured}, {**row, **COSTS, **MEMORY, "steps": 144}]


@pytest.fixture(scope="module")
def findings():
    slow = curve(1.0, 0.9, 0.45)
    rows = [
        *trained("traffic", "rnn", 7.6),
        *trained("traffic", "lstm", 7.0, history=slow),
        *trained("traffic", "gru", 6.3, history=curve(0.5, 0.4, 0.3)),
        *alone("traffic", ARIMA=7.3, linear_autoregression=7.4, chance=70.0),
        *trained("chorales", "lstm", 8.5, spread=0.02),
        *trained("chorales", "gru", 8.49, spread=0.03, swapped=10.0),
        *trained("chorales", BEFORE, 8.9, swapped=9.5),
        *alone("chorales", note_frequencies=11.0),
    ]
    return summarise(pd.DataFrame(rows))


# ---- one trial ---------------------------------------------------------------------------------------------------


def test_a_trial_trains_scores_and_moves_the_reset_gate(tmp_path):
    """The error with the gate moved, from the NumPy cell of the other placement on the same weights."""
    trial = Trial("train", "GRU", 1, {**CONDITION, "cell": "gru", "learning_rate": 1e-2})
    measures = measure(trial, tmp_path, lambda **_: None).measures
    assert measures["metric"] == "MSE"
    assert measures["error"] == measures["test"]["MSE"]
    weights = {name: tensor.double().numpy() for name, tensor in Run.open(tmp_path).model_state().items()}
    layer = {name.removeprefix("encoder."): a for name, a in weights.items() if name.startswith("encoder.")}
    examples = task_of(flat(trial.configuration)).definition.part("test")
    for cell, found in (("gru", measures["error"]), (BEFORE, measures["swapped"])):
        (output, _), _ = forward(CELLS[cell], from_state_dict(CELLS[cell], layer), examples.x.astype(float))
        said = output[-1] @ weights["head.weight"].T + weights["head.bias"]  # (N, 1)
        assert found == pytest.approx(np.mean((said[:, 0] - examples.y[0]) ** 2), rel=1e-4)
    assert measures["swapped"] != pytest.approx(measures["error"], rel=1e-6)


def test_a_tuning_trial_does_not_look_at_the_test_part(tmp_path):
    trial = Trial("tune", "LSTM", 0, {**CONDITION, "cell": "lstm", "learning_rate": 1e-2})
    measures = measure(trial, tmp_path, lambda **_: None).measures
    assert math.isfinite(measures["score"])
    assert not {"test", "error", "swapped"} & set(measures)


def test_every_baseline_of_the_task_is_scored(tmp_path):
    settings = {**TINY, "held_out": 2_000}
    trial = Trial("baseline", "", 0, {"data": "adding", "settings": settings, "baseline": "all"})
    errors = measure(trial, tmp_path, lambda **_: None).measures["errors"]
    assert set(errors) == {"chance", "memoryless", "linear"}
    assert errors["chance"] == pytest.approx(1 / 6, rel=0.1)


@pytest.mark.slow
def test_costs_are_times_in_turns_and_memory_of_a_process(tmp_path):
    settings = {**TINY, "length": 300}
    trial = Trial(
        "baseline", "", 0, {**CONDITION, "settings": settings, "parameters": 4_000, "cells": ["lstm", BEFORE]}
    )
    measures = measure(trial, tmp_path, lambda **_: None).measures
    assert measures["steps"] == 300
    rounds = measures["rounds"]
    assert set(rounds) == set(measures["memory_mb"]) == {"lstm", BEFORE}
    assert len(rounds["lstm"]) == len(rounds[BEFORE]) >= 5
    assert min(rounds["lstm"]) > 0
    least = 300 * 64 * 30 * 4 / 1e6  # MB: the states alone, which the way back needs
    assert all(memory > least for memory in measures["memory_mb"].values())


# ---- statistics --------------------------------------------------------------------------------------------------


def test_steps_to_a_level_and_the_level_itself():
    assert steps_to(0.5, curve(1.0, None, 0.5, 0.2)) == 30
    assert steps_to(0.1, curve(1.0, 0.5)) is None
    rows = {
        "rnn": pd.DataFrame({"history": [curve(3.0)]}),
        "lstm": pd.DataFrame({"history": [curve(1.0, 0.4), curve(0.3), curve(0.9)]}),
        "gru": pd.DataFrame({"history": [curve(0.1), curve(0.2), curve(0.25)]}),
    }
    assert reachable_level(rows) == 0.4  # the LSTM's median; the RNN has no gate and no say
    assert reachable_level({"rnn": rows["rnn"]}) == 3.0


@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=2, max_size=8))
def test_ratios_are_geometric_means_over_paired_seeds(pairs):
    rows = [
        {**trained("x", cell, 1.0)[0], "seed": seed, "error": value}
        for seed, both in enumerate(pairs, start=1)
        for cell, value in zip(("lstm", "gru"), both, strict=True)
    ]
    (ratio,) = summarise(pd.DataFrame(rows))["ratios"]["error"]
    logs = estimate([math.log(a / b) for a, b in pairs])
    assert [ratio["mean"], ratio["low"], ratio["high"]] == pytest.approx(list(np.exp([logs.mean, logs.low, logs.high])))
    turned = pair([ratio], "gru", "lstm")[0]
    assert turned["low"] <= turned["mean"] * (1 + 1e-9)
    assert turned["mean"] * ratio["mean"] == pytest.approx(1)


def test_holms_correction_goes_over_the_sets_of_data(findings):
    ratios = pair(findings["ratios"]["error"], "gru", "lstm")
    assert [(ratio["data"], ratio["found"]) for ratio in ratios] == [("traffic", True), ("chorales", False)]
    assert ratios[0]["mean"] == pytest.approx(0.9, rel=0.01)
    assert ratios[0]["p_holm"] == pytest.approx(2 * ratios[0]["p"])
    assert ratios[1]["p_holm"] == ratios[1]["p"]


def test_a_training_that_never_got_to_the_level_counts_with_all_its_steps(findings):
    (traffic, _) = findings["sets"]
    assert traffic["level"] == 0.45
    assert {cell: (found["steps"]["mean"], found["reached"]) for cell, found in traffic["cells"].items()} == {
        "rnn": (20, 0), "lstm": (30, 5), "gru": (20, 5)
    }  # fmt: skip


def test_costs_are_compared_turn_by_turn(findings):
    ratio = next(ratio for ratio in pair(findings["costs"], "gru", "lstm") if ratio["data"] == "traffic")
    assert ratio["mean"] == pytest.approx(0.75)
    assert ratio["low"] == pytest.approx(0.75)  # every turn is slower or faster for both alike
    assert ratio["memory"] == pytest.approx(0.8)


# ---- words, pictures, table --------------------------------------------------------------------------------------


def test_the_verdict_says_who_errs_less_where_and_where_nothing_was_found(findings):
    said = verdict(findings)
    assert (
        said[0] == "At equal parameters, after 2 epochs, the GRU errs less on traffic; "
        "no difference is found between GRU and LSTM on chorales."
    )
    text = " ".join(said)
    assert "LSTM and RNN: the LSTM errs less on traffic" in text
    assert "RNN on traffic 5 of 5" in text
    assert "fewer on traffic" in text
    assert "GRU over LSTM: traffic 0.75" in text
    assert "the GRU errs less on chorales (error with the gate after" in text
    assert "chorales, trained as GRU, 1.18" in text
    assert "traffic: GRU beats the best baseline, ARIMA (MAE 7.3 cars), by" in text
    assert "RNN not" in text
    assert "traffic, beside ARIMA (MAE 7.3)" in text


def test_one_seed_is_no_difference_and_cells_may_be_missing():
    rows = pd.DataFrame([*trained("traffic", "gru", 6.0)[:1], *trained("traffic", "lstm", 9.0)[:1]])
    said = verdict(summarise(rows))
    assert "no difference is found" in said[0]
    assert "may be luck" in said[-1]
    said = verdict(summarise(pd.DataFrame(trained("traffic", "gru", 6.0))))
    assert said[0] == "GRU on traffic: LSTM and GRU were not both trained."


def test_pictures_and_table_hold_every_cell_and_baseline(findings):
    shown = figures(findings)
    ratios = [f"GRU over LSTM: {quantity}" for quantity in ("error", "steps to level", "time of a step")]
    assert list(shown) == [*ratios, "Error: traffic", "Error: chorales", "How they learned"]
    assert "chance 70" in shown["Error: traffic"].caption  # it would flatten the rest
    assert "ARIMA" in shown["Error: traffic"].svg
    everything, moved = tables(findings).values()
    assert len(everything.rows) == 3 + 3 + 3 + 1
    assert all(len(row) == len(everything.columns) for row in everything.rows)
    assert [row[:2] for row in moved.rows] == [["chorales", "GRU"], ["chorales", "GRU (reset before)"]]


# ---- what is run -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", ["quick", "standard", "full"])
def test_cells_differ_in_nothing_but_the_cell(budget):
    study: Experiment = Comparison(budget)
    by_data: dict[str, list[dict]] = {}
    for condition in study.conditions():
        by_data.setdefault(condition["data"], []).append(dict(condition))
    for conditions in by_data.values():
        assert {condition.pop("cell") for condition in conditions} >= {"rnn", "lstm", "gru"}
        assert all(condition == conditions[0] for condition in conditions)
    assert any(condition["cell"] == BEFORE for condition in study.conditions())


def test_costs_are_measured_once_for_the_cells_that_are_trained():
    study = Comparison("standard", cells=["lstm", "lstm_coupled"])
    costs = [condition for condition in study.baselines() if "cells" in condition]
    assert all(condition["cells"] == ["lstm", "lstm_coupled"] for condition in costs)
    assert len(costs) == len({condition["data"] for condition in study.conditions()})
    records: dict[str, Record] = {}
    assert len({trial.id for trial in study.trials(records)}) == len(study.trials(records))
