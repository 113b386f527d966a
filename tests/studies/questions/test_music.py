"""The study of music: what is run, and words, table and pictures that follow the numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gatelab.studies.questions.music import Music
from gatelab.studies.questions.music_findings import summarise
from gatelab.studies.questions.music_page import PUBLISHED, figures, tables, titled, verdict

SEEDS = (1, 2, 3, 4, 5)
CHORALES, TUNES = "jsb_chorales", "nottingham_pianoroll"


def trained(source: str, parameters: int, cell: str, nll: float, *, dropout: float = 0.3, spread: float = 0.01, **more):
    """A row for each seed, as ``Experiment.table`` makes them; every seed lies elsewhere, but in the same order."""
    history = [{"train_loss": 9.0, "validation_loss": 10.0}, {"train_loss": 8.0, "validation_loss": nll}]
    shifts = spread * np.array([-1.0, 0.5, 1.0, -0.7, 0.2]) * (1 + 0.1 * len(cell))
    return [
        {"kind": "train", "seed": seed, "source": source, "parameters": parameters, "cell": cell, "epochs": 100,
         "learning_rate": 3e-3, "recurrent_dropout": dropout, "test.NLL": nll + shift, "validation.NLL": nll - 0.1,
         "test.accuracy": 0.3, "measured.parameters": parameters + 7, "hidden_size": 40, "train_seconds": 60.0,
         "history": history, **more}
        for seed, shift in zip(SEEDS, shifts, strict=True)
    ]  # fmt: skip


def baselines(source: str, **values: float):
    return [{"kind": "baseline", "seed": 0, "source": source, "baseline": name.replace("_", " "), "test.NLL": value}
            for name, value in values.items()]  # fmt: skip


@pytest.fixture(scope="module")
def findings():
    rows = [
        *trained(CHORALES, 300_000, "rnn", 8.80),
        *trained(CHORALES, 300_000, "lstm", 8.20),
        *trained(CHORALES, 300_000, "gru", 8.43, spread=0.05),
        *trained(CHORALES, 20_000, "gru", 8.54, dropout=0.0),
        *trained(CHORALES, 20_000, "gru", 8.45, dropout=0.25),
        *trained(TUNES, 300_000, "lstm", 3.60),
        *baselines(CHORALES, chance=61.0, logistic_regression=9.03),
    ]
    return summarise(pd.DataFrame(rows))


def test_groups_are_data_budget_and_dropout(findings):
    assert [titled(group) for group in findings["groups"]] == [
        "JSB chorales, 20,000 parameters, no dropout",
        "JSB chorales, 20,000 parameters",
        "JSB chorales, 300,000 parameters",
        "Nottingham, 300,000 parameters",
    ]
    lstm = findings["groups"][2]["cells"]["lstm"]
    assert lstm["test"]["mean"] == pytest.approx(8.20)
    assert lstm["test"]["low"] < 8.20 < lstm["test"]["high"]
    assert lstm["parameters"] == 300_007
    assert lstm["chosen"] == {"learning_rate": 3e-3, "recurrent_dropout": 0.3}
    assert lstm["curve"] == {"train": [9.0, 8.0], "validation": [10.0, 8.2]}
    assert findings["baselines"] == {CHORALES: {"chance": 61.0, "logistic regression": 9.03}}


def test_the_verdict_says_who_leads_and_how_that_stands_to_what_was_published(findings):
    headline, _, _, large, tunes = verdict(findings)
    assert "on JSB chorales by LSTM of 300,000 parameters (8.2 nats/step)" in headline
    assert "LSTM is best" in large
    assert "beats the best baseline, logistic regression (NLL 9.03" in large
    assert "surely below what Bai et al. 2018 report: RNN (8.91) and LSTM (8.45)" in large
    assert "no difference found from Bai et al. 2018: GRU" in large
    assert "surely above what Bai et al. 2018 report: LSTM (3.29)" in tunes


def test_cells_that_cannot_be_told_apart_are_said_to_be_so():
    rows = [*trained(CHORALES, 20_000, "lstm", 8.50, spread=0.2), *trained(CHORALES, 20_000, "gru", 8.49, spread=0.3)]
    said = verdict(summarise(pd.DataFrame(rows)))
    assert "by GRU and LSTM of 20,000 parameters (8.49 nats/step, no difference found between them)" in said[0]
    assert "No difference found between GRU and LSTM" in said[1]


def test_short_trainings_are_not_set_beside_published_figures():
    said = verdict(summarise(pd.DataFrame(trained(CHORALES, 20_000, "lstm", 9.1, epochs=8))))
    assert "After 8 epochs this is no match" in said[1]
    assert "Chung" not in " ".join(said)


def test_the_table_and_the_pictures_hold_every_network_baseline_and_published_figure(findings):
    (table,) = tables(findings).values()
    assert len(table.rows) == 3 + 1 + 1 + 2 + 1
    assert all(len(row) == len(table.columns) for row in table.rows)
    lstm = next(row for row in table.rows if row[:2] == ["JSB chorales", "LSTM"])
    assert lstm[2] == "300,007 (40)"
    assert lstm[3].startswith("8.2 [")
    assert lstm[5] == "8.45"
    shown = figures(findings)
    assert "Chung" in shown["JSB chorales: NLL"].svg
    assert "logistic" in shown["JSB chorales: NLL"].svg
    assert all(figure.svg.startswith("<svg ") and figure.alt for figure in shown.values())


def test_what_was_published_is_run_at_standard_size_and_full_trains_longer():
    standard, full = (
        {(condition["source"], condition["parameters"], condition["cell"]): condition["epochs"]
         for condition in Music(budget).conditions()} for budget in ("standard", "full")
    )  # fmt: skip
    assert {key[:2] for key in standard} == set(PUBLISHED)
    assert {cell for *_, cell in standard} == {"rnn", "lstm", "gru"}
    assert all(epochs < full[key] for key, epochs in standard.items())
    quick = list(Music("quick").conditions())
    assert all("tune" not in condition for condition in quick)
    assert Music("quick", seeds=2).count() == len(quick) * 2 + 4
