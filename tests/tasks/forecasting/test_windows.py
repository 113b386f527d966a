"""Windows and batches beside slices that are cut by hand, and what may not reach a forecast."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatelab.core.config import ModelConfig, from_options
from gatelab.core.random import generator
from gatelab.tasks.forecasting.config import ForecastingConfig
from gatelab.tasks.forecasting.task import Forecasting
from gatelab.tasks.forecasting.windows import window_scale

LOOKBACK, HORIZON = 6, 3


def gappy_table(seed: int, rows: int = 90, ids: int = 2) -> pd.DataFrame:
    """Series of several targets with gaps, whole rows without values among them, and covariates of all kinds."""
    rng = generator(seed, "table")
    frames = []
    for number in range(ids):
        values = np.cumsum(rng.normal(size=(rows, 2)), axis=0)
        frame = pd.DataFrame({"time": pd.date_range("2024-01-01", periods=rows, freq="h"), "id": f"s{number}"})
        frame[["a", "b"]] = np.where(rng.random((rows, 2)) < 0.15, np.nan, values)
        frame["heat"] = np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows))
        frame["wind"] = rng.choice(["N", "S"], rows)
        frame["price"] = rng.normal(size=rows)
        frame.loc[rng.random(rows) < 0.1, ["a", "b", "heat", "wind"]] = np.nan
        frame.loc[rows - 1, "a"] = 1.0
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def opened(table: pd.DataFrame, **options) -> Forecasting:
    given = {"target": ("a", "b"), "id": "id", "past": ("heat", "wind"), "future": ("price",), "horizon": HORIZON,
             "lookback": LOOKBACK, "normalise": "last", "calendar": True, "split": (0.6, 0.2, 0.2)}  # fmt: skip
    return Forecasting.open(table, from_options(ForecastingConfig, {**given, **options}))


def network(task: Forecasting, **settings):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = task.build(ModelConfig("gru", hidden_size=5, **settings))
        for parameter in model.parameters():  # the highway starts at zero and would hide what reaches it
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.mark.parametrize("normalise", ["none", "last", "mean", "standard"])
def test_batches_are_the_slices(normalise):
    windows = opened(gappy_table(1), normalise=normalise).windows
    for part in ("train", "validation", "test"):
        origins = windows.origins[part]
        batch = windows.cut(origins)
        shown = torch.ones(batch.inputs.shape[:2], dtype=torch.bool) if batch.shown is None else batch.shown
        numbers, rows = windows.locate(origins)
        for b, (s, t) in enumerate(zip(numbers, rows, strict=True)):
            series, back, ahead = windows.series[s], slice(t + 1 - LOOKBACK, t + 1), slice(t + 1, t + 1 + HORIZON)
            seen = series.seen[back]  # (L, O)
            centre, deviation = by_hand(series.target[back].astype(float), seen, normalise)
            recent = np.where(seen, (series.target[back] - centre) / deviation, 0.0)
            expected = np.concatenate([recent, series.past[back], series.known[back]], axis=1)
            np.testing.assert_allclose(batch.inputs[:, b], expected, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(batch.recent[:, b], recent, rtol=1e-4, atol=1e-5)
            np.testing.assert_array_equal(shown[:, b], series.shown[back])
            np.testing.assert_array_equal(batch.ahead[:, b], series.known[ahead])
            np.testing.assert_array_equal(batch.truth[:, b], series.target[ahead])
            np.testing.assert_array_equal(batch.seen[:, b], series.seen[ahead])


def by_hand(target, seen, normalise):
    """Centre and deviation of each target over its observed steps, one at a time."""
    centre, deviation = np.zeros(target.shape[1]), np.ones(target.shape[1])
    for o in range(target.shape[1]):
        values = target[seen[:, o], o]
        if normalise == "none" or (normalise == "last" and not len(values)):
            continue
        if normalise == "last":
            centre[o] = values[-1]
        else:
            centre[o] = values.mean() if len(values) else 0.0
        if normalise == "standard":
            deviation[o] = max(values.std() if len(values) else 0.0, 0.05)
    return centre, deviation


def test_every_window_belongs_to_the_part_that_holds_its_horizon():
    table = gappy_table(2)
    windows = opened(table).windows
    for part, origins in windows.origins.items():
        expected = []
        for s, series in enumerate(windows.series):
            start, stop = windows.bounds[part][s]
            for t in range(len(series.target)):
                inside = start <= t + 1 and t + HORIZON < stop and t + 1 >= LOOKBACK
                before, after = series.seen[max(t + 1 - LOOKBACK, 0) : t + 1], series.seen[t + 1 : t + 1 + HORIZON]
                if inside and before.any() and after.any():
                    expected.append(windows.first_row[s] + t)
        assert origins.tolist() == expected
        assert len(expected) > 5


def test_windows_of_one_series_never_reach_into_another():
    windows = opened(gappy_table(3)).windows
    for origins in windows.origins.values():
        numbers, rows = windows.locate(origins)
        lengths = np.array([len(series.target) for series in windows.series])[numbers]
        assert (rows + 1 >= LOOKBACK).all()
        assert (rows + HORIZON < lengths).all()


@pytest.mark.parametrize("bidirectional", [False, True])
@given(seed=st.integers(0, 10_000), normalise=st.sampled_from(["none", "last", "mean", "standard"]))
@settings(max_examples=10, deadline=None)
def test_nothing_under_a_gap_and_nothing_later_changes_a_forecast(bidirectional, seed, normalise):
    task = opened(gappy_table(seed, rows=60), normalise=normalise)
    model, windows = network(task, bidirectional=bidirectional), task.windows
    origins = windows.origins["test"][:1]
    before = task.forecast(model, origins)
    rng = generator(seed, "garbage")

    def spoil(tensor, rows):
        tensor[rows] = torch.from_numpy(rng.normal(scale=50, size=tuple(tensor[rows].shape)).astype(np.float32))

    row = int(origins[0])
    windows.target[~windows.seen] = 77.0
    held = ~windows.shown
    spoil(windows.past, held)
    window = torch.zeros(len(held), dtype=torch.bool)
    window[row + 1 - LOOKBACK : row + 1] = True
    spoil(windows.known, held & window)
    later = torch.arange(len(held)) > row
    spoil(windows.target, later)
    spoil(windows.past, later)
    windows.seen[later] = ~windows.seen[later]
    spoil(windows.known, torch.arange(len(held)) > row + HORIZON)
    after = task.forecast(model, origins)
    np.testing.assert_array_equal(before[0], after[0])
    np.testing.assert_array_equal(before[1], after[1])


def test_what_is_shown_does_change_the_forecast():
    """The twin of the property above: it would hold for a network that looks at nothing."""
    task = opened(gappy_table(5))
    model, windows = network(task), task.windows
    origins = windows.origins["test"][:1]
    before, _ = task.forecast(model, origins)
    row = int(origins[0])
    for tensor, at in ((windows.target, row), (windows.past, row), (windows.known, row + 1)):
        rows = [t for t in range(at + 1 - LOOKBACK, at + 1) if windows.shown[t] and windows.seen[t].any()] or [at]
        kept = tensor.clone()
        tensor[rows[-1] if tensor is not windows.known else at] += 1.0
        assert not np.array_equal(before, task.forecast(model, origins)[0])
        tensor[:] = kept


def test_held_steps_are_left_out_as_if_they_were_not_there():
    """Holding the state over a gap gives the state after the observed steps alone."""
    task = opened(gappy_table(6), highway=False, normalise="none", past=(), future=(), calendar=False)
    model, windows = network(task), task.windows
    batch = windows.cut(windows.origins["test"])
    states = model.encode(batch)  # (B, H)
    assert batch.shown is not None
    for b in range(batch.size):
        alone = batch.inputs[batch.shown[:, b], b : b + 1]  # (n, 1, I)
        torch.testing.assert_close(states[b], model.encoder(alone)[0][-1, 0], rtol=1e-4, atol=1e-5)


def test_a_flat_window_is_not_blown_up():
    target = torch.full((4, 1, 1), 2.0)
    _, deviation = window_scale(target, torch.ones_like(target, dtype=torch.bool), "standard")
    assert deviation.item() == pytest.approx(0.05)


def test_the_fingerprint_knows_every_number():
    table = gappy_table(7)
    whole = opened(table).fingerprint()
    assert opened(table.copy(), split=(0.5, 0.3, 0.2)).fingerprint() == whole
    changed = table.copy()
    changed.loc[len(table) - 1, "b"] = 123.0
    assert opened(changed).fingerprint() != whole
