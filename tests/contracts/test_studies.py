"""What every study of the table does; a study without a small case here stops the suite."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import toys
from gatelab.core.errors import RunError
from gatelab.report import render
from gatelab.studies import QUESTIONS, STUDIES
from gatelab.studies.answer import load
from gatelab.studies.budgets import BUDGETS, parse_budget
from gatelab.studies.comparing import Comparing, Plan
from gatelab.studies.experiment import Experiment
from gatelab.studies.runner import Runner
from gatelab.studies.study import Outcome, Study, claim, conduct

_REMEDIES = {"length": 4, "shortest": 2, "examples": 24, "held_out": 16, "parameters": 300, "epochs": 2}
_ADDING = {"task": "problem", "source": "adding", "length": 4, "examples": 24, "held_out": 16, "epochs": 2}
SMALL: Mapping[str, Mapping[str, Any]] = {
    "adding": _REMEDIES,
    "applications": {"parameters": 300, "epochs": 1},
    "claims": {"settings": _ADDING},
    "copy-memory": _REMEDIES,
    "comparison": {"settings": _ADDING, "parameters": 60, "learning_rate": 1e-2},
    "depth": {"task": "problem", "source": "recall", "length": 4, "examples": 24, "held_out": 16, "hidden_size": 4},
    "digits": {"parameters": 300, "epochs": 2, "learning_rate": 1e-2, "init": "torch"},
    "gradients": {"length": 4, "examples": 24, "held_out": 16, "hidden_size": 4, "batch_size": 8},
    "hidden-size": {"source": "sunspots_yearly", "lookback": 6, "epochs": 1},
    "large-scale": {"updates": 2, "rows": 64, "stretch": 32, "epochs": 1, "batch_size": 512, "hidden_size": 4},
    "length": {"settings": _ADDING, "parameters": 60},
    "music": {"source": str(Path(__file__).parents[1] / "tunes.json"), "parameters": 1500, "epochs": 2},
    "stability": {
        "source": "adding",
        "by": "pixel",
        "length": 4,
        "examples": 16,
        "held_out": 16,
        "parameters": 60,
        "max_steps": 3,
    },
}
"""For each question, what makes any of its conditions a matter of moments."""
ONCE: Mapping[str, Mapping[str, Any]] = {
    "large-scale": {"stretch": 64, "windows": [], "lengths": [200, 400], "window": 50, "sizes": [4], "updates": 2,
                    "epochs": 3, "batch_size": 8, "processes": 1, "timing_seconds": 0.0},
}  # fmt: skip
"""The same for its baselines, where they are not made from the conditions."""
ROUGH = ("measure.LATENCY_SECONDS", "questions.claims_trials._TURNS_SECONDS", "questions.comparison_trial._SECONDS",
         "questions.depth._TURNS_SECONDS", "questions.hidden_size._TURNS_SECONDS",
         "questions.length_trial._SECONDS")  # fmt: skip
"""How long times are taken, which no test here looks at."""


def small(name: str) -> Study:
    """The study of that name on a toy, seconds in all."""
    if name == "compare":
        return comparing(100)
    if name not in SMALL:
        raise NotImplementedError(f"give the study {name!r} a small case here")
    return shrunk(name)(budget="quick", seeds=2, **({"cells": ["gru"]} if QUESTIONS[name].default_cells else {}))


def comparing(parameters: int) -> Study:
    task = toys.AddingTask.open(0, toys.AddingTask.Config(steps=4, items=32))
    return Comparing(task, Plan(("gru",), (1, 2), parse_budget("1 epochs"), parameters=parameters))


def shrunk(name: str, later: int = 0) -> type[Experiment]:
    """The question with small conditions, or a later version of it."""

    class Small(QUESTIONS[name]):
        version = QUESTIONS[name].version + later

        def conditions(self):
            return [{**condition, **SMALL[name]} for condition in super().conditions()]

        def baselines(self):
            return [{**condition, **ONCE.get(name, {})} for condition in super().baselines()]

    return Small


def another(name: str) -> Study:
    """A study that may not go into the folder of ``small(name)``."""
    return comparing(200) if name == "compare" else shrunk(name, later=1)("quick", seeds=2)


@pytest.fixture(autouse=True, scope="module")
def _workers_find_the_toys_and_times_are_rough():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(toys.__file__).parent))
        for seconds in ROUGH:
            patch.setattr(f"gatelab.studies.{seconds}", 0.01)
        yield


def conducted(study: Study, folder: Path) -> Outcome:
    """Questions in this process, for starting others takes longer than their trials; ``compare`` in its own."""
    here = {"jobs": 1, "backend": "threading"} if isinstance(study, Experiment) else {"jobs": 2}
    with Runner(folder, **here) as runner:
        return conduct(study, runner)


@pytest.fixture(scope="module")
def outcome_of(tmp_path_factory) -> Callable[[str], Outcome]:
    """What came of the small study of a name; it is conducted once."""
    return cache(lambda name: conducted(small(name), tmp_path_factory.mktemp(name)))


@pytest.mark.parametrize("name", STUDIES)
def test_trials_are_known_before_anything_ran(name):
    study = small(name)
    trials = study.trials({})
    assert 0 < len(trials) <= study.count()
    assert len({trial.id for trial in trials}) == len(trials)
    assert [trial.id for trial in small(name).trials({})] == [trial.id for trial in trials]
    json.dumps([study.settings(), *(trial.configuration for trial in trials)], allow_nan=False)
    pickle.loads(pickle.dumps(study.measure))


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_ends_with_results_a_page_and_nothing_to_do(outcome_of, name):
    done = outcome_of(name)
    assert all(record.ok for record in done.records.values()), [record.message for record in done.records.values()]
    assert len(done.records) == small(name).count()
    assert json.loads((done.folder / "results.json").read_text()) == done.results
    assert done.report.read_text().startswith("<!DOCTYPE html>")
    written = {path: path.stat().st_mtime_ns for path in done.folder.glob("trials/*/record.json")}
    assert conducted(small(name), done.folder).results == done.results
    assert {path: path.stat().st_mtime_ns for path in done.folder.glob("trials/*/record.json")} == written


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_folder_of_another_study_is_refused(outcome_of, name):
    done = outcome_of(name)
    with pytest.raises(RunError, match="another study"):
        claim(done.folder, another(name))


# ---- questions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_says_what_it_asks_how_and_how_long_it_takes(name):
    kind = QUESTIONS[name]
    assert kind.name == name
    assert kind.question.endswith("?")
    assert kind.protocol
    assert all(paragraph.endswith(".") for paragraph in kind.protocol)
    assert list(kind.seconds) == list(BUDGETS)
    assert 0 < kind.seconds["quick"] < kind.seconds["standard"] < kind.seconds["full"]


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("budget", BUDGETS)
def test_conditions_are_plain_have_the_same_entries_and_differ(name, budget):
    study = QUESTIONS[name](budget)
    conditions = [dict(condition) for condition in study.conditions()]
    entries = [{*condition, *condition.get("tune", {})} - {"label", "tune"} for condition in conditions]
    assert all(each == entries[0] for each in entries)
    assert json.loads(json.dumps(conditions, allow_nan=False)) == conditions
    labels = [condition.get("label") or study.label_of(condition) for condition in conditions]
    assert len(set(labels)) == len(labels), "people must be able to tell them apart"
    if study.default_cells:
        assert len(list(QUESTIONS[name](budget, cells=["gru"]).conditions())) <= len(conditions)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUESTIONS)
def test_an_answer_is_drawn_again_from_its_results_alone(outcome_of, name):
    done = outcome_of(name)
    answer = load(done.folder)
    assert answer.verdict.startswith(done.results["headline"])
    assert all(figure.svg.startswith("<svg ") and figure.alt for figure in answer.figures.values())
    assert answer.figures
    assert str(answer)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("left", ["one seed", "one condition", "all but one condition"])
def test_words_and_pictures_bear_trials_that_failed(outcome_of, name, left):
    done = outcome_of(name)
    label = next(record.label for record in done.records.values() if record.kind == "train")
    kept = {
        "one seed": lambda record: record.seed in (0, 1),
        "one condition": lambda record: record.label == label or record.kind != "train",
        "all but one condition": lambda record: record.label != label or record.kind != "train",
    }[left]
    study, records = small(name), {id: record for id, record in done.records.items() if kept(record)}
    results = json.loads(json.dumps(study.results(records, None), allow_nan=True))
    assert results["headline"].endswith(".")
    assert render(study.page(results, records, None)).startswith("<!DOCTYPE html>")
