"""The seam for questions: what is run, what is not run again, and what is made of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import gatelab
import toy_question
from gatelab.core.errors import InputError, RunError
from gatelab.studies.answer import Answer, load, study
from gatelab.studies.experiment import values
from gatelab.studies.trials import Record, Store
from toy_question import BEST_RATE, Slopes


@pytest.fixture(autouse=True, scope="module")
def _known():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gatelab.studies.QUESTIONS, "_entries", dict(gatelab.studies.QUESTIONS._entries))
        toy_question.register()
        yield


def record(trial, **measures) -> Record:
    status = "ok" if measures else "failed"
    return Record(trial.id, trial.kind, trial.label, trial.seed, trial.configuration, status, "", measures)


def ran(asked: Slopes) -> dict[str, Record]:
    """The records of a study, run in this process."""
    records: dict[str, Record] = {}
    while new := [trial for trial in asked.trials(records) if trial.id not in records]:
        for trial in new:
            try:
                measures = dict(toy_question.descend(trial, Path(), lambda **_: None).measures)
            except gatelab.core.errors.TrainingError:
                measures = {}
            records[trial.id] = record(trial, **measures)
    return records


# ---- what is run -------------------------------------------------------------------------------------------------


def test_tries_come_before_seeds_and_the_least_score_is_what_all_seeds_use():
    asked = Slopes("quick", seeds=2, cells=["lstm"])
    first = asked.trials({})
    assert [(t.kind, t.seed) for t in first] == [("baseline", 0), *[("tune", 0)] * 3]
    records = {t.id: record(t, score=abs(t.configuration["rate"] - 0.2) if t.kind == "tune" else 0.0) for t in first}
    trained = [t for t in asked.trials(records) if t.kind == "train"]
    assert [(t.seed, t.configuration["rate"]) for t in trained] == [(1, 0.2), (2, 0.2)]
    assert len(first) + len(trained) == asked.count()


def test_tries_that_failed_are_not_chosen_and_the_first_is_where_all_failed():
    asked = Slopes("quick", seeds=1, cells=["gru"])
    tries = [t for t in asked.trials({}) if t.kind == "tune"]
    one = {t.id: record(t, **({"score": 9.0} if t == tries[1] else {})) for t in asked.trials({})}
    none = {t.id: record(t) for t in asked.trials({})}
    assert asked.trials(one)[-1].configuration["rate"] == tries[1].configuration["rate"]
    assert asked.trials(none)[-1].configuration["rate"] == tries[0].configuration["rate"]


def test_a_trial_is_known_by_its_condition_and_its_seed_alone():
    small, large = Slopes("quick", seeds=2, cells=["gru"]), Slopes("full", seeds=[2, 1, 7])
    assert {t.id for t in small.trials({})} < {t.id for t in large.trials({})}

    class Renamed(Slopes):
        def label_of(self, condition):
            return "another name"

    assert {t.id for t in Renamed("quick").trials({})} == {t.id for t in Slopes("quick").trials({})}


def test_labels_name_what_differs():
    assert {t.label for t in Slopes("quick").trials({})} == {"standing still", "RNN", "LSTM", "GRU"}
    assert "GRU, steep True" in {t.label for t in Slopes("full").trials({})}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"budget": "90s"}, "quick, standard, full"),
        ({"cells": ["gur"]}, "did you mean gru"),
        ({"seeds": 0}, "at least one seed"),
        ({"seeds": [0, 1]}, "kept for tuning"),
    ],
)
def test_what_cannot_be_used_is_refused(options, said):
    with pytest.raises(InputError, match=said):
        Slopes(**options)


def test_cells_are_refused_where_they_are_no_factor():
    class NoCells(Slopes):
        default_cells = ()

    assert NoCells().cells == ()
    with pytest.raises(InputError, match="does not choose among cells"):
        NoCells(cells=["gru"])


# ---- what is made of it ------------------------------------------------------------------------------------------


def test_the_table_has_a_row_for_each_finished_trial_and_a_column_for_each_number():
    asked = Slopes("full", seeds=3, cells=["rnn", "gru"])
    table = asked.table(ran(asked))
    assert set(table["kind"]) == {"baseline", "train"}
    steep = table[(table["kind"] == "train") & table["steep"]]
    assert set(steep["seed"]) == {2}, "odd seeds failed"
    gru = table[(table["cell"] == "gru") & ~table["steep"]]
    assert list(gru["seed"]) == [1, 2, 3]
    assert list(gru["rate"]) == [BEST_RATE["gru"]] * 3
    assert list(gru["measured.rate"]) == [3.0] * 3, "a measure does not hide the condition's entry of its name"
    assert gru["curve"].iloc[0] == [2.0, 1.0]
    assert values(gru, "test.loss") == {seed: pytest.approx(1, abs=0.05) for seed in (1, 2, 3)}


def test_values_leave_out_what_is_no_number():
    import pandas as pd

    rows = pd.DataFrame({"seed": [1, 2, 3, 4], "x": [0.5, None, np.inf, "diverged"]})
    assert values(rows, "x") == {1: 0.5}


def test_results_say_what_was_found_and_what_failed():
    asked = Slopes("full", seeds=3, cells=["rnn", "gru"])
    results = asked.results(ran(asked), Store(Path()))
    json.dumps(results, allow_nan=False)
    assert results["headline"] in ("rnn has the least loss.", "gru has the least loss.")
    assert results["verdict"].startswith(results["headline"])
    assert "4 trials did not finish and are left out: RNN, steep True, seed 1;" in results["verdict"]
    assert {entry["message"] for entry in results["failed"]} == {""}
    assert results["trials"] == asked.count()


def test_nothing_is_said_where_nothing_finished():
    asked = Slopes("quick", seeds=1)
    records = {t.id: record(t) for t in asked.trials({})}
    records |= {t.id: record(t) for t in asked.trials(records)}
    results = asked.results(records, Store(Path()))
    assert results["headline"] == "No trial finished, so there is nothing to say."
    assert results["findings"] == {}
    assert asked.page(results, records, Store(Path())).verdict == results["headline"]


# ---- from end to end ---------------------------------------------------------------------------------------------

HERE = {"jobs": 1, "backend": "threading"}
"""In this process: starting others takes longer than all the trials."""


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Answer:
    folder = tmp_path_factory.mktemp("slopes")
    return study("slopes", budget="quick", seeds=2, cells="rnn,gru", out=folder, command="gatelab study slopes", **HERE)


def written(folder: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("trials/*/record.json")}


def test_answer_report_and_what_is_on_disk_agree(first):
    assert json.loads((first.folder / "results.json").read_text()) == first.results
    page = first.report.read_text()
    assert Slopes.question in page
    assert first.results["headline"] in page
    assert "gatelab study slopes" in page
    assert Slopes.protocol[0] in page
    assert str(first.report) in str(first)
    assert first.verdict.split(".")[0] in str(first)


def test_more_seeds_cells_and_a_larger_budget_run_only_what_is_missing(first, tmp_path):
    shutil.copytree(first.folder, tmp_path / "more")
    before = written(tmp_path / "more")
    more = study("slopes", budget="standard", seeds=3, cells="gru,rnn,lstm", out=tmp_path / "more", **HERE)
    after = written(tmp_path / "more")
    assert {id: after[id] for id in before} == before
    assert len(after) - len(before) == 2 + 3 + 3, "a seed for each of two cells; three tries and three seeds of a third"
    assert set(more.findings["losses"]) == {"rnn", "lstm", "gru"}


def test_what_was_cut_short_goes_on_to_the_same_end(first, tmp_path):
    shutil.copytree(first.folder, tmp_path / "cut")
    for path in sorted(tmp_path.glob("cut/trials/*/record.json"))[::3]:
        path.unlink()
    (tmp_path / "cut" / "results.json").unlink()
    before = written(tmp_path / "cut")
    again = study("slopes", budget="quick", seeds=2, cells="rnn,gru", out=tmp_path / "cut", **HERE)
    after = written(tmp_path / "cut")
    assert len(after) == len(written(first.folder)) > len(before)
    assert {id: after[id] for id in before} == before
    assert again.findings == first.findings


def test_results_alone_are_enough_to_draw_from(first, tmp_path):
    shutil.copy(first.folder / "results.json", tmp_path)
    loaded = gatelab.studies.load(tmp_path)
    assert loaded.results == first.results
    assert loaded.figures["Losses"]._repr_svg_() == first.figures["Losses"].svg
    assert loaded.figures["Losses"].svg.startswith("<svg ")
    assert loaded.study.seeds == (1, 2)
    assert loaded.study.cells == ("rnn", "gru")


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(RunError, match="no results of a study"):
        load(tmp_path)
    (tmp_path / "results.json").write_text('{"task": "forecasting"}')
    with pytest.raises(RunError, match="no results of a study"):
        load(tmp_path)
