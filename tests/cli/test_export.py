"""``gatelab export``: from a run folder to a file that forecasts without torch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch

from gatelab.cli.main import main
from gatelab.cli.tasks import remember_source
from gatelab.core.random import generator
from gatelab.nn.onnx import graph, proof
from gatelab.tasks.forecasting import statespace
from gatelab.tasks.loading import load

FIT = ("fit", "forecasting", "table.csv", "--target", "load", "--horizon", "3", "--lookback", "6", "--hidden-size",
       "8", "--epochs", "2", "--calendar", "no")  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    rows = np.arange(200)
    load = 50 + np.sin(rows / 4) + generator(0, "load").normal(0, 0.1, len(rows))
    table = pd.DataFrame({"time": pd.date_range("2024-01-01", periods=200, freq="h"), "load": load})
    table.to_csv(folder / "table.csv", index=False)
    table[:100].to_csv(folder / "short.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(statespace, "affordable", lambda windows: False)
        assert main([*FIT, "--out", "run"]) == 0
        assert main([*FIT, "--out", "normed", "--batch-norm"]) == 0
    return folder


@pytest.fixture(autouse=True)
def _place(trained, tmp_path, monkeypatch):
    """A folder with copies of what was trained once."""
    shutil.copytree(trained, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("gatelab.nn.onnx.latency", lambda export: (0.002, 0.001))  # measured in a test of its own


def said(capsys, *words: str) -> str:
    capsys.readouterr()
    code = main(list(words))
    found = capsys.readouterr()
    assert code == 0, found.err
    return found.out


def refused(capsys, *words: str) -> str:
    capsys.readouterr()
    assert main(list(words)) == 2
    found = capsys.readouterr()
    assert not found.out
    assert "Traceback" not in found.err
    assert not list(Path().glob("*.onnx"))
    return found.err


def test_the_file_forecasts_as_predict_does(capsys):
    out = said(capsys, "export", "run", "--onnx", "load.onnx")
    for part in ("opset 18", "target", "batch × 6 × 1", "load: the last 6 steps", "quantiles", "differs from torch by",
                 "torch 2.000 ms", "onnxruntime 1.000 ms"):  # fmt: skip
        assert part in out
    table = pd.read_csv("table.csv", parse_dates=["time"])
    session = onnxruntime.InferenceSession("load.onnx", providers=["CPUExecutionProvider"])
    found = session.run(["forecast"], {"target": table[["load"]].to_numpy()[None, -6:]})[0]
    loaded = load("run")
    expected = loaded.task.predict(loaded.model, table)["forecast"]
    np.testing.assert_allclose(found[0, :, 0], expected, rtol=0, atol=1e-5)


def test_as_json_it_says_the_same(capsys):
    found = json.loads(said(capsys, "export", "run", "--onnx", "load.onnx", "--json"))
    assert found["bytes"] == Path("load.onnx").stat().st_size
    assert found["difference"] <= found["tolerance"] == 1e-5
    assert [port["name"] for port in found["inputs"]] == ["target"]
    assert [port["name"] for port in found["outputs"]] == ["forecast", "quantiles"]
    assert (found["torch_ms"], found["onnxruntime_ms"]) == (2.0, 1.0)
    assert "int8" not in found


def test_int8_measures_its_loss_on_the_runs_own_test_part(capsys):
    capsys.readouterr()
    assert main(["export", "run", "--onnx", "small.onnx", "--int8", "--json"]) == 0
    printed = capsys.readouterr()
    assert "all of its rows" not in printed.err
    loss = json.loads(printed.out)["int8"]
    assert (loss["metric"], loss["part"]) == ("MAE", "the test part")
    fitted = json.loads(said(capsys, *FIT, "--out", "run", "--json"))  # finished: only scored
    assert loss["before"] == pytest.approx(fitted["metrics"]["MAE"], rel=1e-6)
    assert 0 < abs(loss["after"] - loss["before"]) < 0.05 * loss["before"]
    out = said(capsys, "export", "run", "--onnx", "small.onnx", "--int8")
    assert "smaller, not faster" in out
    assert "with float32 weights" in out


def test_int8_measures_on_other_data_that_are_named(capsys):
    found = json.loads(said(capsys, "export", "run", "short.csv", "--onnx", "small.onnx", "--int8", "--json"))
    loaded = load("run")
    scored = loaded.task.reopen("short.csv", "evaluate")
    assert found["int8"]["part"] == "all of short.csv"
    assert found["int8"]["before"] == pytest.approx(scored.evaluate(loaded.model, "test").metrics["MAE"])


def test_int8_says_when_the_data_have_changed(capsys):
    remember_source(Path("run"), "short.csv")
    assert main(["export", "run", "--onnx", "small.onnx", "--int8"]) == 0
    assert "all of its rows are scored" in capsys.readouterr().err


def test_bad_words_are_refused_before_anything_is_written(capsys):
    assert "no folder" in refused(capsys, "export", "nowhere", "--onnx", "a.onnx")
    Path("empty").mkdir()
    assert "not the folder of a model" in refused(capsys, "export", "empty", "--onnx", "a.onnx")
    assert "ends in .onnx" in refused(capsys, "export", "run", "--onnx", "a.pt")
    assert "add --int8" in refused(capsys, "export", "run", "short.csv", "--onnx", "a.onnx")
    assert "batch_norm" in refused(capsys, "export", "normed", "--onnx", "a.onnx")


def test_a_missing_library_is_named_with_its_command(capsys, monkeypatch):
    def absent(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(graph, "import_module", absent)
    assert "pip install 'gatelab[export]'" in refused(capsys, "export", "run", "--onnx", "a.onnx")


def test_a_file_that_is_there_is_replaced_only_by_one_that_was_checked(capsys, monkeypatch):
    said(capsys, "export", "run", "--onnx", "load.onnx")
    before = Path("load.onnx").read_bytes()
    monkeypatch.setattr(proof.Export, "tolerance", 0.0)
    assert main(["export", "run", "--onnx", "load.onnx", "--int8"]) == 2
    assert "not written" in capsys.readouterr().err
    assert Path("load.onnx").read_bytes() == before


def test_latency_leaves_the_threads_alone(monkeypatch):
    monkeypatch.undo()
    from gatelab import nn
    from gatelab.nn.onnx import export

    threads = torch.get_num_threads()
    ours, theirs = proof.latency(export(nn.GRU(2, 3)), seconds=0.01)
    assert ours > 0
    assert theirs > 0
    assert torch.get_num_threads() == threads


def test_help_shows_how(capsys):
    out = said(capsys, "export", "--help")
    assert "gatelab[export]" in out
    assert out.partition("examples:\n")[2].strip().startswith("gatelab export ")
