"""Problems as a task, beyond what every task owes."""

import dataclasses

import numpy as np
import pytest
import torch

from gatelab.core.config import ModelConfig
from gatelab.core.errors import DataError, InputError
from gatelab.report import render
from gatelab.report.page import Page
from gatelab.tasks.problems.config import ProblemConfig
from gatelab.tasks.problems.task import Problem

CASES = {
    "adding": ProblemConfig(length=6, held_out=30),
    "copy": ProblemConfig(length=6, held_out=30, symbols=3, alphabet=4),
    "recall": ProblemConfig(length=6, held_out=30),
}


@pytest.fixture(params=CASES)
def task(request) -> Problem:
    return Problem.open(request.param, CASES[request.param])


@pytest.fixture
def model(task):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return task.build(ModelConfig("lstm", hidden_size=5))


def test_one_of_ones_own_examples_is_answered_as_in_the_batch(task, model):
    x = task.definition.part("test").x
    named, own = task.predict(model, task.definition.name), task.predict(model, list(x.swapaxes(0, 1)))
    assert np.allclose(named["answer"], own["answer"], atol=1e-6)
    assert set(named) - set(own) == {"truth"}
    assert len(own) == 30 * task.definition.answer.asked


def test_the_truth_beside_an_answer_is_that_of_the_definition(task, model):
    asked = task.definition.answer.asked
    truth = task.predict(model, task.definition.name)["truth"].to_numpy().reshape(30, asked)
    assert np.array_equal(truth, task.definition.part("test").y[-asked:].T)


def test_metrics_are_means_over_the_examples(task, model):
    found = task.evaluate(model, "test")
    first = task.metrics[0]
    expected = found.metrics[first.name] if first.goal == "min" else 1 - found.metrics[first.name]
    assert found.arrays["error_by_item"].mean() == pytest.approx(expected)
    assert found.arrays["error_by_item"].shape == (30,)
    model.train()
    task.evaluate(model, "test")
    assert model.training


def test_the_report_shows_networks_and_leaves_baselines_out(task, model):
    found = {"lstm": [task.evaluate(model, "test")] * 2, **{k: [f("test")] for k, f in task.baselines().items()}}
    page = render(Page(title="problems", verdict="", sections=task.sections(found)))
    assert "<svg" in page
    assert "lstm" in page
    assert "memoryless" not in page
    assert task.sections({"chance": found["chance"]}) == []


def test_lengths_may_differ_between_training_and_test(model, task):
    short = Problem.open(task.definition.name, dataclasses.replace(task.config, length=9, shortest=3))
    assert short.evaluate(model, "test").items == 30
    losses = [float(short.loss(model, batch).mean.detach()) for batch in short.batches("train", 2500)]
    assert np.isfinite(losses).all()


@pytest.mark.parametrize("source", [3, None, [], [np.ones(4)], [np.ones((4, 7))], [[["a", "b"]]], "no such problem"])
def test_what_is_no_example_is_refused(source):
    task = Problem.open("adding", CASES["adding"])
    with pytest.raises((DataError, InputError)) as caught:
        task.predict(task.build(ModelConfig(hidden_size=2)), source)
    assert caught.value.fix


def test_another_problem_is_refused(task, model):
    with pytest.raises(DataError, match="another problem"):
        task.reopen("digits", "evaluate")
    with pytest.raises(InputError, match="ahead"):
        task.predict(model, task.definition.name, future="x")


def test_what_reads_backwards_is_refused(task):
    with pytest.raises(InputError, match="backwards"):
        task.build(ModelConfig(bidirectional=True))
