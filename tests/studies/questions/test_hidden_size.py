"""The study of hidden sizes: words, tables and pictures that follow the numbers, and the rule that is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from gatelab.studies.questions.hidden_size import HiddenSize
from gatelab.studies.questions.hidden_size_findings import BY_EXAMPLES, ONE_SIZE, summarise
from gatelab.studies.questions.hidden_size_page import figures, tables, verdict

SEEDS = (1, 2, 3, 4, 5)
SIZES = (2, 8, 32, 128)
ABOUT = {"budget": "standard", "seeds": list(SEEDS), "cells": ["gru"]}


def trained(series: str, examples: int, errors: Mapping[int, float], *, cell: str = "gru", spread: float = 0.001):
    """A row for each size and seed, as ``Experiment.table`` makes them; validation errors lie a tenth higher."""
    shifts = spread * np.array([-1.0, 0.5, 1.0, -0.7, 0.2])
    return [
        {"kind": "train", "seed": seed, "series": series, "cell": cell, "hidden_size": size, "examples": examples,
         "parameters": 100 * size, "test.MASE": error + shift, "validation.MASE": 1.1 * error}
        for size, error in errors.items() for seed, shift in zip(SEEDS, shifts, strict=True)
    ]  # fmt: skip


def baseline(series: str, name: str, error: float):
    return {"kind": "baseline", "seed": 0, "series": series, "baseline": name, "test.MASE": error}


def cost(cell: str = "gru"):
    return {"kind": "baseline", "seed": 0, "series": "etth1", "cell": cell, "sizes": list(SIZES), "B": 64, "T": 72,
            "rounds": [[1.0, 1.1, 0.9], [2.0, 2.1, 1.9], [3.0, 3.1, 2.9], [9.0, 9.1, 8.9]],
            "memory_mb": [0.1, 1.0, 4.0, 20.0]}  # fmt: skip


def valley(best: float, steep: float = 0.1) -> dict[int, float]:
    """Errors by size, least at ``best`` and higher by a share ``steep`` with each doubling away from it."""
    return {size: 1 + steep * abs(float(np.log2(size / best))) for size in SIZES}


def found(rows) -> dict:
    return json.loads(json.dumps(summarise(pd.DataFrame(rows), ABOUT), allow_nan=False))


@pytest.fixture(scope="module")
def flat():
    """Four series that all want 32 units, whatever their length; on the last a simple method is better."""
    counts = {"a": 100, "b": 1000, "c": 5000, "d": 20_000}
    rows = [row for name, examples in counts.items() for row in trained(name, examples, valley(32))]
    return found([*rows, baseline("c", "last value", 3.0), baseline("d", "last value", 0.5), cost()])


def test_the_smallest_size_that_is_as_good_is_named():
    errors = {2: 1.2, 8: 1.0005, 32: 1.0, 128: 1.1}
    (series,) = found(trained("a", 100, errors))["series"]
    assert series["cells"]["gru"]["best"] == 32
    assert series["cells"]["gru"]["enough"] == 8  # within the interval of the best
    (series,) = found(trained("a", 100, {**errors, 8: 1.01}))["series"]
    assert series["cells"]["gru"]["enough"] == 32


def test_one_size_is_kept_where_examples_tell_nothing(flat):
    kept = flat["suggestion"]
    assert kept["name"] == ONE_SIZE
    assert kept["rule"]["exponent"] == 0
    assert kept["series"]["a"] == {"examples": 100, "units": 32, "regret": 0.0}
    assert kept["regret"]["mean"] == 0
    assert kept["sizes"]["128"]["regret"]["mean"] == pytest.approx(0.2)
    assert kept["sizes"]["128"]["time"] == pytest.approx(9.0)
    said = " ".join(verdict(flat))
    assert "One size for all, 32 units, is as good a rule as any found" in said
    assert "No gain found from looking at how many examples there are" in said


def test_a_rule_by_examples_is_kept_where_it_is_surely_better():
    counts = {"a": 60, "b": 120, "c": 1000, "d": 2000, "e": 16_000, "f": 32_000}
    best = {name: 8 * (examples / 1000) ** 0.5 for name, examples in counts.items()}
    rows = [row for name, examples in counts.items() for row in trained(name, examples, valley(best[name]))]
    findings = found(rows)
    kept = findings["suggestion"]
    assert kept["name"] == BY_EXAMPLES
    assert kept["rule"]["exponent"] > 0
    assert findings["gain"]["found"]
    assert "It is better than one size for all" in " ".join(verdict(findings))


def test_the_largest_and_the_smallest_are_tried_as_rules(flat):
    rules = {rule["name"]: rule for rule in flat["rules"]}
    assert rules["the largest"]["mean"]["mean"] == pytest.approx(0.2)
    assert rules["the smallest"]["mean"]["mean"] == pytest.approx(0.4)
    assert rules["the smallest"]["within"] == {"0.01": 0.0, "0.02": 0.0, "0.05": 0.0}
    assert rules["best on validation"]["mean"]["mean"] == 0


def test_the_verdict_says_where_a_simple_method_wins_and_what_size_costs(flat):
    said = " ".join(verdict(flat))
    assert "No size beats the simple method on d (last value 0.5, best network 1)" in said
    assert " c (" not in said
    assert "takes 9 times as long with 128 units as with 2, and a pass 0.1 to 20 MB" in said


def test_cells_are_joined_series_by_series():
    rows = [*trained("a", 100, valley(8)), *trained("a", 100, valley(32), cell="lstm")]
    (series,) = found(rows)["series"]
    assert list(series["cells"]) == ["gru", "lstm"]
    assert found(rows)["sizes"]["8"]["mean"] == pytest.approx(0.1)


def test_two_series_are_too_few_for_a_rule():
    findings = found([*trained("a", 100, valley(8)), *trained("b", 100, valley(8))])
    assert findings["rules"] == []
    assert findings["suggestion"] is None
    assert any("Too few series" in said for said in verdict(findings))


def test_tables_and_pictures_hold_every_series_and_rule(flat):
    shown = tables(flat)
    assert [row[0] for row in shown["Every series"].rows] == ["a", "b", "c", "d"]
    assert len(shown["Every rule"].rows) == 5
    drawn = figures(flat)
    assert list(drawn) == ["What a size costs", "Error and size", "Time and memory",
                           "Rules on series they have not seen"]  # fmt: skip
    assert all(figure.alt and figure.svg.startswith("<svg ") for figure in drawn.values())


def test_full_has_all_that_standard_has_and_tunes():
    standard, full = HiddenSize("standard"), HiddenSize("full")
    named = [{condition["series"] for condition in study.conditions()} for study in (standard, full)]
    assert named[0] < named[1]
    assert all("tune" in condition for condition in full.conditions())
    timed = [condition for condition in standard.baselines() if "sizes" in condition]
    assert [condition["sizes"] for condition in timed] == [[2, 8, 32, 128]]
