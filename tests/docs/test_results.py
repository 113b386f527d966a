"""docs/results.md and the records that it is made from: made again, it is the page that is committed."""

from __future__ import annotations

import importlib
import sys
import tomllib
from pathlib import Path

import pytest

from gatelab.studies import QUESTIONS
from gatelab.studies.questions.digits import Digits
from gatelab.studies.trials import Record, Trial

ROOT = Path(__file__).parents[2]
PARTS = ("make", "studies")


@pytest.fixture(scope="module")
def scripts():
    """results/make.py and results/studies.py as modules."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "results"))
        yield tuple(importlib.import_module(name) for name in PARTS)
        for name in PARTS:
            sys.modules.pop(name)


def record(trial: Trial, **measures) -> Record:
    return Record(trial.id, trial.kind, trial.label, trial.seed, trial.configuration, "ok", measures=measures)


def test_the_page_follows_from_the_records_alone(scripts):
    make, _ = scripts
    protocols = tomllib.loads((ROOT / "results" / "protocols.toml").read_text(encoding="utf-8"))
    assert make.page(protocols) == (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def test_a_record_keeps_what_the_findings_need_alone(scripts):
    _, studies = scripts
    history = [{"epoch": 1, "step": 10, "train_loss": 0.12345678}, {"epoch": 2, "step": 20, "train_loss": 0.1}]
    whole = {"parameters": 7, "seconds": 1.5, "test": {"MSE": 0.123456, "MAE": 1.0}, "history": history}
    trial = Trial("train", "any", 1, {"cell": "gru"})
    found = studies.slim(
        record(trial, **whole), ["parameters", "test.MSE", "history.step", "history.train_loss", "score"]
    )
    assert found.measures == {
        "parameters": 7,
        "test": {"MSE": 0.123456},
        "history": [{"step": 10, "train_loss": 0.123457}, {"step": 20, "train_loss": 0.1}],
    }
    assert (found.id, found.configuration) == (trial.id, trial.configuration)


def test_trials_of_a_chosen_setting_are_found_once_the_choice_is_made(scripts):
    _, studies = scripts
    study = Digits("standard", 2, ["gru"])
    tries = [trial for trial in study.trials({}) if trial.kind == "tune"]
    scored = {trial.id: record(trial, score=float(at)) for at, trial in enumerate(tries)}
    trained = [trial for trial in study.trials(scored) if trial.kind == "train"]
    there = scored | {trial.id: record(trial) for trial in trained}
    assert set(studies.finished(study, there.get)) == set(there)
    assert set(studies.finished(study, {trial.id: there[trial.id] for trial in trained}.get)) == set()


def test_what_is_missing_is_named(scripts):
    _, studies = scripts
    study = Digits("quick", 2)
    trials = list(study.trials({}))
    records = {trial.id: record(trial) for trial in trials}
    assert studies.state(study, records) == f"All {len(trials)} trials were run, 2 seeds."
    late = next(trial for trial in trials if trial.label.startswith("LSTM") and trial.seed == 2)
    said = studies.state(study, {id: found for id, found in records.items() if id != late.id})
    assert f"{len(trials) - 1} of {len(trials)} trials" in said
    assert said.endswith(f"Missing: {late.label} (1 of 2 seeds).")
    assert "Not run yet" in studies.state(study, {})


def test_every_study_of_the_page_is_one_and_its_chapter_bears_that_nothing_was_run(scripts):
    _, studies = scripts
    for name, entry in studies.entries().items():
        assert name in QUESTIONS
        said = studies.chapter(name, entry, {})
        assert "**Not run yet**" in said
        assert f"`gatelab study {name} --seeds {entry['seeds']}`" in said
