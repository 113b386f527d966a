"""Covariates of which training showed one value, values far beyond those it showed, and what is missing ahead."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from gatelab.core.config import ModelConfig, from_options
from gatelab.core.errors import DataError
from gatelab.data.table import Series, read_like
from gatelab.tasks.forecasting.config import ForecastingConfig
from gatelab.tasks.forecasting.features import Features
from gatelab.tasks.forecasting.task import Forecasting

ROWS = 200
STAMPS = pd.date_range("2024-01-01", periods=ROWS + 9)


def table(**columns) -> pd.DataFrame:
    y = 10 + np.random.default_rng(0).normal(0, 0.3, ROWS)
    return pd.DataFrame({"date": STAMPS[:ROWS], "y": y, **columns})


def trained(source, **options):
    given = {"target": "y", "horizon": 3, "lookback": 6, "normalise": "none", "calendar": False, **options}
    task = Forecasting.open(source, from_options(ForecastingConfig, given))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = task.build(ModelConfig("gru", hidden_size=4)).eval()
    return task, model


def late(value: float, before: float = 0.0, at: int = 190) -> np.ndarray:
    return np.where(np.arange(ROWS) < at, before, value)


def series_of(task, frame) -> Series:
    return read_like(frame, task.schema).series[0]


def ahead(rows=3, **columns) -> pd.DataFrame:
    return pd.DataFrame({"date": STAMPS[ROWS : ROWS + rows], **columns})


@pytest.mark.parametrize("before", [0.0, 0.1, -3e9])
@pytest.mark.parametrize("role", ["past", "future"])
def test_a_covariate_that_stands_still_in_training_is_left_out_and_said(role, before):
    task, model = trained(table(sensor=late(5e4, before)), **{role: ("sensor",)})
    assert [note for note in task.notes if note.startswith("left out") and f"sensor (always {before:g})" in note]
    without, same = trained(table())
    pd.testing.assert_frame_equal(
        task.predict(model, table(sensor=late(5e4))), without.predict(same, table()), check_exact=True
    )
    restored = Forecasting.restore(task.config, task.state())
    pd.testing.assert_frame_equal(restored.predict(model, table()), without.predict(same, table()))


def test_what_was_left_out_is_said_again_where_it_is_given():
    task, model = trained(table(flag=late(5e4)), future=("flag",))
    notes = task.predict(model, table(), future=ahead(flag=5e4)).attrs["notes"]
    assert any("future table is not read" in note for note in notes)
    updated = task.reopen(table(flag=1.0), "update")
    assert any("never changed in training" in note and "flag" in note for note in updated.notes)


def test_a_column_without_values_in_training_and_a_category_of_one_level_are_left_out():
    task, _ = trained(
        table(sensor=late(400.0, np.nan), kind=["x"] * 195 + ["z"] * 5), past=("sensor",), future=("kind",)
    )
    assert [column.name for column in task.features.columns] == ["y"]
    assert any("sensor (no values there), kind (always x)" in note for note in task.notes)


def test_absent_rows_are_no_change_of_a_covariate_and_empty_cells_are():
    holed = table(flag=late(5e4)).drop(index=[50, 51])
    assert trained(holed, past=("flag",))[0].features.past_channels == ["y observed", "steps since observed"]
    mentioned = table(flag=np.where(np.arange(ROWS) % 7 == 0, 1.0, np.nan))
    task, _ = trained(mentioned, past=("flag",))
    assert task.features.past_channels == ["flag", "flag observed"]
    strange = task.features.prepare(series_of(task, mentioned.assign(flag=5e4)))
    assert not strange.past[:, 0].any()
    assert strange.past[:, 1].all()


@pytest.mark.parametrize("noise", [1e-9, 1.0])
def test_values_much_further_out_than_in_training_are_held_and_said(noise):
    sensor = np.random.default_rng(1).uniform(-1, 1, ROWS) * noise
    task, model = trained(table(sensor=np.where(np.arange(ROWS) < 190, sensor, 1e6)), past=("sensor",))
    shown = task.windows.series[0].past[:, 0]
    train = shown[: task.windows.bounds["train"][0][1]]
    spread = np.ptp(train)
    assert shown.max() == pytest.approx(train.max() + spread)
    assert any("sensor (10 values)" in note for note in task.notes)
    trend = table(sensor=sensor + noise * np.arange(ROWS) / 100)
    assert not any("further out" in note for note in trained(trend, past=("sensor",))[0].notes)
    notes = task.predict(model, table(sensor=1e6)).attrs["notes"]
    assert any("sensor (6 values)" in note for note in notes), "what the window holds counts, and nothing before it"
    assert any("sensor (200 values)" in note for note in task.reopen(table(sensor=-1e6), "update").notes)


def test_a_covariate_that_stands_still_in_one_series_alone_has_the_deviation_of_all():
    flag = (np.arange(ROWS) % 10 == 0).astype(float)
    both = pd.concat([table(flag=flag, id="a"), table(flag=0.0, id="b")])
    task, _ = trained(both, id="id", future=("flag",))
    on_a, on_b = (
        task.features.prepare(series_of(task, table(flag=1.0, id=id))).known[0, 0]
        - task.features.prepare(series_of(task, table(flag=0.0, id=id))).known[0, 0]
        for id in "ab"
    )
    assert on_b == pytest.approx(on_a, rel=0.5)
    assert np.abs(task.features.prepare(series_of(task, table(flag=5e4, id="b"))).known).max() < 20


def test_a_covariate_that_differs_by_series_alone_tells_them_apart():
    both = pd.concat([table(size=100.0, id="a"), table(size=300.0, id="b")])
    task, _ = trained(both, id="id", past=("size",))
    small, large = (series.past[:, 0] for series in task.windows.series)
    assert (small == -1).all()
    assert (large == 1).all()


def test_folders_of_before_have_no_bounds():
    task, _ = trained(table(sensor=np.arange(ROWS) % 9.0), past=("sensor",))
    plain = task.features.to_dict()
    before = {name: value for name, value in plain.items() if name not in ("limits", "constants", "may_be_empty")}
    features = Features.from_dict(before, task.features.columns, task.features.frequency)
    centre, deviation = (np.array(part) for part in features.scale_of(""))
    strange = features.prepare(series_of(task, table(sensor=1e6)))
    np.testing.assert_allclose(strange.past[:, 0], (1e6 - centre[1]) / deviation[1], rtol=1e-6)


# ---- what is known ahead ------------------------------------------------------------------------------------------


def promotions(gap) -> pd.DataFrame:
    found = table(promo=(np.arange(ROWS) % 9 == 0).astype(float))
    if gap == "absent row":
        return found.drop(index=100)
    if gap == "empty cell":
        found.loc[100, "promo"] = np.nan
    return found


@pytest.mark.parametrize("gap", ["none", "absent row", "empty cell"])
@pytest.mark.parametrize(("given", "first"), [([], 0), ([0], 1), ([0, 1], 2), ([0, 2], 1)])
def test_every_step_ahead_needs_a_row_whatever_the_history_lacks(gap, given, first):
    source = promotions(gap)
    task, model = trained(source, future=("promo",))
    future = ahead(promo=[0.0, 1.0, 0.0])
    assert np.isfinite(task.predict(model, source, future=future)["forecast"]).all()
    with pytest.raises(DataError, match="'promo' is needed ahead") as caught:
        task.predict(model, source, future=future.loc[given] if given else None)
    assert caught.value.got == f"none at {STAMPS[ROWS + first]}"


def test_a_hole_in_the_rows_that_go_on_in_the_table_itself_is_no_row():
    source = promotions("absent row")
    task, model = trained(source, future=("promo",))
    with pytest.raises(DataError, match="'promo' is needed ahead") as caught:
        task.predict(model, pd.concat([source, ahead(promo=1.0).drop(index=1)]))
    assert caught.value.got == f"none at {STAMPS[ROWS + 1]}"


def test_a_hole_in_a_category_ahead_is_no_row_and_an_empty_cell_is_one():
    source = table(feast=np.where(np.arange(ROWS) % 9 == 0, "yes", None))
    task, model = trained(source, future=("feast",))
    assert np.isfinite(task.predict(model, source, future=ahead(feast=[None, "yes", None]))["forecast"]).all()
    with pytest.raises(DataError, match="'feast' is needed ahead"):
        task.predict(model, source, future=ahead(feast=[None, "yes", None]).drop(index=1))


@pytest.mark.parametrize(("gap", "taken"), [("none", False), ("absent row", False), ("empty cell", True)])
def test_an_empty_cell_ahead_is_said_and_taken_only_where_training_had_one(gap, taken):
    source = promotions(gap)
    task, model = trained(source, future=("promo",))
    future = ahead(promo=[0.0, np.nan, 0.0])
    if taken:
        notes = task.predict(model, source, future=future).attrs["notes"]
        assert any("empty ahead" in note and "promo at 1 step" in note for note in notes)
        return
    with pytest.raises(DataError, match="'promo' is needed ahead"):
        task.predict(model, source, future=future)


def test_series_of_the_future_table_are_named_where_the_one_to_forecast_is_not_among_them():
    both = pd.concat([promotions("none").assign(id=id) for id in (1, 2)])
    task, model = trained(both, id="id", future=("promo",))
    future = pd.concat([ahead(promo=1.0, id=id) for id in (1.0, 2.0, 9.0)])
    for ids in ({1: 1, 2: 2}, {1: "2", 2: "9"}):
        assert len(task.predict(model, both.assign(id=both["id"].map(ids)), future=future)) == 6
    with pytest.raises(DataError, match="not given of series shop 1") as caught:
        task.predict(model, both.assign(id=both["id"].map({1: "shop 1", 2: "2"})), future=future)
    assert "which has the series 1, 2, 9.0" in caught.value.fix
