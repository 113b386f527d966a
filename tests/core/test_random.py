from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gatelab.core.random import generator, integer_seed

NAMES = st.lists(st.text(max_size=5) | st.integers(-5, 5), max_size=3)


@given(st.integers(0, 10), NAMES)
def test_the_same_names_give_the_same_stream(seed, names):
    assert generator(seed, *names).random() == generator(seed, *names).random()
    assert 0 <= integer_seed(seed, *names) < 2**63


@given(st.integers(0, 3), NAMES, st.integers(0, 3), NAMES)
def test_other_names_give_another_stream(seed, names, other_seed, other_names):
    if (seed, names) != (other_seed, other_names):
        assert generator(seed, *names).random() != generator(other_seed, *other_names).random()


def test_neighbouring_streams_are_not_correlated():
    draws = np.stack([generator(0, "step", step).normal(size=2000) for step in range(20)])  # (20, 2000)
    correlation = np.corrcoef(draws) - np.eye(20)
    assert np.abs(correlation).max() < 0.12
