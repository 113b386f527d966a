"""Problems that are drawn, against their definitions written out example by example."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from gatelab.core.errors import InputError
from gatelab.core.random import generator
from gatelab.tasks.problems.config import ProblemConfig
from gatelab.tasks.problems.definition import PROBLEMS, Examples, define
from gatelab.tasks.problems.drawn import Drawn

DRAWN = [name for name in PROBLEMS if issubclass(PROBLEMS[name], Drawn)]
lengths, sizes, seeds = some.integers(2, 40), some.integers(1, 12), some.integers(0, 2**32)


def drawn(name: str, length: int, items: int, seed: int, **more: int) -> Examples:
    return define(name, ProblemConfig(length=length, **more)).draw(generator(seed, "test"), items, length)


def pairs(batches) -> list[Examples]:
    return [Examples(*batch) for batch in batches]


def same(a: Examples, b: Examples) -> bool:
    return np.array_equal(a.x, b.x) and np.array_equal(a.y, b.y)


# ---- definitions ----------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(lengths, sizes, seeds)
def test_adding_asks_for_the_sum_of_the_two_marked_numbers(length, items, seed):
    x, y = drawn("adding", length, items, seed)
    assert (x.shape, y.shape) == ((length, items, 2), (1, items))
    for item in range(items):
        marked = [float(number) for number, mark in x[:, item] if mark == 1]
        assert len(marked) == 2
        assert all(mark in (0, 1) and 0 <= number < 1 for number, mark in x[:, item])
        assert y[0, item] == pytest.approx(sum(marked), rel=1e-6)


def test_adding_marks_every_pair_of_steps_alike():
    x, _ = drawn("adding", 4, 60_000, 1)
    where = [tuple(np.flatnonzero(marks)) for marks in x[:, :, 1].T]
    counts = {pair: where.count(pair) for pair in set(where)}
    assert len(counts) == 6
    assert all(abs(count - 10_000) < 5 * np.sqrt(10_000) for count in counts.values())


@settings(max_examples=40, deadline=None)
@given(some.integers(2, 20), sizes, seeds, some.integers(1, 5), some.integers(2, 6))
def test_copy_memory_is_symbols_blanks_delimiters_and_the_symbols_again(length, items, seed, symbols, alphabet):
    x, y = drawn("copy", length, items, seed, symbols=symbols, alphabet=alphabet)
    assert x.shape == (length + 2 * symbols, items, alphabet + 2)
    assert (x.sum(axis=2) == 1).all()
    for shown, wanted in zip(x.argmax(axis=2).T.tolist(), y.T.tolist(), strict=True):
        kept = shown[:symbols]
        assert all(symbol < alphabet for symbol in kept)
        assert shown == kept + [alphabet] * (length - 1) + [alphabet + 1] * (symbols + 1)
        assert wanted == [alphabet] * (length + symbols) + kept


@settings(max_examples=40, deadline=None)
@given(lengths, sizes, seeds)
def test_recall_shows_a_marked_bit_and_then_noise_without_marks(length, items, seed):
    x, y = drawn("recall", length, items, seed)
    assert (x.shape, y.shape) == ((length + 1, items, 2), (1, items))
    assert np.array_equal(x[0, :, 0], 2 * y[0] - 1)
    assert (x[0, :, 1] == 1).all()
    assert (x[1:, :, 1] == 0).all()


def test_the_noise_of_recall_is_standard_normal_and_knows_nothing_of_the_bit():
    x, y = drawn("recall", 20, 5_000, 2)
    noise = x[1:, :, 0]
    assert noise.mean() == pytest.approx(0, abs=0.02)
    assert noise.std() == pytest.approx(1, abs=0.02)
    assert np.corrcoef(noise.mean(axis=0), y[0])[0, 1] == pytest.approx(0, abs=0.06)


def test_the_published_value_of_remembering_nothing():
    """Bai et al. 2018, section 5.4, have every recurrent network at 0.0204 or little below."""
    assert define("copy", ProblemConfig(length=1000)).memoryless == pytest.approx(0.0204, abs=5e-5)


# ---- parts and batches ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DRAWN)
def test_every_epoch_is_drawn_afresh_and_the_other_parts_are_not(name):
    problem = define(name, ProblemConfig(length=8, examples=20, held_out=20))
    one, other, again = (pairs(problem.batches("train", 8, generator(seed, "order"), 0)) for seed in (1, 2, 1))
    assert [batch.y.shape[1] for batch in one] == [8, 8, 4]
    assert all(same(a, b) for a, b in zip(one, again, strict=True))
    assert not any(same(a, b) for a, b in zip(one, other, strict=True))
    fixed = pairs(problem.batches("test", 8, generator(1, "order"), 0))
    assert same(
        Examples(*(np.concatenate([batch[at] for batch in fixed], axis=1) for at in (0, 1))), problem.part("test")
    )
    assert not same(problem.part("test"), problem.part("validation"))


@pytest.mark.parametrize("name", DRAWN)
def test_short_and_long_examples_are_mixed_for_training_alone(name):
    config = ProblemConfig(length=40, shortest=5, examples=400, held_out=4)
    problem = define(name, config)
    overhead = problem.part("test").x.shape[0] - 40
    steps = [len(batch.x) - overhead for batch in problem.batches("train", 4, generator(0, "order"), 0)]
    assert min(steps) in (5, 6)
    assert max(steps) in (38, 39, 40)
    assert np.median(steps) == pytest.approx(np.sqrt(5 * 40), rel=0.25), "log-uniform: the middle is the geometric mean"
    assert {len(batch.x) - overhead for batch in problem.batches("validation", 4, None, 0)} == {40}


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changed", "option"),
    [("adding", {"symbols": 4}, "--symbols"), ("recall", {"by": "row"}, "--by"), ("digits", {"length": 9}, "--length")],
)
def test_settings_of_another_problem_are_refused(name, changed, option):
    with pytest.raises(InputError, match=option) as caught:
        define(name, ProblemConfig(**changed))
    assert caught.value.fix


@pytest.mark.parametrize(
    "wrong",
    [{"length": 1}, {"shortest": 1}, {"length": 20, "shortest": 21}, {"symbols": 0}, {"alphabet": 1}, {"examples": 0}],
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(InputError) as caught:
        ProblemConfig(**wrong)
    assert caught.value.fix
