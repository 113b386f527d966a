"""What every study of the table does; a study without a small case here stops the suite."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import toys
from gatelab.core.errors import RunError
from gatelab.studies import STUDIES
from gatelab.studies.budgets import parse_budget
from gatelab.studies.comparing import Comparing, Plan
from gatelab.studies.runner import Runner
from gatelab.studies.study import Study, conduct


def small(name: str, **changes) -> Study:
    """The study of that name on a toy, seconds in all; ``changes`` are settings that make it another study."""
    if name == "compare":
        task = toys.AddingTask.open(0, toys.AddingTask.Config(steps=4, items=32))
        plan = {"cells": ("gru",), "seeds": (1, 2), "budget": parse_budget("1 epochs"), "parameters": 100} | changes
        return Comparing(task, Plan(**plan))
    raise NotImplementedError(f"give the study {name!r} a small case here")


@pytest.fixture(autouse=True)
def _workers_find_the_toys(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(toys.__file__).parent))


@pytest.mark.parametrize("name", STUDIES)
def test_trials_are_known_before_anything_ran(name):
    study = small(name)
    trials = study.trials({})
    assert 0 < len(trials) <= study.count()
    assert len({trial.id for trial in trials}) == len(trials)
    assert [trial.id for trial in small(name).trials({})] == [trial.id for trial in trials]
    json.dumps([study.settings(), *(trial.configuration for trial in trials)], allow_nan=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_ends_with_results_a_page_and_nothing_to_do(name, tmp_path):
    with Runner(tmp_path, jobs=2) as runner:
        outcome = conduct(small(name), runner)
    assert all(record.ok for record in outcome.records.values())
    assert len(outcome.records) == small(name).count()
    assert json.loads((tmp_path / "results.json").read_text()) == outcome.results
    assert outcome.report.read_text().startswith("<!DOCTYPE html>")
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("trials/*/record.json")}
    with Runner(tmp_path, jobs=2) as runner:
        again = conduct(small(name), runner)
    assert again.results == outcome.results
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("trials/*/record.json")} == written


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_folder_of_another_study_is_refused(name, tmp_path):
    with Runner(tmp_path, jobs=2) as runner:
        conduct(small(name), runner)
    with Runner(tmp_path, jobs=2) as runner, pytest.raises(RunError, match="another study"):
        conduct(small(name, parameters=200), runner)
