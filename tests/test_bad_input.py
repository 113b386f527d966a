"""What a person can get wrong: each case ends with code 2, one message that names the thing, and nothing lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gatelab.cli.main import main
from gatelab.core.random import generator
from refusals import refused

FIT = ("--target", "load", "--horizon", "3", "--lookback", "6", "--hidden-size", "4", "--epochs", "1",
       "--normalise", "last", "--calendar", "no")  # fmt: skip


def table(rows: int = 120) -> pd.DataFrame:
    rng = generator(0, "table")
    return pd.DataFrame(
        {
            "time": pd.date_range("2024-01-01", periods=rows, freq="h").astype(str),
            "load": 50 + np.sin(np.arange(rows) / 4) + rng.normal(0, 0.1, rows),
            "heat": rng.normal(size=rows),
            "note": [f"text {row}" for row in range(rows)],
        }
    )


def changed(column: str, row: int, value: object) -> pd.DataFrame:
    frame = table().astype({column: object})
    frame.loc[row, column] = value
    return frame


@pytest.fixture(autouse=True)
def _place(own_folder):
    """Every test here writes files and runs commands."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A small model that knows a covariate ahead, trained once."""
    folder = tmp_path_factory.mktemp("trained")
    table().to_csv(folder / "table.csv", index=False)
    words = ["fit", "forecasting", str(folder / "table.csv"), *FIT, "--future", "heat", "--out", str(folder / "run")]
    assert main(words) == 0
    return folder


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A copy of the trained model, to be damaged."""
    shutil.copytree(trained / "run", tmp_path / "run")
    shutil.copy(trained / "table.csv", tmp_path / "table.csv")
    return tmp_path / "run"


# ---- tables -------------------------------------------------------------------------------------------------------

WHERE = "table.csv"


def csv(make: Callable[[], pd.DataFrame]) -> Callable[[Path], object]:
    return lambda path: make().to_csv(path, index=False)


def text(content: str | bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


def mixed_dates() -> pd.DataFrame:
    frame = table()
    stamps = pd.date_range("2024-01-25", periods=len(frame), freq="D")
    frame["time"] = [f"{s:%d/%m/%Y}" if row % 2 else f"{s:%m/%d/%Y}" for row, s in enumerate(stamps)]
    return frame


def ambiguous_dates() -> pd.DataFrame:
    return table(33).assign(time=[f"{m:02}/{m + 1:02}/{year}" for year in (2022, 2023, 2024) for m in range(1, 12)])


def twice() -> pd.DataFrame:
    return pd.concat([table(), table().iloc[[17]].assign(load=1.0)])


TABLES = {
    "empty file": (text(""), ["table.csv is empty"]),
    "blank file": (text(" \n\n \n"), ["table.csv is empty"]),
    "binary file": (text(bytes(range(256)) * 40), ["table.csv"]),
    "picture": (text(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8), ["table.csv"]),
    "spreadsheet": (text(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600)), ["spreadsheet", "CSV"]),
    "zip cut short": (text(b"PK\x03\x04" + bytes(100)), ["table.csv", "cut short"]),
    "header only": (text("time,load\n"), ["table.csv"]),
    "ragged rows": (text("time,load\n2024-01-01,1\n2024-01-02,2,3\n2024-01-03,3\n"), ["line 3"]),
    "two columns of one name": (text("load,load\n1,2\n2,3\n"), ["two columns called 'load'"]),
    "unknown target": (csv(lambda: table().rename(columns={"load": "loads"})), ["no column 'load'", "mean loads"]),
    "target of text": (csv(lambda: table().assign(load=table()["note"])), ["'load'", "text", "'text 0' in line 2"]),
    "word among the numbers": (csv(lambda: changed("load", 40, "broken")), ["'broken'", "line 42"]),
    "a value that overflows": (csv(lambda: changed("load", 40, "1e300")), ["1e+300 in line 42", "--missing 1e+300"]),
    "values that overflow": (csv(lambda: changed("load", 40, "-1e308")), ["-1e+308 in line 42"]),
    "constant target": (csv(lambda: table().assign(load=5.0)), ["'load'", "never changes", "5"]),
    "constant in training": (csv(lambda: table().assign(load=[1.0] * 90 + list(range(30)))), ["'load' is constant"]),
    "all missing": (csv(lambda: table().assign(load="")), ["'load'", "every cell is missing"]),
    "missing in training": (csv(lambda: table().assign(load=[None] * 90 + list(range(30)))), ["'load' has no value"]),
    "too few rows": (csv(lambda: table(14)), ["too few rows", "expected: ", "got:      14 rows"]),
    "a date that is none": (csv(lambda: changed("time", 30, "yesterday")), ["'yesterday'", "line 32"]),
    "a day that is none": (csv(lambda: changed("time", 30, "2024-02-30 06:00:00")), ["2024-02-30", "line 32"]),
    "a stamp missing": (csv(lambda: changed("time", 30, "")), ["'time'", "line 32"]),
    "mixed formats": (csv(mixed_dates), ["time", "line"]),
    "dates that can be read in two ways": (csv(ambiguous_dates), ["--day-first"]),
    "duplicate stamps": (csv(twice), ["2024-01-01 17:00", "--duplicates"]),
    "irregular stamps": (csv(lambda: table().assign(time=irregular())), ["no regular grid", "--frequency rows"]),
    "infinite value": (csv(lambda: changed("load", 33, "inf")), ["'load'", "line 35"]),
}  # fmt: skip


def irregular() -> list[str]:
    minutes = np.cumsum(generator(1, "irregular").integers(1, 10_000, 120))
    return [str(pd.Timestamp("2024-01-01") + pd.Timedelta(f"{minute}min")) for minute in minutes]


@pytest.mark.parametrize("case", TABLES)
def test_a_table_that_cannot_be_used(case, capsys):
    write, mentions = TABLES[case]
    write(Path(WHERE))
    said = refused(capsys, "fit", "forecasting", WHERE, *FIT, "--out", "run")
    for mention in mentions:
        assert mention in said


def test_a_missing_file_with_the_nearest_names(capsys):
    Path("load_2024.csv").write_text("x")
    said = refused(capsys, "fit", "forecasting", "load_2023.csv", "--out", "run")
    assert "'load_2023.csv'" in said
    assert "did you mean load_2024.csv" in said


def test_a_folder_for_a_table(capsys):
    Path("tables").mkdir()
    Path("tables/a.csv").write_text("x")
    said = refused(capsys, "fit", "forecasting", "tables", "--out", "run")
    assert "tables is a folder" in said
    assert "a.csv" in said


def test_no_column_of_numbers(capsys):
    table()[["time", "note"]].to_csv(WHERE, index=False)
    assert "no column of numbers" in refused(capsys, "fit", "forecasting", WHERE, "--out", "run")


def test_several_columns_of_numbers_and_no_target(capsys):
    table().to_csv(WHERE, index=False)
    said = refused(capsys, "fit", "forecasting", WHERE, "--out", "run")
    assert "which one shall be forecast" in said
    assert "load, heat" in said


def test_the_rows_that_are_said_to_be_needed_are_enough(capsys):
    table(14).to_csv(WHERE, index=False)
    said = refused(capsys, "fit", "forecasting", WHERE, *FIT, "--out", "run")
    needed = int(said.partition("expected: ")[2].split()[0])
    table(needed - 1).to_csv(WHERE, index=False)
    refused(capsys, "fit", "forecasting", WHERE, *FIT, "--out", "run")
    table(needed).to_csv(WHERE, index=False)
    assert main(["fit", "forecasting", WHERE, *FIT, "--out", "run"]) == 0


# ---- options ------------------------------------------------------------------------------------------------------

OPTIONS = {
    "horizon 0": (["--horizon", "0"], ["horizon cannot be 0", "--horizon"]),
    "negative lookback": (["--lookback", "-3"], ["lookback cannot be -3"]),
    "quantiles without the median": (["--quantiles", "0.1,0.9"], ["quantiles", "0.5"]),
    "quantiles out of order": (["--quantiles", "0.9,0.5,0.1"], ["quantiles", "rising"]),
    "a split of more rows than there are": (["--split", "100,50,20"], ["170 rows", "120"]),
    "a split without validation": (["--split", "1,0,0"], ["validation"]),
    "a negative split": (["--split", "0.9,-0.1,0.2"], ["split"]),
    "the target as covariate": (["--past", "load"], ["'load' is named twice", "--target", "--past"]),
    "the time as covariate": (["--past", "time"], ["'time'"]),
    "an unknown covariate": (["--future", "heet"], ["no column 'heet'", "did you mean heat"]),
    "an unknown id": (["--id", "shop"], ["no column 'shop'"]),
    "an unknown frequency": (["--frequency", "fortnight"], ["fortnight"]),
    "an unknown time zone": (["--time-zone", "Vienna"], ["'Vienna'", "Europe/Vienna"]),
    "a text covariate of too many levels": (["--past", "note"], ["'note'", "120 different values"]),
    "a cell that does not exist": (["--cell", "gur"], ["gur", "gru"]),
    "an initialisation that does not exist": (["--init", "zeross"], ["zeross"]),
    "an initialisation with infinity": (["--init", "forget_bias:inf"], ["'inf'", "forget_bias:1"]),
    "an infinite share": (["--split", "inf,1,1"], ["split cannot be", "a finite number"]),
    "a horizon of a million rows": (["--horizon", "1000000"], ["too few rows", "1000000 out"]),
    "a lookback of a billion rows": (["--lookback", "1000000000"], ["too few rows", "1000000000 steps in"]),
    "a horizon that no number has": (["--horizon", str(2**70)], ["horizon cannot be"]),
    "a million layers": (["--num-layers", "1000000"], ["num_layers cannot be 1000000", "1,000"]),
    "a million threads": (["--threads", "1000000"], ["threads cannot be 1000000"]),
    "a learning rate beyond all bounds": (["--learning-rate", "1e300"], ["learning_rate cannot be 1e+300"]),
    "dropout 1": (["--dropout", "1"], ["dropout cannot be 1"]),
    "no epochs": (["--epochs", "0"], ["epochs cannot be 0"]),
    "no units": (["--hidden-size", "0"], ["hidden_size cannot be 0"]),
    "a learning rate below 0": (["--learning-rate", "-1"], ["learning_rate cannot be -1"]),
    "a device that is none": (["--device", "gpu"], ["'gpu'", "cpu, cuda"]),
    "mixed precision on a CPU": (["--precision", "mixed"], ["mixed", "CUDA"]),
    "a test table that is not there": (["--test-data", "later.csv"], ["'later.csv'"]),
    "an own task that does not exist": (None, ["'forecsting'", "forecasting"]),
}  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS)
def test_an_option_that_cannot_be_used(case, capsys):
    options, mentions = OPTIONS[case]
    table().to_csv(WHERE, index=False)
    words = ["fit", "forecasting", WHERE, *FIT, *(options or []), "--out", "run"]
    if options is None:
        words[1] = "forecsting"
    said = refused(capsys, *words)
    for mention in mentions:
        assert mention in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("command", ["fit", "predict"])
def test_a_gpu_that_is_absent(command, capsys, run):
    words = {"fit": ["forecasting", WHERE, *FIT, "--out", "new"], "predict": ["run", WHERE]}[command]
    said = refused(capsys, command, *words, "--device", "cuda")
    assert "'cuda' is not here" in said
    assert "--device cpu" in said


@pytest.mark.parametrize(
    ("options", "mentions"),
    [(["--seeds", "0"], ["seeds"]), (["--cells", "rnn,lsmt"], ["lsmt", "lstm"]),
     (["--cells", "gru,gru"], ["gru", "with itself", "--seeds"]), (["--jobs", "0"], ["jobs"]),
     (["--budget", "soon"], ["soon", "quick"]), (["--tune", "-1"], ["tune"]), (["--horizon", "0"], ["horizon"])],
)  # fmt: skip
def test_a_comparison_that_cannot_be_made(options, mentions, capsys):
    table().to_csv(WHERE, index=False)
    said = refused(capsys, "compare", "forecasting", WHERE, "--target", "load", *options, "--out", "study")
    for mention in mentions:
        assert mention in said


# ---- models and what is predicted from ----------------------------------------------------------------------------


def predict_table(frame: pd.DataFrame, path: str = WHERE) -> str:
    frame.to_csv(path, index=False)
    return path


def future_of(rows: int = 3) -> pd.DataFrame:
    stamps = pd.date_range("2024-01-06", periods=rows, freq="h").astype(str)
    return pd.DataFrame({"time": stamps, "heat": np.arange(rows) / 2})


def test_the_sound_twin_of_the_cases_below(run, capsys):
    future_of().to_csv("future.csv", index=False)
    assert main(["predict", "run", WHERE, "--future", "future.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["time"] == "2024-01-06T00:00:00"


@pytest.mark.parametrize(
    ("frame", "future", "mentions"),
    [
        (table, None, ["'heat' is needed ahead", "2024-01-06 00:00:00", "--future"]),
        (table, lambda: future_of(2), ["'heat'", "2024-01-06 02:00:00"]),
        (table, lambda: future_of().assign(heat=[1.0, None, 2.0]), ["'heat'", "2024-01-06 01:00:00"]),
        (table, lambda: future_of().drop(columns="heat"), ["no column 'heat'"]),
        (lambda: table().drop(columns="heat"), future_of, ["no column 'heat'", "trained with"]),
        (lambda: table().drop(columns="load"), future_of, ["no column 'load'", "trained with"]),
        (lambda: table(5), future_of, ["too few rows", "at least 6 rows", "5 rows"]),
        (lambda: table().iloc[::4], future_of, ["step that the model was trained with", "hourly", "4-hour"]),
        (lambda: table().drop(columns="time"), future_of, ["'time'"]),
        (lambda: changed("load", 50, "-inf"), future_of, ["'load'", "line 52"]),
        (lambda: table().assign(load=""), future_of, ["too few rows to forecast load", "0 rows"]),
    ],
    ids=["no covariate ahead", "too few rows ahead", "a hole ahead", "a future table without it", "no covariate",
         "no target", "too few rows", "another frequency", "no time", "infinite value", "no value"],
)  # fmt: skip
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_table_that_a_model_cannot_predict_from(frame, future, mentions, flags, run, capsys):
    predict_table(frame(), "new.csv")
    options = [] if future is None else ["--future", predict_table(future(), "future.csv")]
    said = refused(capsys, "predict", "run", "new.csv", *options, *flags)
    for mention in mentions:
        assert mention in said


def damage(run: Path, how: str) -> list[str]:
    """Spoils a run folder, and gives what the message has to name."""
    weights, manifest = run / "model.safetensors", run / "manifest.json"
    facts = json.loads(manifest.read_text())
    match how:
        case "truncated":
            weights.write_bytes(weights.read_bytes()[:-100])
            return ["model.safetensors is cut short"]
        case "altered":
            content = bytearray(weights.read_bytes())
            content[-1] ^= 1
            weights.write_bytes(bytes(content))
            return ["model.safetensors was altered"]
        case "altered settings":
            config = run / "config.toml"
            config.write_text(config.read_text().replace("lookback = 6", "lookback = 7"))
            return ["config.toml was altered"]
        case "incomplete":
            (run / "task.json").unlink()
            return ["task.json is missing"]
        case "newer":
            manifest.write_text(json.dumps({**facts, "format": 99, "gatelab": "9.9"}))
            return ["newer gatelab", "9.9", "pip install --upgrade gatelab"]
        case "damaged manifest":
            manifest.write_text(manifest.read_text()[:-30])
            return ["manifest.json is damaged"]
        case "no model":
            shutil.rmtree(run)
            run.mkdir()
            return ["not the folder of a model"]
        case _:
            shutil.rmtree(run)
            return ["there is no folder run"]


@pytest.mark.parametrize("command", ["predict", "evaluate", "update"])
@pytest.mark.parametrize(
    "how", ["truncated", "altered", "altered settings", "incomplete", "newer", "damaged manifest", "no model", "absent"]
)
def test_a_model_folder_that_cannot_be_used(how, command, run, capsys):
    mentions = damage(run, how)
    options = ["--out", "new"] if command == "update" else []
    said = refused(capsys, command, "run", WHERE, *options)
    for mention in mentions:
        assert mention in said


def test_a_damaged_run_is_not_trained_over(run, capsys):
    damage(run, "truncated")
    said = refused(capsys, "fit", "forecasting", WHERE, *FIT, "--future", "heat", "--out", "run")
    assert "cut short" in said


def test_a_folder_with_another_run_is_kept(run, capsys):
    said = refused(capsys, "fit", "forecasting", WHERE, *FIT, "--future", "heat", "--cell", "rnn", "--out", "run")
    assert "model.cell: gru there, rnn asked for" in said
    assert "--out" in said


def test_no_table_and_no_memory_of_one(run, capsys):
    (run / "source.json").unlink()
    assert "does not say what the model was trained on" in refused(capsys, "predict", "run")


def test_an_update_into_the_old_folder(run, capsys):
    assert "is the model to update" in refused(
        capsys, "update", "run", WHERE, "--out", "../" + Path.cwd().name + "/run"
    )


def test_too_few_rows_to_update_and_to_evaluate(run, capsys):
    predict_table(table(8), "new.csv")
    assert "9 rows" in refused(capsys, "evaluate", "run", "new.csv")
    assert "12 rows" in refused(capsys, "update", "run", "new.csv", "--out", "new")


@pytest.mark.parametrize(("folds", "mention"), [("0", "folds cannot be 0"), ("20", "20 folds leave 1 test rows")])
def test_folds_that_cannot_be(folds, mention, run, capsys):
    assert mention in refused(capsys, "evaluate", "run", WHERE, "--folds", folds)


# ---- places to write to -------------------------------------------------------------------------------------------


def test_a_file_where_the_run_shall_go(capsys):
    table().to_csv(WHERE, index=False)
    Path("run").write_text("mine")
    said = refused(capsys, "fit", "forecasting", WHERE, *FIT, "--out", "run")
    assert "run is a file, not a folder" in said
    assert "--out" in said


def test_a_file_on_the_way_to_the_run(capsys):
    table().to_csv(WHERE, index=False)
    Path("runs").write_text("mine")
    assert "runs" in refused(capsys, "fit", "forecasting", WHERE, *FIT, "--out", "runs/one")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody may write to")
def test_a_folder_that_nobody_may_write_to(capsys):
    table().to_csv(WHERE, index=False)
    said = refused(capsys, "fit", "forecasting", WHERE, *FIT, "--out", "/proc/self/run")
    assert "cannot write" in said
    assert "--out" in said


def test_a_forecast_of_no_kind_of_file(run, capsys):
    said = refused(capsys, "predict", "run", WHERE, "--out", "forecast.xlsx")
    assert "forecast.xlsx" in said
    assert ".csv" in said


def test_a_forecast_into_a_folder(run, capsys):
    future_of().to_csv("future.csv", index=False)
    Path("forecast.csv").mkdir()
    assert "forecast.csv" in refused(capsys, "predict", "run", WHERE, "--future", "future.csv", "--out", "forecast.csv")


@pytest.mark.parametrize(("call", "times"), [("fsync", 15), ("replace", 8), ("replace", 1)])
def test_no_space_left(call, times, capsys, monkeypatch):
    """The disk fills up in the middle of a training; with space again, the same command goes on and ends."""
    table().to_csv(WHERE, index=False)
    words = ["fit", "forecasting", WHERE, *FIT, "--epochs", "3", "--out", "run"]
    original, calls = getattr(os, call), []

    def full(*args, **options):
        calls.append(args)
        if len(calls) > times:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        assert main(words) == 2
    said = capsys.readouterr()
    assert said.err.count("error: ") == 1
    assert "no space left while writing" in said.err
    assert "Traceback" not in said.err
    assert not list(Path("run").rglob("*.tmp"))
    assert main(words) == 0
    assert Path("run/report.html").exists()


def test_too_little_space_from_the_start(capsys, monkeypatch):
    table().to_csv(WHERE, index=False)
    monkeypatch.setattr("gatelab.training.fitting.free_bytes", lambda folder: 1000)
    words = ["fit", "forecasting", WHERE, *FIT, "--out", "run"]
    assert main(words) == 2
    assert "too little space" in capsys.readouterr().err


# ---- words --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [["fit", "forecasting"], ["fit", "forecasting", "x.csv", "--horizon", "three"], ["update", "run", "x.csv"],
     ["fit", "forecasting", "x.csv", "--horizn", "3"], ["predict"], ["evaluate", "run"]],
)  # fmt: skip
def test_words_that_cannot_be_read(words, capsys):
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    assert "--help" in said.err


@pytest.mark.parametrize("command", ["fit", "compare"])
@pytest.mark.parametrize("words", [[], ["--horizon", "3"]])
def test_a_command_without_its_task(command, words, capsys):
    said = refused(capsys, command, *words)
    assert f"gatelab {command} needs a task" in said
    assert "forecasting" in said
