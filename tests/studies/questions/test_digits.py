"""The study of digits: what is compared with what, and words that follow the numbers."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from gatelab.core.random import generator
from gatelab.studies.questions.digits import Digits
from gatelab.studies.questions.digits_page import figures, tables, verdict

STUDY = Digits("full")


def table(accuracies: dict[str, float], linear: float = 0.9, spread: float = 0.005, **reading) -> pd.DataFrame:
    reading = {"source": "digits", "by": "pixel", "permuted": False, **reading}
    rows = []
    for cell, accuracy in accuracies.items():
        for seed in range(1, 6):
            history = [{"train_loss": 1.0, "validation_loss": 2.0 + seed}]
            rows.append({**reading, "kind": "train", "cell": cell, "seed": seed, "init": "torch", "hidden_size": 50,
                         "test.accuracy": accuracy + spread * generator(seed, cell).normal(), "learning_rate": 1e-2,
                         "measured.parameters": 10_000, "train_seconds": 3.0, "history": history})  # fmt: skip
    simple = {"chance": 0.1, "linear": linear}
    rows += [{**reading, "kind": "baseline", "seed": 0, "baseline": name, "test.accuracy": value}
             for name, value in simple.items()]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_best_cell_and_what_beats_it_are_named():
    text = " ".join(verdict(STUDY.findings(table({"lstm": 0.95, "gru": 0.90, "rnn": 0.5}))))
    assert re.search(r"LSTM \(0\.9[45]\d?\) on digits of 8 × 8 by pixel", text)
    assert "LSTM is best" in text
    assert "beats the best baseline, linear" in text
    beaten = " ".join(verdict(STUDY.findings(table({"lstm": 0.95}, linear=0.98))))
    assert "The baseline linear (accuracy 0.98) wins" in beaten
    tied = " ".join(verdict(STUDY.findings(table({"lstm": 0.95, "gru": 0.949}, spread=0.02))))
    assert "no difference found" in tied


def test_readings_have_baselines_and_published_figures_of_their_own():
    pixels = {"source": "mnist_t10k", "by": "pixel", "permuted": True}
    findings = STUDY.findings(pd.concat([table({"gru": 0.9}, linear=0.7), table({"gru": 0.8}, **pixels)]))
    assert [reading["baselines"]["linear"] for reading in findings["readings"]] == [0.7, 0.9]
    (shown,) = tables(findings).values()
    assert [row[3] for row in shown.rows if row[0] == "GRU"] == ["", "0.873"]
    assert len(figures(findings)) == 4


@pytest.mark.parametrize("budget", ["quick", "standard", "full"])
def test_chrono_is_for_gates_and_orthogonal_for_the_rnn(budget):
    for condition in Digits(budget).conditions():
        starts = condition.get("tune", {}).get("init", [condition.get("init")])
        assert any("chrono" in start for start in starts) == (condition["cell"] != "rnn")
        assert ("orthogonal" in starts) == (condition["cell"] == "rnn")
