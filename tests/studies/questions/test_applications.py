"""The study of applications: what is run and measured, and words, table and pictures that follow the numbers."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

from gatelab.core.task import Metric
from gatelab.studies.budgets import BUDGETS
from gatelab.studies.questions.applications import Applications, error_of, measure
from gatelab.studies.questions.applications_findings import summarise
from gatelab.studies.questions.applications_page import figures, over_rnn, sorted_out, tables, verdict
from gatelab.studies.questions.applications_table import APPLICATIONS, ASKED, chosen, missing
from gatelab.studies.trials import Trial
from gatelab.tasks import TASKS

SEEDS = (1, 2, 3, 4)
MAE = {"metric.name": "MAE", "metric.goal": "min", "metric.unit": "cars"}
ACCURACY = {"metric.name": "accuracy", "metric.goal": "max", "metric.unit": ""}
TINY = {"task": "problem", "source": "recall", "length": 4, "examples": 64, "held_out": 40}
CONDITION = {"data": "recall", "field": "memory", "settings": TINY}


def trained(data: str, field: str, cell: str, error: float, *, spread: float = 0.01, metric=MAE) -> list[dict]:
    """A row for each seed, as ``Experiment.table`` makes them."""
    shifts = 1 + spread * np.array([-1.0, 0.5, 1.0, -0.7]) * (1 + 0.1 * len(cell))
    history = [{"train_loss": 1.0, "validation_loss": 2.0}, {"train_loss": 0.5, "validation_loss": 1.5}]
    return [
        {"kind": "train", "seed": seed, "data": data, "field": field, "cell": cell, "epochs": 2, **metric,
         "error": error * shift, "reached": error * shift if metric is MAE else 1 - error * shift,
         "measured.parameters": 3_003, "hidden_size": 20, "learning_rate": 3e-3, "train_seconds": 5.0,
         "history": history}
        for seed, shift in zip(SEEDS, shifts, strict=True)
    ]  # fmt: skip


def simple(data: str, metric=MAE, **errors: float) -> list[dict]:
    return [{"kind": "baseline", "seed": 0, "data": data, "baseline": name.replace("_", " "), "error": error,
             "reached": error if metric is MAE else 1 - error} for name, error in errors.items()]  # fmt: skip


ROWS = [
    *trained("traffic", "forecasting", "rnn", 7.0),
    *trained("traffic", "forecasting", "lstm", 7.01, spread=0.05),
    *trained("traffic", "forecasting", "gru", 6.3),
    *simple("traffic", last_value=9.0, linear=7.7),
    *trained("prices", "forecasting", "rnn", 2.0),
    *trained("prices", "forecasting", "lstm", 2.2),
    *trained("prices", "forecasting", "gru", 2.01, spread=0.05),
    *simple("prices", last_value=1.8),
    *trained("digits", "pictures", "rnn", 0.3, metric=ACCURACY),
    *trained("digits", "pictures", "lstm", 0.1, metric=ACCURACY),
    *trained("digits", "pictures", "gru", 0.06, metric=ACCURACY),
    *simple("digits", metric=ACCURACY, linear=0.08),
]


@pytest.fixture(scope="module")
def findings():
    return json.loads(json.dumps(summarise(pd.DataFrame(ROWS)), allow_nan=False))


# ---- the table ---------------------------------------------------------------------------------------------------


def test_every_application_has_a_task_a_budget_and_a_simple_method():
    assert len({each.title for each in APPLICATIONS}) == len(APPLICATIONS)
    for each in APPLICATIONS:
        assert each.settings["task"] in TASKS
        assert each.simple
        epochs = [each.epochs[budget] for budget in BUDGETS if budget in each.epochs]
        assert epochs == sorted(epochs)
        assert len(epochs) == len(each.epochs) > 0


def test_fields_are_missing_until_they_have_an_application():
    assert missing(["music"]) == list(ASKED)
    assert missing(["forecasting", "music", *ASKED[1:]]) == []
    assert all(field not in ASKED or field not in missing([field]) for field in {each.field for each in APPLICATIONS})


@pytest.mark.parametrize("budget", ["quick", "standard", "full"])
def test_cells_of_an_application_differ_in_the_cell_and_its_start_alone(budget):
    conditions = [dict(condition) for condition in Applications(budget).conditions()]
    by_data: dict[str, list[dict]] = {}
    for condition in conditions:
        by_data.setdefault(condition["data"], []).append(condition)
    assert set(by_data) == {each.title for each in chosen(budget)}
    for group in by_data.values():
        assert [condition.pop("cell") for condition in group] == ["rnn", "lstm", "gru"]
        starts = [condition.pop("init") for condition in group]
        assert starts == ["orthogonal", "torch+forget_bias:1", "torch+forget_bias:1"]
        assert group[0] == group[1] == group[2]


# ---- one trial ---------------------------------------------------------------------------------------------------


def test_errors_are_less_where_a_cell_is_better():
    accuracy = Metric("accuracy", "max")
    assert error_of(Metric("MAE"), 3.5, 100) == 3.5
    assert error_of(accuracy, 0.9, 100) == pytest.approx(0.1)
    assert error_of(accuracy, 1.0, 100) == 0.005  # half an item: its logarithm is known


def test_a_trial_measures_the_metric_that_its_task_puts_first(tmp_path):
    trained = {**CONDITION, "cell": "gru", "parameters": 60, "epochs": 1, "learning_rate": 1e-2}
    measures = measure(Trial("train", "", 1, trained), tmp_path / "1", lambda **_: None).measures
    assert measures["metric"] == {"name": "accuracy", "goal": "max", "unit": ""}
    assert measures["reached"] == measures["test"]["accuracy"]
    assert measures["error"] == pytest.approx(1 - measures["reached"])
    tried = measure(Trial("tune", "", 0, trained), tmp_path / "2", lambda **_: None).measures
    assert math.isfinite(tried["score"])
    assert not {"test", "error", "reached"} & set(tried)
    alone = measure(Trial("baseline", "", 0, {**CONDITION, "baseline": "chance"}), tmp_path, lambda **_: None).measures
    assert alone["error"] == pytest.approx(1 - alone["test"]["accuracy"])


# ---- statistics --------------------------------------------------------------------------------------------------


def test_gated_cells_are_compared_with_the_rnn_seed_by_seed(findings):
    ratios = {(ratio["data"], ratio["a"]): ratio for ratio in over_rnn(findings)}
    assert list(ratios) == [(data, cell) for data in ("traffic", "prices", "digits") for cell in ("lstm", "gru")]
    assert {ratio["b"] for ratio in ratios.values()} == {"rnn"}
    assert ratios["traffic", "gru"]["mean"] == pytest.approx(0.9, rel=1e-3)
    assert ratios["digits", "gru"]["mean"] == pytest.approx(0.2, rel=1e-2)
    assert sorted(key for key, ratio in ratios.items() if ratio["found"]) == [
        ("digits", "gru"), ("digits", "lstm"), ("prices", "lstm"), ("traffic", "gru")
    ]  # fmt: skip
    sure = min((ratios[data, "gru"] for data in ("traffic", "prices", "digits")), key=lambda ratio: ratio["p"])
    assert sure["p_holm"] == pytest.approx(3 * sure["p"])  # over three applications


def test_cells_are_set_beside_the_best_simple_method(findings):
    beside = {(ratio["data"], ratio["a"]): ratio for ratio in findings["beside"]}
    assert {key: ratio["b"] for key, ratio in beside.items() if key[1] == "rnn"} == {
        ("traffic", "rnn"): "linear", ("prices", "rnn"): "last value", ("digits", "rnn"): "linear"
    }  # fmt: skip
    assert beside["prices", "rnn"]["mean"] == pytest.approx(2.0 / 1.8, rel=1e-3)
    assert findings["missing"] == ["text", "speech", "anomalies"]


# ---- words, pictures, table --------------------------------------------------------------------------------------


def test_the_verdict_says_where_gates_help_where_not_and_where_no_network_is_needed(findings):
    said = verdict(findings)
    assert said[0] == (
        "At equal parameters, after 2 epochs, gated cells surely beat the RNN on traffic (GRU only) and digits; "
        "the RNN surely beats gated cells on prices (LSTM only)."
    )
    assert said[1] == "A simple method is better than every cell on prices (last value)."
    text = " ".join(said)
    assert "Pictures, error over the RNN's (a star: surely another): digits LSTM 0.33" in text
    assert "traffic: GRU beats the best baseline, linear (MAE 7.7 cars), by 18" in text
    assert "digits: GRU beats the best baseline, linear (accuracy 0.92), by" in text
    assert said[-1] == "Not looked at yet, for want of a task: text, speech and anomalies."


def test_no_difference_and_no_winner_can_be_said():
    rows = [*trained("traffic", "forecasting", "rnn", 7.0, spread=0.1), *simple("traffic", linear=7.0),
            *trained("traffic", "forecasting", "gru", 7.0, spread=0.08)]  # fmt: skip
    said = verdict(summarise(pd.DataFrame(rows)))
    assert said[0] == "At equal parameters, after 2 epochs, no difference is found on traffic."
    assert said[1] == "A simple method is not found to be worse than the best cell on traffic (linear)."
    ahead = verdict(summarise(pd.DataFrame([*trained("x", "music", "rnn", 2.0), *simple("x", linear=3.0)])))
    assert ahead[0] == "RNN on x: no gated cell was trained beside the RNN."
    assert ahead[1] == "On every application the best cell beats every simple method."


def test_what_only_an_interval_tells_is_a_hint(findings):
    assert not any("By its interval alone" in sentence for sentence in verdict(findings))
    doubtful = {**findings, "ratios": [{**ratio, "found": False} for ratio in findings["ratios"]]}
    (hint,) = [sentence for sentence in verdict(doubtful) if sentence.startswith("By its interval alone")]
    named = "traffic (GRU), prices (LSTM), digits (LSTM) and digits (GRU)"
    assert f"differs on {named}, but" in hint


def test_one_seed_finds_nothing():
    rows = pd.DataFrame([row for row in ROWS if row["seed"] in (0, 1)])
    found = summarise(rows)
    assert sorted_out(over_rnn(found)) == {"ahead": [], "behind": [], "open": ["traffic", "prices", "digits"]}
    assert "may be luck" in " ".join(verdict(found))


def test_pictures_and_table_hold_every_cell_and_simple_method(findings):
    shown = figures(findings)
    names = ["Gated cells over the RNN", "Gated cells over the RNN: forecasting", "Beside the simple method"]
    assert list(shown) == [*names, "How they learned"]
    assert "digits: GRU" in shown[names[0]].svg
    assert "digits" not in shown[names[1]].svg
    assert "prices: last value" in shown[names[2]].caption
    (table,) = tables(findings).values()
    assert len(table.rows) == 9 + 4
    assert all(len(row) == len(table.columns) for row in table.rows)
    gru = next(row for row in table.rows if row[:2] == ["traffic (forecasting)", "GRU"])
    assert gru[2].startswith("MAE 6.29")
    assert gru[3].endswith("*")
    assert gru[6] == "3,003 (20)"
    assert "Errors on digits are shares that are wrong" in table.caption
