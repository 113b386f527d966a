import json

import numpy as np
import pytest

from gatelab.core.random import generator
from gatelab.data.ragged import Ragged
from gatelab.tasks.sequence_classification import scaling
from gatelab.tasks.sequence_classification.scaling import Scaling

LENGTHS = (3, 1, 8, 5)


def sequences(gaps=True):
    rng = generator(0, "scaling")
    rows = [rng.normal((1e9, -3, 7), (2.0, 0.5, 0.0), (length, 3)) for length in LENGTHS]
    if gaps:
        rows[2][4, 1] = np.nan
    return Ragged.of(rows, np.float64, (3,))


@pytest.mark.parametrize("block", [1, 4, 1 << 18])
def test_scales_are_those_of_all_values_together(monkeypatch, block):
    monkeypatch.setattr(scaling, "_BLOCK_ROWS", block)
    values = sequences()
    found = Scaling.learn(values, "channel", 1)
    rows = np.concatenate(list(values))
    np.testing.assert_allclose(found.mean, np.nanmean(rows, axis=0))
    np.testing.assert_allclose(found.deviation[:2], np.nanstd(rows, axis=0)[:2])
    assert found.deviation[2] == 1, "a channel that never changes is not divided by rounding"
    assert found.gappy.tolist() == [1]
    scaled = np.concatenate([found.scaled(each) for each in values])
    np.testing.assert_allclose(np.std(scaled[:, 0]), 1)


@pytest.mark.parametrize("join", [1, 2, 3, 16])
def test_what_is_read_holds_every_step_once_and_repeats_the_last(join):
    values = sequences()
    found = Scaling.learn(values, "channel", join)
    for rows in values:
        read = found.read(rows)
        assert read.shape == (-(-len(rows) // join), found.features)
        assert read.dtype == np.float32
        wide = read.reshape(-1, 4)
        np.testing.assert_allclose(wide[: len(rows), :3], found.scaled(rows), rtol=1e-6)
        np.testing.assert_array_equal(wide[: len(rows), 3], np.isnan(rows[:, 1]))
        assert (wide[len(rows) :] == wide[len(rows) - 1]).all()


@pytest.mark.parametrize("join", [1, 3])
def test_contributions_go_back_to_their_steps_and_none_is_lost(join):
    values = sequences()
    found = Scaling.learn(values, "channel", join)
    for rows in values:
        given = generator(1, "contributions").normal(size=found.read(rows).shape)
        back = found.by_step(given, len(rows))
        assert back.shape == rows.shape
        assert back.sum() == pytest.approx(given.sum())
        wide = given.reshape(-1, 4)
        np.testing.assert_allclose(back[:-1, 1], (wide[:, 1] + wide[:, 3])[: len(rows) - 1])


def test_each_sequence_by_itself():
    values = sequences(gaps=False)
    found = Scaling.learn(values, "sequence", 1)
    longest = found.scaled(values[2])
    np.testing.assert_allclose(longest[:, :2].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(longest[:, :2].std(axis=0), 1)
    assert (found.scaled(values[1]) == 0).all(), "one step says nothing of its own level"


def test_how_many_steps_are_joined():
    def chosen(length):
        return Scaling.learn(Ragged.of([np.zeros((length, 1))] * 3, np.float64, (1,)), "channel", None).join

    assert [chosen(length) for length in (1, 32, 33, 150, 251, 10_000)] == [1, 1, 2, 5, 8, 16]


def test_comes_back_from_plain_values():
    found = Scaling.learn(sequences(), "channel", 2)
    back = Scaling.restore(json.loads(json.dumps(found.state())))
    for rows in sequences():
        np.testing.assert_array_equal(back.read(rows), found.read(rows))


def still(count=4, steps=20, level=3.0):
    rng = generator(0, "still")
    rows = [np.stack([rng.normal(size=steps), np.full(steps, level)], axis=1) for _ in range(count)]
    return Ragged.of(rows, np.float64, (2,))


@pytest.mark.parametrize("level", [0.0, 0.1, 1e9])
@pytest.mark.parametrize("by", ["channel", "sequence"])
def test_a_channel_that_stands_still_in_training_says_nothing_later(by, level):
    values = still(level=level)
    found = Scaling.learn(values, by, 1)
    assert found.still.tolist() == [1]
    strange = np.stack([np.arange(20.0), 5e4 * np.arange(20.0) - 1], axis=1)
    assert not found.read(strange)[:, 1].any()
    assert found.read(strange)[:, 0].any()
    back = Scaling.restore(json.loads(json.dumps(found.state(), allow_nan=False)))
    np.testing.assert_array_equal(back.read(strange), found.read(strange))


def test_a_channel_that_hardly_moves_is_bounded_and_it_is_counted():
    rows = [np.array([[0.0, 1.0], [1e-6, -1.0], [-1e-6, 1.0]])] * 3
    found = Scaling.learn(Ragged.of(rows, np.float64, (2,)), "channel", 1)
    strange = np.array([[5e4, 2.9], [-5e4, -3.1], [0.0, np.nan]])
    least, most = found.scaled(rows[0])[:, 0].min(), found.scaled(rows[0])[:, 0].max()
    np.testing.assert_allclose(found.scaled(strange)[:, 0], [2 * most - least, 2 * least - most, 0])
    np.testing.assert_array_equal(found.beyond(Ragged.of([strange], np.float64, (2,))), [2, 1])
    assert not found.beyond(Ragged.of(rows, np.float64, (2,))).any()


def test_states_of_before_have_no_bounds():
    state = Scaling.learn(still(), "channel", 1).state()
    del state["limits"]
    strange = np.full((2, 2), 5e4)
    np.testing.assert_allclose(Scaling.restore(state).read(strange)[:, 1], 5e4 - 3)
    assert not len(Scaling.restore(state).still)
