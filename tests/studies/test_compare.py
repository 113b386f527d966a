"""``compare`` from end to end on toys: what it writes, what it keeps, and what it runs again."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import toys
from gatelab.core.errors import InputError, RunError
from gatelab.core.task import Metric
from gatelab.studies.compare import Comparison, compare
from gatelab.studies.summary import best_model
from gatelab.studies.trials import Record, Store
from gatelab.tasks.loading import load


@pytest.fixture(autouse=True, scope="module")
def _toys():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(toys.__file__).parent))
        toys.register()
        yield


def adding(**changes) -> Comparison:
    options = {"cells": "rnn,gru", "seeds": 2, "budget": "2 epochs", "parameters": 300, "jobs": 2} | changes
    return compare("adding", options.pop("seed_of_data", 0), **{"steps": 6, "items": 64} | options)


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Comparison:
    return adding(out=tmp_path_factory.mktemp("compare"), command="gatelab compare adding 0")


def written(comparison: Comparison) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in comparison.folder.glob("trials/*/record.json")}


def test_every_cell_and_baseline_is_measured(first):
    kinds = [record.kind for record in first.records.values()]
    assert (kinds.count("baseline"), kinds.count("tune"), kinds.count("train")) == (1, 6, 4)
    assert all(record.ok for record in first.records.values())
    results = json.loads((first.folder / "results.json").read_text())
    assert results == first.results
    cell = results["cells"]["gru"]
    values = [r.metric("test", "MSE") for r in first.records.values() if r.kind == "train" and r.label == "gru"]
    assert cell["test"]["MSE"]["mean"] == pytest.approx(np.mean(values))
    assert all(cell["cost"][name] > 0 for name in ("train_seconds", "peak_memory_mb", "parameters", "latency_ms"))
    assert results["baselines"]["mean"]["test"]["MSE"] > 0
    assert results["verdict"] == first.verdict


def test_tuning_never_sees_the_test_part(first):
    tries = [record for record in first.records.values() if record.kind == "tune"]
    assert all("test" not in record.measures for record in tries)
    for cell in ("rnn", "gru"):
        of_cell = [record for record in tries if record.label == cell]
        best = min(of_cell, key=lambda record: record.measures["best"])
        trained = [r for r in first.records.values() if r.kind == "train" and r.label == cell]
        assert all(r.configuration["training"] == best.configuration["training"] for r in trained)
        assert {r.seed for r in trained}.isdisjoint({r.seed for r in tries})


def test_the_best_model_is_a_run_folder_that_predicts_as_it_was_scored(first):
    best = first.results["best"]
    loaded = load(first.best)
    assert loaded.run.seed == best["seed"]
    assert loaded.model.layer.mode.lower().startswith(best["cell"])
    scored = toys.AddingTask.open(0, loaded.task.config).evaluate(loaded.model, "test")
    assert scored.metrics["MSE"] == pytest.approx(first.records[best["trial"]].metric("test", "MSE"), rel=1e-5)
    assert not (first.best / "record.json").exists()


def test_the_report_says_it_all(first):
    page = first.report.read_text()
    for text in ("How well", "How they learned", "What it cost", "How to reproduce", "drawn, not measured",
                 "gatelab compare adding 0", "Equal budgets", "<svg"):  # fmt: skip
        assert text in page
    shown = str(first)
    assert "GRU" in shown
    assert "report.html" in shown


def test_the_same_again_runs_nothing_and_more_seeds_and_cells_only_those(first):
    before = written(first)
    again = adding(out=first.folder, command="gatelab compare adding 0")
    assert written(again) == before
    assert again.results == first.results
    more = adding(out=first.folder, seeds=3, cells="rnn,lstm,gru")
    after = written(more)
    assert {id: after[id] for id in before} == before
    assert len(after) == len(before) + 2 + 3 + 3  # a seed for two cells; three tries and three seeds of the new one


def test_other_data_or_settings_are_refused_by_name(first):
    before = written(first)
    with pytest.raises(RunError, match=r"data \w+"):
        adding(out=first.folder, seed_of_data=1)
    with pytest.raises(RunError, match=r"training\.epochs 3"):
        adding(out=first.folder, budget="3 epochs")
    with pytest.raises(RunError, match="parameters 400"):
        adding(out=first.folder, parameters=400)
    assert written(first) == before


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"seeds": 0}, "at least one seed"),
        ({"cells": "rnn,gur"}, "did you mean gru"),
        ({"budget": "soon"}, "--budget"),
        ({"jobs": 0}, "--jobs"),
        ({"tune": -1}, "--tune"),
        ({"parameters": 0}, "--parameters"),
        ({"stepps": 4}, "steps"),
        ({"device": "tpu"}, "device"),
    ],
)
def test_bad_options_are_refused_before_any_work(tmp_path, wrong, said):
    with pytest.raises(InputError, match=said):
        adding(out=tmp_path, **wrong)
    assert not (tmp_path / "trials").exists()


def test_an_unwritable_folder_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        adding(out=tmp_path / "file")


@pytest.mark.slow
def test_optuna_tunes_within_the_budget_and_goes_on(tmp_path):
    few = adding(out=tmp_path, cells="gru", seeds=1, tune=5)
    tries = [record for record in few.records.values() if record.kind == "tune"]
    assert len(tries) == 5
    assert all(record.ok for record in tries)
    assert len({json.dumps(r.configuration["model"]) + json.dumps(r.configuration["training"]) for r in tries}) == 5
    assert "5 Optuna trials" in " ".join(few.results["budget"])
    before = written(few)
    assert written(adding(out=tmp_path, cells="gru", seeds=1, tune=5)) == before


@pytest.mark.slow
def test_a_task_where_more_is_better_and_the_state_is_carried(tmp_path):
    found = compare("echo", 0, cells="gru,lstm", seeds=2, budget="2 epochs", out=tmp_path, jobs=2, length=512)
    assert found.results["metrics"][0]["goal"] == "max"
    means = {cell: entry["validation"]["accuracy"]["mean"] for cell, entry in found.results["cells"].items()}
    assert found.results["best"]["cell"] == max(means, key=means.get)


COMMAND = """
import sys, toys
from gatelab.studies.compare import compare
toys.register()
compare("adding", 0, cells="rnn,gru", seeds=2, budget="2 epochs", parameters=300, jobs=2, steps=6, items=64,
        out=sys.argv[1])
"""


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_very_same_numbers(tmp_path, first):
    rng = np.random.default_rng(3)
    for count in sorted(rng.choice(np.arange(1, 11), 2, replace=False)):  # of eleven trials
        process = subprocess.Popen([sys.executable, "-c", COMMAND, str(tmp_path)], start_new_session=True)
        while len(list(tmp_path.glob("trials/*/record.json"))) < count and process.poll() is None:
            time.sleep(0.02)
        process.kill()
        process.wait()
    whole = adding(out=tmp_path)
    wanted = {id: record for id, record in first.records.items() if record.ok}
    assert set(whole.records) == set(wanted)
    for id, record in whole.records.items():
        assert record.measures.get("test") == wanted[id].measures.get("test")
        assert record.measures.get("best") == wanted[id].measures.get("best")


def test_the_model_to_keep_is_chosen_on_validation_alone():
    def record(cell, seed, validation, test):
        measures = {"validation": {"MAE": validation}, "test": {"MAE": test}}
        return Record(f"{cell}{seed}", "train", cell, seed, {}, "ok", measures=measures)

    trained = {"gru": [record("gru", 1, 3.0, 0.1), record("gru", 2, 2.0, 0.1)],
               "lstm": [record("lstm", 1, 1.0, 9.0), record("lstm", 2, 2.0, 0.0)], "rnn": []}  # fmt: skip
    assert best_model(trained, Metric("MAE"))["trial"] == "lstm1"
    assert best_model(trained, Metric("MAE", "max"))["trial"] == "gru1"
    assert best_model({"rnn": []}, Metric("MAE")) is None


@pytest.mark.slow
def test_a_cell_that_always_fails_is_reported_and_the_others_compared(tmp_path, first):
    """The records of one cell are turned into failures, as if training had diverged."""
    whole = adding(out=tmp_path)
    store = Store(tmp_path)
    for record in whole.records.values():
        if record.label == "rnn" and record.kind == "train":
            store.write(dataclasses.replace(record, status="failed", message="NaN", measures={}))
    again = adding(out=tmp_path)
    assert "2 trials did not finish and are left out: rnn, seed 1; rnn, seed 2." in again.verdict
    assert again.results["best"]["cell"] == "gru"
    assert "What did not finish" in again.report.read_text()
    assert "RNN (2 failed)" in str(again)
