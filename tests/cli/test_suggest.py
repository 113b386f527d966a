"""``gatelab suggest`` as people type it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from gatelab.cli.main import main


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    days = pd.date_range("2020-01-01", periods=300, freq="D")
    pd.DataFrame({"day": days, "load": np.sin(np.arange(300) / 3), "price": 1.0}).to_csv("my.csv", index=False)
    return "my.csv"


def test_size_reasons_choices_and_the_next_command(table, capsys):
    assert main(["suggest", table, "--target", "load", "--horizon", "3", "--cell", "lstm"]) == 0
    shown = capsys.readouterr()
    first = shown.out.splitlines()[0]
    size = int(first.removeprefix("hidden size "))
    assert "On series that the rule was not made from" in shown.out
    assert "That rests on" in shown.out
    assert f"gatelab fit forecasting my.csv --hidden-size {size} --target load --horizon 3 --cell lstm" in shown.out
    assert "error above the best" in shown.out


def test_json_says_the_same_and_nothing_else(table, capsys):
    words = ["suggest", table, "--target", "load", "--horizon", "3"]
    assert main(words) == 0
    size = int(capsys.readouterr().out.splitlines()[0].removeprefix("hidden size "))
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["hidden_size"] == size
    assert {choice["hidden_size"] for choice in found["choices"]} >= {size}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["suggest"], "data"),
        (["suggest", "forecasting", "my.csv"], "takes no task"),
        (["suggest", "nothing.csv"], "nothing.csv"),
        (["suggest", "my.csv", "--target", "lod"], "load"),
        (["suggest", "my.csv", "--target", "load", "--cell", "gur"], "did you mean gru"),
        (["suggest", "my.csv", "--horizon", "0"], "horizon"),
        (["suggest", "my.csv", "--epochs", "3"], "--epochs"),
    ],
)
def test_bad_input_is_refused_in_words(table, words, said, capsys):
    assert main(words) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""
