"""Numbers and times as people read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatelab.report.text import duration, number


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.041, "0.041 s"), (0.949, "0.95 s"), (0.96, "1.0 s"), (9.94, "9.9 s"), (9.96, "10 s"),
     (59.4, "59 s"), (59.6, "1 min 0 s"), (99.6, "1 min 40 s"), (3599.9, "1 h 0 min"), (7199, "2 h 0 min"),
     (9000, "2 h 30 min")],
)  # fmt: skip
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(9999.6, 4, "10,000"), (99.7, 2, "100"), (-99.7, 2, "−100"), (9994.4, 4, "9994"), (0.99999, 4, "1"),
     (1e12, 4, "1e+12"), (1e-5, 4, "1e−05")],
)  # fmt: skip
def test_numbers_at_the_edge_of_their_digits(value, digits, text):
    assert number(value, digits) == text


@given(st.floats(-1e11, 1e11), st.integers(2, 6))
def test_a_number_is_near_what_it_says(value, digits):
    said = float(number(value, digits).replace(",", "").replace("−", "-"))
    assert math.isclose(said, value, rel_tol=0.5 * 10 ** (1 - digits) * 1.0001, abs_tol=1e-300)
