"""Rules for the hidden size: found where there is one, blind to the series that is left out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatelab.studies.sizing import BY_EXAMPLES, ONE_SIZE, Curve, Rule, fit, joined, left_out, regrets, within

SIZES = (2, 4, 8, 16, 32, 64, 128)


def valley(name: str, examples: int, best: float, steep: float = 0.02) -> Curve:
    """A series whose error rises by ``steep`` with each doubling away from ``best`` units."""
    return Curve(name, examples, {size: steep * abs(float(np.log2(size / best))) for size in SIZES})


def by_root(counts=(100, 400, 1600, 6400, 25_600)) -> list[Curve]:
    """Best at 8 · √(examples / 1000) units."""
    return [valley(f"series {n}", n, 8 * (n / 1000) ** 0.5) for n in counts]


@given(st.floats(1, 500), st.sampled_from(BY_EXAMPLES), st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_rule_names_a_size_that_was_measured_and_never_less_for_more(size, exponent, some, more):
    rule = Rule(size, exponent, SIZES)
    some, more = sorted((some, more))
    assert rule.units(some) in SIZES
    assert rule.units(some) <= rule.units(more)


def test_the_nearest_size_is_the_nearest_in_doublings():
    assert [Rule(size, 0.0, (2, 8, 32)).units(5) for size in (3.9, 4.1, 15.9, 16.1, 1000)] == [2, 8, 8, 32, 32]


def test_a_rule_that_is_there_is_found():
    rule = fit(by_root(), BY_EXAMPLES)
    assert rule.exponent == 0.5
    assert rule.size == pytest.approx(8, rel=0.2)
    assert left_out(by_root(), BY_EXAMPLES) == {curve.series: min(curve.regrets, key=lambda size: curve.regrets[size])
                                                for curve in by_root()}  # fmt: skip


def test_one_size_is_the_one_with_the_least_mean():
    curves = [valley("a", 100, 4), valley("b", 9000, 16, steep=0.1), valley("c", 500, 32, steep=0.03)]
    means = {size: np.mean([curve.regrets[size] for curve in curves]) for size in SIZES}
    assert fit(curves, ONE_SIZE).units(1) == min(means, key=lambda size: means[size])


def test_where_examples_tell_nothing_the_rule_does_not_look_at_them():
    curves = [valley(str(n), n, 16) for n in (100, 1000, 10_000)]
    assert fit(curves, BY_EXAMPLES).exponent == 0


@pytest.mark.parametrize("exponents", [ONE_SIZE, BY_EXAMPLES])
def test_what_is_named_for_a_series_does_not_depend_on_its_own_errors(exponents):
    curves = by_root()
    before = left_out(curves, exponents)
    for at, curve in enumerate(curves):
        turned = Curve(curve.series, curve.examples, {size: 1 - curve.regrets[size] for size in SIZES})
        changed = left_out([*curves[:at], turned, *curves[at + 1 :]], exponents)
        assert changed[curve.series] == before[curve.series]


def test_regrets_are_shares_of_the_least_error():
    assert regrets({2: 3.0, 8: 2.0, 32: 2.5}) == pytest.approx({2: 0.5, 8: 0.0, 32: 0.25})
    assert within([0.0, 0.02, 0.1], 0.02) == pytest.approx(2 / 3)


def test_cells_are_joined_where_both_were_measured():
    curve = joined("a", 7, [{2: 0.1, 8: 0.0}, {2: 0.3, 8: 0.2, 32: 0.0}])
    assert curve.regrets == pytest.approx({2: 0.2, 8: 0.1})
    assert curve.at(4) == pytest.approx(0.15)
    assert [curve.at(1), curve.at(99)] == pytest.approx([0.2, 0.1])
