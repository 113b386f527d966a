"""``gatelab fit``, ``predict``, ``evaluate`` and ``update``, one after another on one model."""

from __future__ import annotations

import io
import json
import shlex
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import gatelab
import toys
from gatelab.cli.main import COMMANDS, main
from gatelab.core.random import generator
from gatelab.tasks import TASKS
from gatelab.tasks.forecasting import statespace
from gatelab.tasks.loading import load
from gatelab.training.events import Stepped
from gatelab.training.progress import ProgressBar

FIT = ("fit", "forecasting", "table.csv", "--target", "load", "--horizon", "3", "--lookback", "6", "--hidden-size",
       "4", "--epochs", "2", "--normalise", "last", "--calendar", "no")  # fmt: skip


def write_tables(folder: Path) -> None:
    rows = np.arange(200)
    load = 50 + np.sin(rows / 4) + generator(0, "load").normal(0, 0.1, len(rows))
    frame = pd.DataFrame({"time": pd.date_range("2024-01-01", periods=200, freq="h"), "load": load})
    frame.to_csv(folder / "longer.csv", index=False)
    frame[:160].to_csv(folder / "table.csv", index=False)


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(statespace, "affordable", lambda windows: False)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    write_tables(tmp_path)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    write_tables(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(statespace, "affordable", lambda windows: False)
        assert main([*FIT, "--out", "run"]) == 0
    return folder / "run"


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A copy of a model that was trained once."""
    shutil.copytree(trained, tmp_path / "run")
    return Path("run")


def said(capsys, *words: str) -> tuple[str, str]:
    """What a command that succeeds writes to stdout and to stderr."""
    capsys.readouterr()
    code = main(list(words))
    found = capsys.readouterr()
    assert code == 0, found.err
    return found.out, found.err


def printed_json(capsys, *words: str):
    out, _ = said(capsys, *words, "--json")

    def strict(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(out, parse_constant=strict)


# ---- fit ----------------------------------------------------------------------------------------------------------


def test_fit_says_what_it_does_and_what_came_of_it(capsys):
    out, err = said(capsys, *FIT, "--out", "run")
    assert "160 hourly rows" in err
    assert "210 parameters, about " in err
    assert err.index("160 hourly rows") < err.index("210 parameters") < err.index("epochs done")
    for method in ("gru", "last value", "seasonal naive (24)", "linear autoregression"):
        assert f"{method}  " in out
    assert "GRU reaches MAE" in out
    assert "gatelab predict run" in out
    page = Path("run/report.html").read_text()
    for title in ("Forecasts against the truth", "How well", "How it learned", "What was decided about the data"):
        assert title in page
    assert shlex.join(["gatelab", *FIT, "--out", "run"]) in page.replace("&#39;", "'")


def test_fit_as_json_is_the_same_and_nothing_else(capsys):
    found = printed_json(capsys, *FIT, "--out", "run")
    forecaster = gatelab.Forecaster.load("run")
    table = pd.read_csv("table.csv", parse_dates=["time"])
    test = forecaster.evaluate(table[160 - 32 - 6 :])  # the last fifth, and the steps its first window looks back on
    assert found["metrics"] == pytest.approx(test)
    assert found["folder"] == "run"
    assert found["report"] == "run/report.html"
    assert found["part"] == "test"
    assert set(found["baselines"]) >= {"last value", "drift", "linear autoregression"}


def test_a_finished_model_is_not_trained_again(capsys, run, monkeypatch):
    weights = (run / "model.safetensors").stat().st_mtime_ns
    out, err = said(capsys, *FIT, "--out", "run")
    assert "nothing is trained again" in err
    assert "epochs done" not in err
    assert "GRU reaches MAE" in out
    assert (run / "model.safetensors").stat().st_mtime_ns == weights


def test_a_training_that_was_stopped_goes_on_to_the_same_model(capsys, run, monkeypatch):
    original = ProgressBar.__call__

    def stopping(self, event):
        original(self, event)
        if isinstance(event, Stepped) and event.step == 12:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(ProgressBar, "__call__", stopping)
        assert main([*FIT, "--out", "again"]) == 130
    err = capsys.readouterr().err
    assert shlex.join(["gatelab", *FIT, "--out", "again"]) in err
    assert "Traceback" not in err
    _, err = said(capsys, *FIT, "--out", "again")
    assert "going on after step" in err
    assert Path("again/model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_settings_that_are_not_given_suit_the_data(capsys, run):
    loaded = load("run")
    defaults = loaded.task.reopen("table.csv", "update").training_defaults()
    assert loaded.run.training.batch_size == defaults.batch_size == 8
    assert loaded.run.training.epochs == 2


def test_seeds_and_settings_reach_the_model(capsys):
    printed = printed_json(capsys, *FIT, "--seed", "3", "--cell", "lstm", "--batch-size", "16", "--out", "run")
    assert (printed["seed"], printed["cell"]) == (3, "lstm")
    found = load("run").run
    assert (found.seed, found.model.cell, found.training.batch_size) == (3, "lstm", 16)


def test_without_a_test_part_the_validation_part_is_scored(capsys):
    printed = printed_json(capsys, *FIT, "--split", "0.8,0.2", "--out", "run")
    assert printed["part"] == "validation"
    assert "on the validation part" in printed["verdict"]


def test_double_precision(capsys):
    assert printed_json(capsys, *FIT, "--precision", "float64", "--out", "run")["metrics"]["MAE"] > 0
    said(capsys, "predict", "run")


def test_another_task_gets_the_command_for_nothing(capsys, monkeypatch):
    monkeypatch.setattr(TASKS, "_entries", dict(TASKS._entries))
    toys.register()
    plain = toys.AddingTask.open.__func__  # it takes a number, and a command line has words
    monkeypatch.setattr(toys.AddingTask, "open", classmethod(lambda kind, source, c: plain(kind, int(source), c)))
    words = ["fit", "adding", "1", "--items", "64", "--hidden-size", "4", "--epochs", "1", "--out", "run"]
    printed = printed_json(capsys, *words)
    assert printed["task"] == "adding"
    assert Path("run/report.html").exists()


# ---- predict ------------------------------------------------------------------------------------------------------


def test_predict_goes_on_after_the_table(capsys, run):
    out, _ = said(capsys, "predict", "run")
    assert out.split("\n")[2].startswith("2024-01-07 16:00:00")
    out, err = said(capsys, "predict", "run", "longer.csv")
    assert out.split("\n")[2].startswith("2024-01-09 08:00:00")
    assert "200 hourly rows" in err
    loaded = load("run")
    frame = loaded.task.predict(loaded.model, "longer.csv")
    rows = printed_json(capsys, "predict", "run", "longer.csv")
    assert [row["forecast"] for row in rows] == pytest.approx(frame["forecast"].tolist(), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "read"), [("f.csv", pd.read_csv), ("f.parquet", pd.read_parquet), ("f.json", pd.read_json)]
)
def test_predict_writes_every_column(capsys, run, name, read):
    out, _ = said(capsys, "predict", "run", "--out", name)
    assert f"written to {name}" in out
    found = read(name)
    loaded = load("run")
    expected = loaded.task.predict(loaded.model, "table.csv")
    assert list(found.columns) == list(expected.columns)
    np.testing.assert_allclose(found["q2.5"], expected["q2.5"], rtol=1e-12)
    assert pd.to_datetime(found["time"]).tolist() == expected["time"].tolist()


def test_predict_draws_a_picture(capsys, run):
    out, _ = said(capsys, "predict", "run", "--plot", "p.svg", "--out", "f.csv")
    assert "written to f.csv and p.svg" in out
    assert Path("p.svg").read_text().startswith("<?xml")
    said(capsys, "predict", "run", "--plot", "p.png", "--json")
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")
    assert main(["predict", "run", "--plot", "p.gif"]) == 2
    assert ".png or .svg" in capsys.readouterr().err


def test_predict_takes_the_best_model_of_a_study(capsys, run):
    Path("study").mkdir()
    run.rename("study/best")
    assert said(capsys, "predict", "study")[0] == said(capsys, "predict", "study/best")[0]


def test_predict_finds_its_table_from_another_folder(capsys, run, monkeypatch):
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert "2024-01-07" in said(capsys, "predict", "../run")[0]


def test_predict_reads_a_pipe(capsys, run, monkeypatch):
    from_file = said(capsys, "predict", "run", "longer.csv")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path("longer.csv").read_bytes())))
    assert said(capsys, "predict", "run", "-") == from_file


@pytest.mark.parametrize("content", ["", "time,lod\n2024-01-01,1\n"])
def test_a_pipe_that_cannot_be_used_is_called_by_its_name(content, capsys, run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    assert main(["predict", "run", "-"]) == 2
    err = capsys.readouterr().err
    assert "standard input" in err
    assert "/" not in err.partition("standard input")[0]


# ---- evaluate and update ------------------------------------------------------------------------------------------


def test_evaluate_scores_every_window_beside_what_needs_no_training(capsys, run):
    found = printed_json(capsys, "evaluate", "run", "longer.csv")
    assert found["items"] == 200 - 6 - 3 + 1
    assert set(found["metrics"]) == {"gru", "last value", "seasonal naive (24)", "seasonal naive (168)", "drift"}
    assert "CRPS" in found["metrics"]["gru"]
    out, err = said(capsys, "evaluate", "run", "longer.csv")
    assert "gru" in out
    assert "need no training" in err


def test_evaluate_with_folds_is_a_backtest(capsys, run):
    rows = printed_json(capsys, "evaluate", "run", "longer.csv", "--folds", "2")["folds"]
    assert {row["fold"] for row in rows} == {1, 2}
    out, err = said(capsys, "evaluate", "run", "longer.csv", "--folds", "2")
    assert "fold 2" in out
    assert "mean" in out
    assert "trained on 140 rows, tested on 20" in err
    assert load("run").run.training.epochs == 2


def test_update_goes_on_and_leaves_the_old_model(capsys, run):
    before = (run / "model.safetensors").read_bytes()
    found = printed_json(capsys, "update", "run", "longer.csv", "--out", "new", "--epochs", "3")
    assert set(found["before"]) == set(found["after"])
    assert found["better"] == (found["after"]["MAE"] < found["before"]["MAE"])
    assert (run / "model.safetensors").read_bytes() == before
    assert load("new").run.training.epochs == 3
    out, _ = said(capsys, "predict", "new")
    assert "2024-01-09 08:00:00" in out
    out, _ = said(capsys, "update", "run", "longer.csv", "--out", "new", "--epochs", "3")
    assert "before" in out
    assert "after the update" in out


def test_an_update_that_harms_is_said(capsys, run):
    out, _ = said(capsys, "update", "run", "longer.csv", "--out", "new", "--epochs", "1", "--learning-rate", "5")
    assert "did not help" in out


# ---- help ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["fit"], ["fit", "forecasting"], ["compare", "forecasting"], ["predict"],
                                   ["evaluate"], ["update"]])  # fmt: skip
def test_help_ends_with_examples_that_name_the_command(words, capsys):
    out, _ = said(capsys, *words, "--help")
    examples = out.partition("examples:\n")[2].strip().splitlines()
    assert examples
    assert all(example.strip().startswith(f"gatelab {words[0]} ") for example in examples)


@pytest.mark.parametrize("command", ["fit", "compare"])
def test_groups_stand_in_order_and_are_called_by_names(command, capsys):
    out, _ = said(capsys, command, "forecasting", "--help")
    groups = ["column options", "forecasting options"] + ["model options", "training options"] * (command == "fit")
    places = [out.index(group) for group in groups]
    assert places == sorted(places)
    assert "config" not in out
    assert "What the columns are" in out


def test_the_table_of_commands_names_all_of_them():
    tail = ["study", "suggest", "fit", "predict", "generate", "evaluate", "update", "bench", "export", "data"]
    assert list(COMMANDS) == ["compare", *tail]
