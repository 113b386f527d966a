"""Plots of characters."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gatelab.cli.plots import braille, sparkline

values = st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))), max_size=300).map(np.array)


def test_a_ramp_rises_and_gaps_are_blank():
    ramp = np.arange(8.0).repeat(3)
    assert sparkline(ramp, 8) == "▁▂▃▄▅▆▇█"
    ramp[6:9] = np.nan
    assert sparkline(ramp, 8) == "▁▂ ▄▅▆▇█"


def test_a_ramp_is_a_diagonal_of_dots():
    # Eight values on eight rows of dots: one dot each, from bottom left to top right.
    rows = braille(np.arange(8.0), width=4, height=2)
    dots = np.array([[_dots(character) for character in row.ljust(4, "\u2800")] for row in rows])  # (2, 4, 4, 2)
    picture = dots.transpose(0, 2, 1, 3).reshape(8, 8)
    np.testing.assert_array_equal(picture, np.eye(8)[::-1])


def _dots(character: str) -> list[list[int]]:
    bits = ord(character) - 0x2800
    order = [[0, 3], [1, 4], [2, 5], [6, 7]]  # Unicode's numbering of the dots
    return [[bits >> dot & 1 for dot in row] for row in order]


@given(values, st.integers(1, 80), st.integers(1, 8))
def test_any_values_fit(found, width, height):
    assert len(sparkline(found, width)) == min(width, len(found))
    rows = braille(found, width, height)
    assert len(rows) == height
    assert all(len(row) <= width for row in rows)


def test_a_constant_lies_in_the_middle():
    assert set(sparkline(np.ones(10), 5)) <= set("▄▅")
