"""The studies of long memory: statistics of logarithms, and words that follow them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gatelab.core.random import generator
from gatelab.studies.questions.adding import Adding
from gatelab.studies.questions.copy_memory import CopyMemory
from gatelab.studies.questions.remedies_findings import TREATMENTS, treatment_of
from gatelab.studies.questions.remedies_page import figures, tables, verdict

USUAL, CHRONO, MIXED, BOTH = TREATMENTS
STUDY = Adding("full")


def table(errors: dict[str, float], spread: float = 0.1, seeds: int = 5, length: int = 600) -> pd.DataFrame:
    """Trials with these test errors by ``cell/treatment``, each seed a little off by a factor of its own."""
    rows = []
    for key, error in errors.items():
        cell, name = key.split("/")
        treatment = TREATMENTS[name]
        condition = {"length": length, "cell": cell, "init": f"torch+chrono:{length}" if treatment.chrono else "torch",
                     "shortest": 10 if treatment.mixed else None}  # fmt: skip
        for seed in range(1, seeds + 1):
            value = error * 10 ** (spread * generator(seed, key).normal())
            history = [{"step": 200 * epoch, "validation_loss": value / epoch} for epoch in (1, 2)]
            rows.append({**condition, "kind": "train", "seed": seed, "test.MSE": value, "measured.parameters": 70_001,
                         "hidden_size": 130, "learning_rate": 3e-3, "steps": 400, "train_seconds": 3.0,
                         "history": history})  # fmt: skip
    simple = {"kind": "baseline", "seed": 0, "length": length, "baseline": "chance", "test.MSE": 1 / 6}
    return pd.DataFrame([*rows, simple])


def said(*arguments, **options) -> list[str]:
    return verdict(STUDY, STUDY.findings(table(*arguments, **options)))


def test_means_and_intervals_are_of_logarithms():
    rows = table({"lstm/as usual": 1e-2}, spread=0.5)
    logs = np.log10(rows["test.MSE"][:5])
    (found,) = STUDY.findings(rows)["conditions"]
    assert found["log10"]["mean"] == pytest.approx(logs.mean())
    low, high = stats.t.interval(0.95, 4, logs.mean(), stats.sem(logs))
    assert (found["log10"]["low"], found["log10"]["high"]) == (pytest.approx(low), pytest.approx(high))
    assert found["curve"]["step"] == [200, 400]
    assert found["curve"]["mean"][0] == pytest.approx(10 ** logs.mean(), rel=1e-3)


def test_what_a_treatment_changes_is_tested_seed_by_seed():
    rows = table({"gru/as usual": 1e-2, "gru/mixed lengths": 1e-4, "gru/chrono": 1.1e-2}, spread=0.2)
    effects = {(gap["a"], gap["b"]): gap for gap in STUDY.findings(rows)["effects"]}
    logs = {name: np.log10(rows["test.MSE"][5 * at : 5 * at + 5].to_numpy()) for at, name in enumerate((USUAL, MIXED))}
    gap = effects[(USUAL, MIXED)]
    assert gap["p"] == pytest.approx(stats.ttest_rel(logs[USUAL], logs[MIXED]).pvalue)
    assert gap["units"]["mean"] == pytest.approx((logs[USUAL] - logs[MIXED]).mean())
    assert gap["found"]
    assert not effects[(USUAL, CHRONO)]["found"]


def test_solved_counts_seeds_below_the_bar():
    rows = table({"lstm/as usual": 1e-3}, spread=0.5)
    (found,) = STUDY.findings(rows)["conditions"]
    assert found["solved"] == (rows["test.MSE"][:5] < 1e-3).sum()
    assert found["seeds"] == 5
    assert 0 < found["solved"] < 5


def test_words_name_what_solves_it_for_whom():
    solved, *_ = said({"lstm/as usual": 0.16, f"lstm/{BOTH}": 1e-4, "gru/as usual": 5e-5, "rnn/as usual": 0.17})
    assert solved == (
        "At T = 600, MSE below 0.001 in every seed: LSTM with “chrono and mixed lengths”; GRU with “as usual”; "
        "RNN in none."
    )
    (partly, *_) = said({"lstm/as usual": 1e-3}, spread=0.5)
    assert "LSTM at best in " in partly
    assert "of 5, with “as usual”" in partly


def test_words_give_factors_and_say_where_none_was_found():
    text = " ".join(said({"gru/as usual": 1e-2, "gru/mixed lengths": 1e-4, "gru/chrono": 1.02e-2}, spread=0.2))
    assert "GRU: “mixed lengths” 0.01" in text or "GRU: “mixed lengths” 0.009" in text or "0.011 [" in text
    assert text.count("no difference found") == 1
    alone = " ".join(said({"gru/as usual": 1e-2, "gru/mixed lengths": 1e-4}, seeds=1))
    assert "multiple" not in alone, "one seed tells nothing of differences"


def test_published_figures_stand_where_the_length_is_theirs():
    assert "Bai et al. 2018 report for T = 600: RNN 0.177, LSTM 0.164 and GRU 5.3e−05." in said({"gru/as usual": 1e-2})
    assert not any("report" in line for line in said({"gru/as usual": 1e-2}, length=200))


def test_the_longest_comes_first():
    rows = pd.concat([table({"gru/as usual": 1e-2}, length=length) for length in (200, 600)])
    findings = STUDY.findings(rows)
    first, second, *_ = verdict(STUDY, findings)
    assert first.startswith("At T = 600")
    assert second.startswith("At T = 200")
    assert next(iter(figures(STUDY, findings))) == "T = 600"
    (shown,) = tables(STUDY, findings).values()
    assert [row[1] for row in shown.rows] == ["600", "600", "200", "200"]


@pytest.mark.parametrize(
    ("init", "shortest", "name"),
    [("torch", None, USUAL), ("torch", float("nan"), USUAL), ("torch+chrono:9", None, CHRONO), ("torch", 2.0, MIXED),
     ("torch+chrono:9", 2, BOTH)],
)  # fmt: skip
def test_treatments_are_known_by_what_they_set(init, shortest, name):
    assert treatment_of(init, shortest) == name


def test_the_bar_of_copy_memory_is_half_of_remembering_nothing():
    assert CopyMemory.bar(1000) == pytest.approx(10 * np.log(8) / 1020 / 2)


@pytest.mark.parametrize(("study", "treatment"), [(Adding, MIXED), (CopyMemory, BOTH)])
def test_the_published_setting_is_among_the_conditions_with_mixed_lengths(study, treatment):
    wanted = max(study.published)
    for budget in ("standard", "full"):
        rows = [row for row in study(budget).conditions() if row["length"] == wanted]
        names = {(row["cell"], treatment_of(row["init"], row["shortest"])) for row in rows}
        assert {("lstm", treatment), ("gru", treatment)} <= names
        assert all(row["parameters"] == study.parameters for row in rows)
        assert ("rnn", CHRONO) not in names, "an RNN has no gate for chrono"
        assert (("rnn", USUAL) in names) == (budget == "full"), "cells without a gate are left to full size there"
