import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatelab.core.random import generator
from gatelab.kernels.dtw import nearest, warping_distance

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=5)


def sequences(lengths, channels, name):
    return [generator(0, name).normal(size=(length, channels)) for length in lengths]


def asked(queries, references, band, dtype=np.float64):
    flat = [np.concatenate(rows).astype(dtype) for rows in (queries, references)]
    lengths = [np.array([len(row) for row in rows]) for rows in (queries, references)]
    return nearest(flat[0], lengths[0], flat[1], lengths[1], band)


@settings(max_examples=40, deadline=None)
@given(LENGTHS, LENGTHS, st.integers(1, 3), st.sampled_from([0.0, 0.1, 0.4, 1.0]))
def test_the_kernel_is_its_slow_twin(of_queries, of_references, channels, band):
    queries, references = sequences(of_queries, channels, "q"), sequences(of_references, channels, "r")
    distances = np.array([[warping_distance(a, b, band) for b in references] for a in queries])  # (Q, R)
    assert np.isfinite(distances).all(), "however narrow the band, there is a path"
    places, found = asked(queries, references, band)
    np.testing.assert_array_equal(places, distances.argmin(axis=1))
    np.testing.assert_allclose(found, distances.min(axis=1))
    np.testing.assert_allclose(asked(queries, references, band, np.float32)[1], found, rtol=1e-5)


def test_every_path_of_small_sequences_was_looked_at():
    """Against all monotone paths, one by one."""

    def best(a, b, i, j):
        cost = ((a[i] - b[j]) ** 2).sum()
        if i == j == 0:
            return cost
        before = [(i - 1, j), (i, j - 1), (i - 1, j - 1)]
        return cost + min(best(a, b, *at) for at in before if min(at) >= 0)

    for T, U in ((1, 1), (1, 4), (4, 1), (5, 3), (4, 4)):
        a, b = sequences([T, U], 2, f"{T} {U}")
        assert warping_distance(a, b) == pytest.approx(np.sqrt(best(a, b, T - 1, U - 1)))


def test_waiting_costs_nothing_and_the_narrowest_band_is_euclidean():
    a = np.array([[0.0], [1.0], [5.0], [2.0]])
    slow = np.repeat(a, 3, axis=0)
    assert warping_distance(a, slow) == 0
    assert asked([slow], [a + 1, a], 1.0)[0].tolist() == [1]
    b = a[::-1]
    assert warping_distance(a, b, band=0.0) == pytest.approx(np.linalg.norm(a - b))


def test_read_only_arrays_are_taken():
    rows = np.ones((3, 1))
    rows.flags.writeable = False
    assert nearest(rows, np.array([3]), rows, np.array([1, 2]))[1].tolist() == [0]
