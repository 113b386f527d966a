"""The study of length: skill, how far cells hold, the powers of cost, and words that follow them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gatelab.core.random import generator
from gatelab.studies.questions.length import Length
from gatelab.studies.questions.length_findings import power, skill, steps_of
from gatelab.studies.questions.length_page import figures, tables, verdict

STUDY = Length("full")


def rows_of(source: str, length: int, errors: dict[str, float], simple: float, metric: str = "MSE") -> list[dict]:
    """Trials of each ``cell/start`` and the baseline beside them."""
    settings = {"source": source, "lookback" if source == "etth1" else "length": length}
    common = {"data": f"{source}, T = {length}", "settings": settings, "metric": metric}
    name = {"copy": "memoryless", "etth1": "last value"}.get(source, "chance")
    rows = [{**common, "kind": "baseline", "seed": 0, f"errors.{name}": simple}]
    for key, error in errors.items():
        cell, start = key.split("/")
        init = "torch" if start == "torch" else f"torch+chrono:{length}"
        rows += [{**common, "kind": "train", "cell": cell, "init": init, "seed": seed, "hidden_size": 30,
                  "error": error * (1 + 0.01 * generator(seed, key).normal()), "measured.parameters": 5_000,
                  "train_seconds": 1.0} for seed in range(1, 6)]  # fmt: skip
    return rows


def cost(lengths: list[int], factor: float) -> dict:
    """Time in proportion to length, in every round as slow as the machine is then; memory as its power of 1.5."""
    slow = np.array([1.0, 3.0, 1.0, 1.1, 0.9])  # (R,)
    return {"kind": "baseline", "seed": 0, "settings": {"source": "adding"}, "lengths": lengths, "cells": ["gru"],
            "rounds.gru": [list(factor * steps * slow) for steps in lengths],
            "memory_mb.gru": [0.01 * steps**1.5 for steps in lengths]}  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "error", "simple", "expected"),
    [("MSE", 0.0, 0.2, 1), ("MSE", 0.2, 0.2, 0), ("MSE", 0.3, 0.2, -0.5), ("cross-entropy", 0.05, 0.2, 0.75),
     ("accuracy", 1.0, 0.5, 1), ("accuracy", 0.5, 0.5, 0), ("accuracy", 0.75, 0.5, 0.5)],
)  # fmt: skip
def test_skill_is_the_share_of_the_error_that_is_gone(metric, error, simple, expected):
    assert skill(metric, error, simple) == pytest.approx(expected)


def test_a_cell_holds_up_to_its_first_failure():
    lengths = {10: 0.01, 30: 0.05, 100: 0.15, 300: 0.01}
    rows: list[dict] = []
    for length, error in lengths.items():
        rows += rows_of("adding", length, {"gru/torch": error, "gru/chrono": 0.01, "rnn/torch": 0.16}, 1 / 6)
    held = {(row["cell"], row["start"]): row["steps"] for row in STUDY.findings(pd.DataFrame(rows))["holds"]}
    assert held == {("gru", "torch"): 30, ("gru", "chrono"): 300, ("rnn", "torch"): 0}
    (said,) = verdict(STUDY.findings(pd.DataFrame(rows)))
    assert said == "How far cells hold, in steps: adding: GRU 30, GRU, chrono 300 and perhaps further, RNN nowhere."


def test_each_problem_is_measured_from_its_own_simple_method():
    rows = [*rows_of("copy", 10, {"gru/torch": 0.1}, 0.4, "cross-entropy"),
            *rows_of("recall", 10, {"gru/torch": 0.75}, 0.5, "accuracy")]  # fmt: skip
    copy, recall = STUDY.findings(pd.DataFrame(rows))["conditions"]
    assert copy["skill"]["mean"] == pytest.approx(0.75, abs=0.02)
    assert recall["skill"]["mean"] == pytest.approx(0.5, abs=0.05)


def test_without_its_simple_method_a_problem_has_errors_and_no_skill():
    rows = [row for row in rows_of("adding", 10, {"gru/torch": 0.1}, 0.4) if row["kind"] == "train"]
    (found,) = STUDY.findings(pd.DataFrame(rows))["conditions"]
    assert found["skill"] is None
    assert found["error"]["count"] == 5


def test_the_window_with_the_least_error_is_named_beside_the_shortest():
    rows = [row for length, error in ((24, 3.0), (72, 2.5), (336, 2.8))
            for row in rows_of("etth1", length, {"gru/torch": error}, 3.5, "RMSE")]  # fmt: skip
    findings = STUDY.findings(pd.DataFrame(rows))
    (said,) = verdict(findings)
    assert said.startswith("On etth1 the window with the least RMSE: GRU 72 (2.5")
    assert "at 24 3" in said
    assert "A longer window" in figures(findings)


def test_cost_grows_by_the_power_it_was_made_with():
    rows = [*rows_of("adding", 50, {"gru/torch": 0.01}, 1 / 6), cost([50, 100, 200], 0.2)]
    findings = STUDY.findings(pd.DataFrame(rows))
    gru = findings["costs"]["gru"]
    assert gru["steps"] == [50, 100, 200]
    assert gru["ms"] == pytest.approx([10, 20, 40])
    assert [gru["powers"]["ms"][end] for end in ("mean", "low", "high")] == pytest.approx([1, 1, 1])
    assert gru["powers"]["memory_mb"]["mean"] == pytest.approx(1.5)
    assert "The power of length by which a training step grows: GRU time 1 [1, 1], memory 1.5" in verdict(findings)[-1]
    assert {"What length costs", "How far cells hold"} == set(figures(findings))
    assert set(tables(findings)) == {"How far cells hold", "Every length"}


def test_two_lengths_make_no_power():
    assert power([10, 20], [1.0, 2.0]) is None
    noisy = power([10, 20, 40, 80], [1.0, 2.2, 3.8, 8.1])
    assert noisy is not None
    assert noisy["low"] < 1 < noisy["high"]
    assert np.isfinite(list(noisy.values())).all()


@pytest.mark.parametrize(
    ("settings", "steps"),
    [({"length": 9, "source": "recall"}, 9), ({"lookback": 24, "source": "etth1"}, 24), ({"by": "row"}, 8),
     ({"by": "pixel"}, 64)],
)  # fmt: skip
def test_length_is_that_of_the_problem_the_window_or_the_picture(settings, steps):
    assert steps_of(settings) == steps
