"""The measure that trains a cell on a task: where each entry of a condition goes."""

from __future__ import annotations

import pytest

import gatelab.studies
import toys
from gatelab.core.errors import InputError
from gatelab.studies.training_trial import model_of, task_of, train_on_task, training_of
from gatelab.studies.trials import Trial
from gatelab.tasks import TASKS

CONDITION = {"task": "adding", "source": 0, "steps": 6, "items": 64, "cell": "gru", "hidden_size": 5, "epochs": 2}


@pytest.fixture(autouse=True)
def _toys(monkeypatch):
    monkeypatch.setattr(TASKS, "_entries", dict(TASKS._entries))
    toys.register()


def measured(folder, kind="train", **changes):
    condition = {**CONDITION, **changes}
    return train_on_task(Trial(kind, "x", 1, condition), folder, lambda **_: None).measures


def test_every_entry_goes_where_its_name_belongs():
    condition = {**CONDITION, "init": "orthogonal", "clip_norm": None, "learning_rate": 0.5}
    task = task_of(condition)
    model, training = model_of(task, condition), training_of(task, condition)
    assert (task.name, task.config.steps, task.config.items) == ("adding", 6, 64)
    assert (model.cell, model.hidden_size, model.init) == ("gru", 5, "orthogonal")
    assert (training.epochs, training.clip_norm, training.learning_rate) == (2, None, 0.5)
    assert training.batch_size == task.training_defaults().batch_size, "what is not named is the task's own"


def test_a_task_is_opened_once_for_conditions_that_train_differently():
    assert task_of(CONDITION) is task_of({**CONDITION, "cell": "rnn", "epochs": 3, "parameters": 100})
    assert task_of(CONDITION) is not task_of({**CONDITION, "steps": 7})


def test_parameters_are_solved_for():
    task = task_of(CONDITION)
    sizes = {cell: model_of(task, {**CONDITION, "cell": cell, "parameters": 2000}) for cell in ("rnn", "lstm", "gru")}
    counts = {cell: sum(p.numel() for p in task.build(model).parameters()) for cell, model in sizes.items()}
    assert all(count == pytest.approx(2000, rel=0.05) for count in counts.values())
    assert sizes["rnn"].hidden_size > sizes["gru"].hidden_size > sizes["lstm"].hidden_size


def test_an_entry_that_belongs_nowhere_is_refused(tmp_path):
    with pytest.raises(InputError, match="stepz"):
        measured(tmp_path, stepz=3)


def test_training_is_scored_on_validation_and_test(tmp_path):
    found = measured(tmp_path)
    assert found["test"]["MSE"] > 0
    assert found["validation"]["MSE"] > 0
    assert found["score"] == found["best"] == min(record["validation_loss"] for record in found["history"])
    assert found["hidden_size"] == 5
    assert (tmp_path / "model.safetensors").exists(), "a run folder: what is cut short goes on"


def test_a_try_never_sees_the_test_part(tmp_path):
    found = measured(tmp_path, kind="tune")
    assert "test" not in found
    assert found["score"] == found["best"]


def test_the_score_is_less_where_it_is_better(tmp_path):
    echo = {"task": "echo", "source": 0, "length": 256, "cell": "gru", "hidden_size": 4, "epochs": 1}
    found = train_on_task(Trial("train", "x", 1, echo), tmp_path, lambda **_: None).measures
    assert found["score"] == -found["best"], "the echo's criterion is an accuracy"


def test_a_baseline_is_the_tasks_own(tmp_path):
    found = measured(tmp_path, kind="baseline", baseline="mean")
    expected = task_of(CONDITION).baselines()["mean"]("test").metrics
    assert found["test"] == expected
    assert "hidden_size" not in found


def test_questions_are_studies():
    assert set(gatelab.studies.QUESTIONS) < set(gatelab.studies.STUDIES)
