"""Batches: every token is predicted once, from the one before it; streams go on where they stopped."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gatelab.data.ragged import Ragged
from gatelab.data.tokens import END
from gatelab.tasks.language.batches import NOTHING, Pieces, side_by_side, stream_steps, stream_windows


def ring(length: int) -> np.ndarray:
    return np.append(np.arange(2, length + 1), END).astype(np.int32)  # (length,) all different


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 7), st.none() | st.integers(0, 99))
def test_a_stream_is_predicted_once_each_token_from_the_one_before(length, columns, window, seed):
    values = ring(length)
    rng = None if seed is None else np.random.default_rng(seed)
    batches = list(stream_windows(values, columns, window, rng))
    assert len(batches) == -(-stream_steps(length, columns) // window)
    read, truth = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("read", "truth"))  # (T, B)
    scored = truth != NOTHING
    assert sorted(truth[scored].tolist()) == sorted(values.tolist())
    before = dict(zip(values.tolist(), np.roll(values, 1).tolist(), strict=True))
    assert all(before[t] == r for t, r in zip(truth[scored].tolist(), read[scored].tolist(), strict=True))
    both = scored[1:] & scored[:-1]
    assert torch.equal(read[1:][both], truth[:-1][both])  # what was predicted is read next, across windows too
    assert [batch.carries for batch in batches] == [False] + [True] * (len(batches) - 1)


def test_without_a_stream_of_chance_it_begins_at_the_beginning():
    (first, *_) = stream_windows(ring(40), 2, 10)
    assert first.read[0, 0] == END
    assert first.truth[0, 0] == 2


LINES = Ragged.of([[5, 6, 7, END], [8, END], [9] * 9 + [10, END], [END]], np.int32)


@pytest.mark.parametrize("window", [3, 4, 100])
def test_lines_are_predicted_once_the_long_ones_in_pieces(window):
    pieces = Pieces(LINES, window)
    batches = list(pieces.batches(2))
    assert len(batches) == pieces.count(2)
    assert all(batch.steps <= window and not batch.carries for batch in batches)
    pairs = sorted((r, t) for batch in batches
                   for r, t in zip(batch.read.flatten().tolist(), batch.truth.flatten().tolist(), strict=True)
                   if t != NOTHING)  # fmt: skip
    wanted = sorted((r, t) for line in LINES for r, t in zip([END, *line.tolist()], line.tolist(), strict=False))
    assert pairs == wanted


def test_a_batch_can_be_shared():
    batch = side_by_side([np.array([5, 6, END]), np.array([7, END]), np.array([8, 9, 10, END])])
    assert batch.read[:, 1].tolist() == [END, 7, END, END]
    assert batch.truth[:, 1].tolist() == [7, END, NOTHING, NOTHING]
    share = batch.take(slice(1, 3))
    assert (share.size, share.steps) == (2, 4)
    assert torch.equal(share.truth, batch.truth[:, 1:])
    short = next(Pieces(LINES, 100).batches(1))
    assert short.scale == short.take(slice(0, 0)).scale == 1 / (18 / 4)  # [END]: one of 18 tokens in 4 batches
