"""Ratios of times, and what is asked of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatelab.bench.figures import Bound, Figure, Goal, Row, geometric_mean, ratio


def drifting(factor, noise=0.05, rounds=60, seed=0):
    """Seconds of two contenders on a machine that slows to a third, the second ``factor`` times as fast."""
    rng = np.random.default_rng(seed)
    speed = np.linspace(1, 3, rounds)  # (R,)
    return speed * rng.lognormal(0, noise, rounds), speed / factor * rng.lognormal(0, noise, rounds)


def test_the_interval_holds_the_true_ratio_about_as_often_as_it_says():
    held = [low <= 2.5 <= high for seed in range(200) for _, low, high in [ratio(*drifting(2.5, seed=seed))]]
    assert 0.85 <= np.mean(held) <= 1.0


def test_drift_that_meets_both_sides_leaves_the_ratio_alone():
    value, low, high = ratio(*drifting(2.5, noise=0.0))
    assert (value, low, high) == pytest.approx((2.5, 2.5, 2.5))


@settings(deadline=None)
@given(st.floats(1e-6, 1e3), st.integers(0, 100))
def test_the_unit_of_time_does_not_matter(unit, seed):
    over, under = drifting(1.3, seed=seed)
    assert ratio(over * unit, under * unit) == pytest.approx(ratio(over, under))


def test_a_machine_that_changes_its_speed_between_rounds_leaves_the_ratio_alone():
    speed = np.repeat([1.0, 2.0], [7, 8])  # (R,)
    under = speed * np.where(np.arange(15) % 2, 1.01, 0.99)  # (R,)
    assert ratio(1.5 * speed, under)[0] == pytest.approx(1.5, rel=0.02)
    over = 1.5 * speed
    over[7] = 1.4  # a round in between: the medians are those of different speeds
    assert np.median(over) / np.median(under) < 0.8
    assert ratio(over, under)[0] == pytest.approx(1.5, rel=0.02)


def test_one_round_has_no_interval():
    assert ratio(np.array([3.0]), np.array([2.0])) == (1.5, None, None)


def test_an_outlier_in_a_round_moves_little():
    over, under = drifting(2.0, noise=0.01)
    under[7] *= 100
    assert ratio(over, under)[0] == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize(
    ("bound", "text", "holds", "fails"),
    [(Bound(1.2), "≥ 1.2", 1.2, 1.19), (Bound(1.5, at_most=True), "≤ 1.5", 1.5, 1.51)],
)
def test_bounds(bound, text, holds, fails):
    assert str(bound) == text
    assert Figure("x", holds, bound=bound).met
    assert Figure("x", fails, bound=bound).met is False
    assert Figure("x", fails).met is None


def test_a_goal_looks_at_its_own_cells_and_figure():
    rows = [Row("s", "a", "gru", (Figure("r", 2.0), Figure("other", 9.0))), Row("s", "b", "gru", (Figure("r", 8.0),))]
    rows += [Row("s", "c", "lstm", (Figure("r", 100.0),))]
    goal = Goal("mean", "r", geometric_mean, Bound(5.0), ("gru",))
    figure = goal.over(rows)
    assert (figure.value, figure.met) == (pytest.approx(4.0), False)
    assert Goal("mean", "r", geometric_mean, Bound(5.0), ("rnn",)).over(rows) is None
    assert goal.over([*rows, Row("s", "d", "gru", problem="differs")]) is None  # no mean over the rest


def test_rows_as_json_say_what_was_asked_and_whether_it_holds():
    row = Row("s", "a", "gru", (Figure("r", 2.0, bound=Bound(3.0)),))
    (figure,) = row.to_dict()["figures"]
    assert (figure["bound"], figure["met"]) == ("≥ 3", False)
    (figure,) = row.without_bounds().to_dict()["figures"]
    assert (figure["bound"], figure["met"]) == (None, None)
