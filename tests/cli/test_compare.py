"""``gatelab compare`` as people type it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from gatelab.cli.main import main

QUICK = ["--cells", "gru", "--seeds", "1", "--budget", "1 epochs", "--parameters", "300", "--jobs", "2"]


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """A short daily series with a weekly pattern."""
    path = tmp_path_factory.mktemp("data") / "days.csv"
    stamps = pd.date_range("2020-01-01", periods=220, freq="D")
    pd.DataFrame({"day": stamps, "y": [10 + at % 7 + at / 50 for at in range(220)]}).to_csv(path, index=False)
    return path


def compare(table: Path, out: Path, *more: str) -> list[str]:
    return ["compare", "forecasting", str(table), "--target", "y", "--horizon", "2", "--lookback", "7",
            "--out", str(out), *QUICK, *more]  # fmt: skip


@pytest.mark.slow
def test_table_verdict_and_where_things_lie_then_json_without_any_work(table, tmp_path, capsys):
    assert main(compare(table, tmp_path)) == 0
    shown = capsys.readouterr()
    assert "GRU" in shown.out
    assert str(tmp_path / "report.html") in shown.out
    assert "trials, 2 at a time" in shown.err
    assert f"gatelab compare forecasting {table}" in (tmp_path / "report.html").read_text()

    assert main(compare(table, tmp_path, "--json")) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["verdict"].split()[0] in shown.out
    assert set(results["cells"]) == {"gru"}
    assert results["seeds"] == [1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["compare"], "needs a task"),
        (["compare", "forcasting", "x.csv"], "did you mean forecasting"),
        (["compare", "forecasting", "nowhere.csv"], "nowhere.csv"),
        (["compare", "forecasting", "co2_weekly", "--cells", "gur"], "did you mean gru"),
        (["compare", "forecasting", "co2_weekly", "--seeds", "0"], "--seeds 5"),
        (["compare", "forecasting", "co2_weekly", "--budget", "soon"], "--budget"),
        (["compare", "forecasting", "co2_weekly", "--out", "/proc/nothing"], "/proc/nothing"),
        (["compare", "forecasting", "co2_weekly", "--layers", "0"], "num_layers"),
        (["compare", "forecasting", "co2_weekly", "--zoneout", "1"], "--zoneout"),
    ],
)
def test_bad_input_is_refused_in_words(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_help_of_the_command_and_of_a_task(capsys):
    assert main(["compare", "--help"]) == 0
    assert "tasks: forecasting" in capsys.readouterr().out
    assert main(["compare", "forecasting", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--horizon" in shown
    assert "--recurrent-dropout" in shown


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(table, tmp_path):
    words = [sys.executable, "-m", "gatelab.cli.main", *compare(table, tmp_path, "--budget", "1h")]
    code = "import sys; from gatelab.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words[1:3] = ["-c", code]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    end = time.monotonic() + 200  # kernels may have to be compiled first
    while not any((path / "metrics.jsonl").exists() for path in tmp_path.glob("trials/*")):
        assert time.monotonic() < end
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "to go on:" in said
    assert "Traceback" not in said
