"""Baselines: what they know, and what they must not know."""

import numpy as np
import pytest

from gatelab.core.random import generator
from gatelab.tasks.problems import baselines
from gatelab.tasks.problems.config import ProblemConfig
from gatelab.tasks.problems.definition import Examples, define
from gatelab.tasks.problems.task import Problem


def scored(name: str, method: str, **config) -> dict[str, float]:
    task = Problem.open(name, ProblemConfig(**config))
    return dict(task.baselines()[method]("test").metrics)


def test_chance_and_the_last_step_of_adding_have_the_errors_that_follow_from_their_definition():
    """The sum has variance 2/12. A marked last step, which 2 in T are, leaves one summand open: 1/12."""
    config = {"length": 4, "held_out": 40_000}
    assert scored("adding", "chance", **config)["MSE"] == pytest.approx(1 / 6, rel=0.03)
    assert scored("adding", "memoryless", **config)["MSE"] == pytest.approx(0.5 / 6 + 0.5 / 12, rel=0.03)


def test_the_best_linear_function_of_all_steps_can_hardly_add_what_is_marked():
    """A number is in the sum with probability 2/T whatever else is seen, which explains T (2/T)² / 12 = 1/(3 T)."""
    config = {"length": 20, "examples": 4_000, "held_out": 10_000}
    assert scored("adding", "linear", **config)["MSE"] == pytest.approx(1 / 6 - 1 / 60, rel=0.04)


def test_remembering_nothing_costs_what_it_says():
    config = ProblemConfig(length=30, held_out=50)
    found = scored("copy", "memoryless", length=30, held_out=50)
    assert found["cross-entropy"] == pytest.approx(define("copy", config).memoryless, rel=1e-6)
    assert found["accuracy"] == pytest.approx(1 / 8, abs=0.06)
    assert scored("copy", "chance", length=30, held_out=50)["cross-entropy"] == pytest.approx(np.log(9))


def test_recall_is_no_problem_for_what_sees_all_steps_at_once():
    assert scored("recall", "linear", length=20)["accuracy"] > 0.99
    assert scored("recall", "chance", length=20)["cross-entropy"] == pytest.approx(np.log(2))


def test_frequencies_count_each_class_once_more_than_it_occurs():
    assert np.exp(baselines.log_frequencies(np.array([[0, 0, 2]]), 3)) == pytest.approx([3 / 6, 1 / 6, 2 / 6])


def some_examples(seed: int) -> Examples:
    """The class is the sign of the last step, and the first step is the same sign, stronger."""
    rng = generator(seed, "baselines")
    y = rng.integers(2, size=200)
    x = rng.normal(size=(5, 200, 1))
    x[0, :, 0], x[-1, :, 0] = 10 * (2 * y - 1), 2 * y - 1
    return Examples(x.astype(np.float32), y[None])


def test_the_last_step_alone_is_the_last_step_alone():
    train, validation, test = map(some_examples, (0, 1, 2))
    method = baselines.logistic(train, validation, steps=1)
    other = Examples(np.concatenate([-test.x[:-1], test.x[-1:]]), test.y)
    assert np.array_equal(method(test), method(other))
    assert (method(test).argmax(axis=2) == test.y).all()
    assert np.exp(method(test)).sum(axis=2) == pytest.approx(1)
    whole = baselines.logistic(train, validation)
    assert not np.array_equal(whole(test), whole(other))


def test_a_linear_function_is_found():
    rng = generator(3, "baselines")
    weights = rng.normal(size=(6, 2))

    def examples(items: int) -> Examples:
        x = rng.normal(size=(6, items, 2))
        return Examples(x, np.einsum("tni,ti->n", x, weights)[None])

    method, test = baselines.linear(examples(500), examples(100)), examples(50)
    assert method(test)[0, :, 0] == pytest.approx(test.y[0], abs=0.05)
