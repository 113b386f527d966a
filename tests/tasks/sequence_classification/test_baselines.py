import numpy as np
import pytest

from gatelab.core.errors import DataError
from gatelab.core.random import generator
from gatelab.tasks.sequence_classification import baselines
from gatelab.tasks.sequence_classification.config import SequenceConfig
from gatelab.tasks.sequence_classification.task import SequenceClassification


@pytest.mark.parametrize(("name", "accuracy"), [("GunPoint", 0.9067), ("ItalyPowerDemand", 0.9504)])
def test_the_nearest_neighbour_is_that_of_the_archive(name, accuracy):
    """The accuracy that the UCR archive (Dau et al. 2019) gives for 1-NN DTW without a window, to four digits."""
    try:
        task = SequenceClassification.open(f"tsc_aeon/{name}_TRAIN.ts", SequenceConfig())
    except DataError as error:
        pytest.skip(str(error))
    assert task.baselines()["1-NN DTW"]("test").metrics["accuracy"] == pytest.approx(accuracy, abs=5e-5)


def test_where_comparing_all_takes_long_some_are_drawn(monkeypatch):
    rows = [np.full((4, 1), at % 3, float) for at in range(30)]
    neighbour = baselines.Neighbour(rows, np.arange(30) % 3)
    said, count = neighbour.answers(rows)
    assert count == 30
    assert (said == np.arange(30) % 3).all()
    monkeypatch.setattr(baselines, "_COMPARISONS", 30 * 4 * 4 * 12)
    said, count = neighbour.answers(rows)
    assert count == 12
    assert (said == np.arange(30) % 3).all()


def test_long_sequences_are_averaged_down():
    rows = generator(0, "long").normal(size=(1000, 2))
    short = baselines.shortened(rows, 10)
    np.testing.assert_allclose(short, rows.reshape(10, 100, 2).mean(axis=1))
    odd = baselines.shortened(rows[:997], 10)
    assert odd.shape == (10, 2)
    np.testing.assert_allclose(odd[0], rows[:99].mean(axis=0))
    np.testing.assert_array_equal(baselines.shortened(rows[:10], 10), rows[:10])


def test_the_numbers_of_a_sequence_by_hand():
    rows = np.array([[1.0, 5.0], [2.0, 5.0], [6.0, 5.0]])
    found = baselines.features(rows)
    assert found.shape == (1 + 11 * 2,)
    mean, deviation, low, q1, median, q3, high, first, last, slope, change = found[1:].reshape(11, 2).T[0]
    assert (mean, low, median, high, first, last) == (3, 1, 2, 6, 1, 6)
    assert (q1, q3) == (1.5, 4)
    assert deviation == pytest.approx(np.std([1, 2, 6]))
    assert slope == pytest.approx(2.5)  # from -1 to 1: half of what it rises
    assert change == pytest.approx(2.5)
    assert found[0] == pytest.approx(np.log(3))
    assert (found[1:].reshape(11, 2).T[1] == [5, 0, 5, 5, 5, 5, 5, 5, 5, 0, 0]).all()
    assert np.isfinite(baselines.features(rows[:1])).all()
