"""Batches of sequences of like length."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gatelab.core.random import generator
from gatelab.tasks.bucketing import batches_of, groups_of

LENGTHS = st.lists(st.integers(0, 50), min_size=1, max_size=200).map(np.array)


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 9), st.booleans())
def test_every_sequence_once_and_as_many_batches_either_way(lengths, batch_size, shuffled):
    batches = batches_of(lengths, batch_size, generator(0, "order") if shuffled else None)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert sorted(map(len, batches), reverse=True)[:-1] == [batch_size] * (len(batches) - 1)
    assert len(batches) == -(-len(lengths) // batch_size)


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 200))
def test_groups_hold_every_sequence_once_within_the_limit(lengths, steps):
    groups = list(groups_of(lengths, steps))
    assert sorted(np.concatenate(groups)) == list(range(len(lengths)))
    assert all(len(group) == 1 or len(group) * max(lengths[group].max(), 1) <= steps for group in groups)


def test_little_is_padding_and_the_order_is_the_streams():
    lengths = generator(0, "lengths").integers(1, 100, 2_000)
    first, again, other = (batches_of(lengths, 16, generator(seed, "order")) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    padded = sum(len(batch) * lengths[batch].max() for batch in first)
    assert padded < 1.15 * lengths.sum()
    means = np.array([lengths[batch].mean() for batch in first])
    assert abs(np.corrcoef(means[1:], means[:-1])[0, 1]) < 0.3  # short and long batches are mixed


def test_a_million_steps_stand_alone():
    assert [group.tolist() for group in groups_of(np.array([3, 1_000_000, 2]), 1_000)] == [[2, 0], [1]]
