"""Turns: their order, what a sample is, and what is put back."""

import gc
import time

import numpy as np
import pytest
import torch

from gatelab.bench import timing
from gatelab.bench.timing import Contender, alternate


@pytest.fixture
def few_rounds(monkeypatch):
    monkeypatch.setattr(timing, "SAMPLE_SECONDS", 0.0)  # a call a sample
    monkeypatch.setattr(timing, "LEAST_ROUNDS", 3)


class Clock:
    """Runs only while somebody sleeps: a machine may be as slow as it likes."""

    def __init__(self):
        self.now = 1000.0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        return {}


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def recording(name, calls, **options):
    return Contender(name, lambda: calls.append(name) or {}, **options)


def test_contenders_take_turns(few_rounds):
    calls = []
    seconds = alternate([recording(name, calls) for name in "AB"], 0.0)
    assert "".join(calls) == "AABB" + "AB" * 3  # a warm-up of two calls each, then turns
    assert seconds.shape == (3, 2)
    assert (seconds >= 0).all()


def test_of_more_than_two_none_always_comes_after_the_same_one(few_rounds, monkeypatch):
    monkeypatch.setattr(timing, "LEAST_ROUNDS", 60)
    calls = []
    seconds = alternate([recording(name, calls) for name in "ABC"], 0.0)
    assert seconds.shape == (60, 3)
    rounds = ["".join(calls[at : at + 3]) for at in range(6, len(calls), 3)]
    assert all(sorted(turn) == list("ABC") for turn in rounds)
    assert len(set(rounds)) == 6


def test_who_is_warm_is_timed_at_its_best(clock):
    slow = iter([0.02, 0.03, 0.01, 0.04] * 2)
    assert timing.Warm("A", lambda: clock.sleep(next(slow))).seconds(1) == pytest.approx(0.01)
    assert Contender("A", lambda: clock.sleep(next(slow))).seconds(1) == pytest.approx(0.02)


@pytest.mark.parametrize("names", ["A", "AB", "ABC"])
def test_somebody_beside_comes_once_a_round_after_one_that_is_drawn(few_rounds, monkeypatch, names):
    monkeypatch.setattr(timing, "LEAST_ROUNDS", 60)
    calls, K = [], len(names)
    seconds = alternate([recording(name, calls) for name in names], 0.0, recording("l", calls))
    assert seconds.shape == (60, K + 1)
    begin = 2 * (K + 1)  # after the warm-up
    rounds = ["".join(calls[at : at + K + 1]) for at in range(begin, len(calls), K + 1)]
    assert all(sorted(turn) == sorted(names + "l") for turn in rounds)
    assert len({turn.index("l") for turn in rounds}) == K
    assert not any(turn.startswith("l") for turn in rounds)
    if K == 2:
        assert {turn.replace("l", "") for turn in rounds} == {"AB"}


def test_times_stand_with_their_contenders_whatever_the_order(few_rounds):
    names = {"A": 1.0, "B": 10.0, "C": 100.0}
    seconds = alternate([Steady(name, list, work=work) for name, work in names.items()], 0.0)
    np.testing.assert_allclose(seconds * list(names.values()), 2e-4)


def test_rounds_are_added_until_the_time_is_spent_and_not_without_end(few_rounds, monkeypatch, clock):
    monkeypatch.setattr(timing, "MOST_ROUNDS", 7)
    sleeping = Contender("A", lambda: clock.sleep(0.02))
    assert len(alternate([sleeping], 0.0)) == 3
    assert len(alternate([sleeping], 0.09)) == 5
    assert len(alternate([sleeping], 10.0)) == 7


class Steady(Contender):
    """Takes a time that is known, without taking it."""

    def seconds(self, repeats):
        self.call().append(repeats)
        return repeats * 2e-4


def test_short_calls_are_timed_several_at_a_time_and_times_are_those_of_one():
    samples = []
    seconds = alternate([Steady("A", lambda: samples)], 0.0)
    assert samples == [1, 1, *[10] * timing.LEAST_ROUNDS]  # two milliseconds of a fifth of one each
    np.testing.assert_allclose(seconds, 2e-4)


def test_times_are_those_of_a_unit_of_work():
    whole, part = alternate([Steady("A", list), Steady("B", list, work=100.0)], 0.0).T
    np.testing.assert_allclose(whole, 100 * part)


def test_a_call_is_timed():
    assert 0.02 <= Contender("A", lambda: time.sleep(0.01) or {}).seconds(2) < 1.0


def test_each_contender_has_its_threads_and_all_is_put_back(few_rounds):
    seen = {}

    def look(name):
        seen[name] = (torch.get_num_threads(), gc.isenabled())
        return {}

    before = torch.get_num_threads()
    contenders = [Contender("two", lambda: look("two"), threads=2), Contender("own", lambda: look("own"))]
    alternate(contenders, 0.0)
    assert seen == {"two": (2, False), "own": (before, False)}
    assert torch.get_num_threads() == before
    assert gc.isenabled()


def test_results_are_drawn_from_the_same_place_of_the_stream():
    contender = Contender("A", lambda: {"noise": torch.rand(3)}, shown=lambda results: {"twice": 2 * results["noise"]})
    first, second = contender.results(), contender.results()
    assert first.keys() == {"twice"}
    assert torch.equal(first["twice"], second["twice"])
